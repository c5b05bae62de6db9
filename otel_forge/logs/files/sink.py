"""Appends lines to the daily file of a service, together with other threads and processes.

Each line is one ``write`` to a file that is open for appending, under a lock on that file. The lock makes
four things exact that appending alone leaves to chance: that the file is still the one its name stands for
(another process, or logrotate, may have renamed it), that it is set aside at its size, that a line which a
full disk has cut is taken back, and that the rest of one whose writer was killed is removed before the next.
Setting aside is a rename under the lock: whoever waited for it finds the name gone and opens the new file,
so that nothing is appended to a file that is set aside and it can be packed at leisure.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from otel_forge.logs.files.locking import lock, unlock
from otel_forge.logs.files.names import SECONDS_A_DAY, LogFile, day_of, files_of, next_sealed_path, written_path

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_BLOCK = 64 * 1024
_RETRY_SEALING_AFTER = 60.0
_MOST_REOPENINGS = 100
PATIENCE = 2.0
"""Seconds that a line waits for the others before it goes elsewhere."""


class DailyFile:
    """The file of a service and a day, and the next day's after it.

    `on_change` is called when a file was set aside or a day has begun: there may be something to pack.
    Not for several threads at once: the handler's lock sees to that.
    """

    def __init__(
        self,
        folder: Path,
        service: str,
        max_bytes: int,
        *,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self.service = service
        self.max_bytes = max_bytes
        self.torn = 0
        """Rests of lines that were removed, because their writers were killed in the middle."""
        self.sealing_failures = 0
        self._on_change = on_change
        self._clock = clock
        self._path = folder
        self._name = str(folder)
        self._day_ends = 0.0
        self._day_begins = 0.0
        self._has_day_begun = False
        self._descriptor = -1
        self._identity = (0, 0)
        self._end = -1
        self._seal_again_at = 0.0

    def append(self, line: bytes, patience: float = PATIENCE) -> None:
        """Write one line that ends in a line feed; when this returns, it is there, whole and once.

        Raises OSError when it cannot be written; then nothing of it is there.
        """
        self._follow_the_day()
        for _ in range(_MOST_REOPENINGS):
            descriptor = self._descriptor if self._descriptor >= 0 else self._open()
            if not lock(descriptor, patience):
                os.write(descriptor, line)  # no locks here: appending in one write is as good as it gets
                return
            try:
                if self._try(descriptor, line):
                    return
            finally:
                unlock(descriptor)
            self.close()
        raise FileNotFoundError(f"{self._path} is taken away again and again")

    def close(self) -> None:
        """Let go of the file; the next line opens it again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _follow_the_day(self) -> None:
        now = self._clock()
        if self._day_begins <= now < self._day_ends:
            return
        self._day_begins = now // SECONDS_A_DAY * SECONDS_A_DAY
        self._day_ends = self._day_begins + SECONDS_A_DAY
        self._path = written_path(self.folder, self.service, day_of(now))
        self._name = str(self._path)
        self.close()
        self._has_day_begun = True

    def _open(self) -> int:
        try:
            self._descriptor = os.open(self._path, _FLAGS, 0o600)
        except FileNotFoundError:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, _FLAGS, 0o600)
        opened = os.fstat(self._descriptor)
        self._identity = opened.st_ino, opened.st_dev
        self._end = -1
        if self._has_day_begun:
            self._has_day_begun = False
            self._on_change()
        return self._descriptor

    def _try(self, descriptor: int, line: bytes) -> bool:
        """Write the line if the file is still the right one and has room; the lock is held."""
        size = self._size_if_at_its_path(descriptor)
        if size is None or (size and size + len(line) > self.max_bytes and self._seal()):
            return False
        if size and size != self._end and os.pread(descriptor, 1, size - 1) != b"\n":
            size = self._cut_torn_line(descriptor, size)
        _write_whole(descriptor, line, size)
        self._end = size + len(line)
        return True

    def _size_if_at_its_path(self, descriptor: int) -> int | None:
        try:
            at_path = os.stat(self._name)  # noqa: PTH116 - once a line, and Path.stat takes twice as long
        except FileNotFoundError:
            return None
        return at_path.st_size if (at_path.st_ino, at_path.st_dev) == self._identity else None

    def _seal(self) -> bool:
        now = time.monotonic()
        if now < self._seal_again_at:
            return False
        try:
            seal(self._path, self.folder, self.service)
        except OSError:
            self.sealing_failures += 1
            self._seal_again_at = now + _RETRY_SEALING_AFTER
            return False
        self._on_change()
        return True

    def _cut_torn_line(self, descriptor: int, size: int) -> int:
        """Remove what follows the last line feed: the kernel stops a killed process between two pages of a write."""
        start = size
        newline = -1
        while start > 0 and newline < 0:
            block_start = max(0, start - _BLOCK)
            newline = os.pread(descriptor, start - block_start, block_start).rfind(b"\n")
            start = block_start
        kept = start + newline + 1 if newline >= 0 else 0
        os.ftruncate(descriptor, kept)
        self.torn += 1
        return kept


def seal(path: Path, folder: Path, service: str) -> Path:
    """Set the written file aside under its next number; its lock is held. Raises OSError."""
    siblings = files_of(folder, service)
    written = next((file for file in siblings if file.path.name == path.name), None)
    if written is None:
        raise FileNotFoundError(path)
    sealed = next_sealed_path(written, siblings)
    path.rename(sealed)
    return sealed


def seal_now(file: LogFile, patience: float = PATIENCE) -> bool:
    """Set a written file aside as soon as nobody is writing to it; return False when it is gone or empty.

    Raises OSError, a TimeoutError among them.
    """
    with _held(file, patience) as descriptor:
        if descriptor is None or os.fstat(descriptor).st_size == 0:
            return False
        seal(file.path, file.path.parent, file.service)
        return True


def remove(file: LogFile, patience: float = PATIENCE) -> None:
    """Remove a log file as soon as nobody is writing to it; who wants to write next begins a new one.

    Raises OSError, a TimeoutError among them.
    """
    with _held(file, patience):
        file.path.unlink(missing_ok=True)


@contextlib.contextmanager
def _held(file: LogFile, patience: float) -> Iterator[int | None]:
    """Hold the lock of a file for the body, which gets None when there is no such file any more."""
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield None
        return
    try:
        if not lock(descriptor, patience):
            raise OSError(f"{file.path} is on a file system without locks")
        yield descriptor if is_at(descriptor, file.path) else None
        unlock(descriptor)
    finally:
        os.close(descriptor)


def is_at(descriptor: int, path: Path) -> bool:
    """Return whether the open file is the one that the path stands for now."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _write_whole(descriptor: int, line: bytes, size: int) -> None:
    """Append the line; of one that does not fit on the disk nothing stays."""
    try:
        written = os.write(descriptor, line)
        while written < len(line):
            written += os.write(descriptor, line[written:])
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise
