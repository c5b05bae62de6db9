"""Log files of bounded size: written by the supervisor, read by `otel-forge logs`."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

_SERIOUS = re.compile(
    r"""\blevel"?[=:]\s?"?(error|fatal|panic|critical)|\t(error|fatal|panic|dpanic)\t|\b(ERROR|FATAL|CRITICAL)\b|^panic:"""
)

# What the supervisor itself writes into a component's log, each followed by the time.
START_MARK = "otel-forge starts this at "
STOP_MARK = "otel-forge stops this at "


class RotatingLog:
    """Appends to one file and, when it is full, keeps the last ones compressed beside it.

    At most `max_bytes` lie in the file itself and `keep` older ones in `<name>.1.gz` (newest) upwards.
    A full disk costs lines, never the process that writes: `lost` counts the bytes.
    """

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.keep = keep
        self.lost = 0
        self._partial = b""

    def feed(self, chunk: bytes) -> None:
        """Take output as it comes; whole lines are written at once, the rest with the next chunk."""
        head, newline, self._partial = (self._partial + chunk).rpartition(b"\n")
        if len(self._partial) > 64 * 1024:  # no line at all: do not gather it in memory
            head, newline, self._partial = head + newline, self._partial, b""
        if head or newline:
            self.write(head + newline)

    def finish(self) -> None:
        """Write what was held back for want of a line end."""
        if self._partial:
            self.write(self._partial + b"\n")
            self._partial = b""

    def write(self, lines: bytes) -> None:
        """Append whole lines, making room first where the file would grow beyond its bound."""
        try:
            size = self.path.stat().st_size if self.path.exists() else 0
            if size and size + len(lines) > self.max_bytes:
                self._rotate()
            with self.path.open("ab") as file:
                file.write(lines)
        except OSError:
            self.lost += len(lines)

    def mark(self, text: str) -> None:
        """Write one of the marks above, with the time, on a line of its own."""
        self.write(f"{text}{time.strftime('%Y-%m-%dT%H:%M:%S%z')}\n".encode())

    def _rotate(self) -> None:
        for number in range(self.keep, 0, -1):
            older = self._older(number)
            if older.exists():
                older.unlink() if number == self.keep else older.replace(self._older(number + 1))
        with self.path.open("rb") as plain, gzip.open(self._older(1), "wb", compresslevel=1) as packed:
            shutil.copyfileobj(plain, packed)
        self.path.unlink()

    def _older(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}.gz")


def tail(path: Path, lines: int, keep: Callable[[str], bool] | None = None, *, this_run: bool = False) -> list[str]:
    """Return the last lines of a log, older compressed files included where the newest holds too few.

    With `this_run` none from before the last start mark, and none from after a stop mark: what a server
    says while it is told to end is no news.
    """
    if lines <= 0:
        return []
    found: list[str] = []
    older = sorted(path.parent.glob(f"{path.name}.*.gz"), key=_age)
    for file in [path, *older]:
        room = lines - len(found)
        part, begun = _of_this_run(_read(file), room, keep) if this_run else (_last(_read(file), room, keep), False)
        found = [*part, *found]
        if begun or len(found) >= lines:
            break
    return found


def _last(lines: Iterable[str], room: int, keep: Callable[[str], bool] | None) -> list[str]:
    return list(deque((line for line in lines if keep is None or keep(line)), maxlen=room))


def _of_this_run(lines: Iterable[str], room: int, keep: Callable[[str], bool] | None) -> tuple[list[str], bool]:
    """Return the last lines that count, and whether the start of the run is among those that were read."""
    found: deque[str] = deque(maxlen=room)
    begun, ending = False, False
    for line in lines:
        if line.startswith(START_MARK):
            found.clear()
            begun, ending = True, False
        elif line.startswith(STOP_MARK):
            ending = True
        elif not ending and (keep is None or keep(line)):
            found.append(line)
    return list(found), begun


def _age(path: Path) -> int:
    number = path.name.split(".")[-2]
    return int(number) if number.isdigit() else 0


def _read(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                yield line.decode("utf-8", "replace").rstrip("\r\n")
    except (OSError, EOFError):
        return


def is_serious(line: str) -> bool:
    """Tell whether a line of any of our servers reports an error."""
    return _SERIOUS.search(line) is not None


class Follower:
    """Reads what is appended to one log from now on, across rotations.

    The file is kept open, so that what was written just before a rotation is still read and the new file
    cannot be taken for the old one (a freed inode number is given out again at once).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = b""
        self._descriptor: int | None = None
        self._close: Callable[[], object] = lambda: None
        if self._open():
            self._skip_to_end()

    def lines(self) -> list[str]:
        """Return the whole lines that have come since the last call."""
        new = self._read_on()
        if self._was_rotated() and self._open():
            new += self._read_on()
        *whole, self._partial = (self._partial + new).split(b"\n")
        return [line.decode("utf-8", "replace").rstrip("\r") for line in whole]

    def _open(self) -> bool:
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError:
            return False
        self._close()
        self._descriptor = descriptor
        self._close = weakref.finalize(self, os.close, descriptor)
        return True

    def _skip_to_end(self) -> None:
        if self._descriptor is not None:
            os.lseek(self._descriptor, 0, os.SEEK_END)

    def _read_on(self) -> bytes:
        chunks = []
        while self._descriptor is not None and (chunk := os.read(self._descriptor, 1 << 20)):
            chunks.append(chunk)
        return b"".join(chunks)

    def _was_rotated(self) -> bool:
        if self._descriptor is None:
            return True
        try:
            return self.path.stat().st_ino != os.fstat(self._descriptor).st_ino
        except OSError:  # between the old file and the new one
            return False
