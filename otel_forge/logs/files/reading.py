"""Reads the log files of a service from their end, while they are written, rotated and packed."""

from __future__ import annotations

import contextlib
import gzip
import os
import time
import weakref
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from otel_forge.logs.files.entries import Selection
from otel_forge.logs.files.names import LogFile, files_of

_BLOCK = 64 * 1024
_MOST_LOOKS = 50
_PAUSE_BETWEEN_LOOKS = 0.002


class OpenFile:
    """A file that is written to, held open so that it can be renamed; `end` is behind its last whole line.

    It is closed when nobody refers to it any more.
    """

    def __init__(self, log: LogFile) -> None:
        self.log = log
        self.descriptor = os.open(log.path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)
        self.end = _end_of_last_line(self.descriptor, os.fstat(self.descriptor).st_size)

    @property
    def order(self) -> tuple[str, int, int]:
        """Its place among the files of its service."""
        return self.log.order

    def is_at_its_path(self) -> bool:
        """Return whether it has not been renamed or removed since."""
        try:
            return os.path.samestat(self.log.path.stat(), os.fstat(self.descriptor))
        except FileNotFoundError:
            return False


@dataclass(frozen=True)
class Snapshot:
    """The files of a service as they were at one moment, in the order in which they were written."""

    past: list[LogFile]
    written: list[OpenFile]

    @property
    def sealed(self) -> set[tuple[str, int]]:
        """Days and numbers of those that a rotation of ours has set aside."""
        return {(file.day, file.number) for file in self.past if file.is_sealed and file.number is not None}

    def newest_first(self) -> Iterator[LogFile | OpenFile]:
        """Yield all files from the newest on."""
        files: list[LogFile | OpenFile] = [*self.past, *self.written]
        return iter(sorted(files, key=lambda file: file.order, reverse=True))


def look(folder: Path, service: str) -> Snapshot:
    """Return all files of a service, none twice and none between two names.

    A file that is renamed between listing and opening would be missed; so this looks until two lists agree.
    """
    for _ in range(_MOST_LOOKS):
        files = files_of(folder, service)
        written = []
        for file in files:
            if file.is_written:
                with contextlib.suppress(FileNotFoundError):
                    written.append(OpenFile(file))
        if _keys(files) == _keys(files_of(folder, service)) and all(file.is_at_its_path() for file in written):
            break
        time.sleep(_PAUSE_BETWEEN_LOOKS)
    return Snapshot(_without_twins([file for file in files if not file.is_written]), written)


def last_lines(snapshot: Snapshot, room: int | None, wanted: Selection) -> list[bytes]:
    """Return the last `room` lines, or all for None, that are wanted; reads no more than it must."""
    found: list[bytes] = []
    for file in snapshot.newest_first():
        left = None if room is None else room - len(found)
        if left is not None and left <= 0:
            break
        found = [*last_lines_of(file, left, wanted), *found]
    return found


def last_lines_of(file: LogFile | OpenFile, room: int | None, wanted: Selection) -> list[bytes]:
    """Return the last lines of one file that are wanted; none of a file that was removed meanwhile."""
    if isinstance(file, OpenFile):
        return _last_backwards(file.descriptor, file.end, room, wanted)
    try:
        if wanted.since is not None and file.path.stat().st_mtime < wanted.since:
            return []  # its last line was written before that
        if file.is_packed:
            return list(deque(filter(wanted.keeps, _unpacked(file.path)), maxlen=room))
        descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        packed = packed_form(file)
        return [] if packed is None else last_lines_of(packed, room, wanted)
    try:
        return _last_backwards(descriptor, os.fstat(descriptor).st_size, room, wanted)
    finally:
        os.close(descriptor)


def packed_form(file: LogFile) -> LogFile | None:
    """Return the packed file that a plain one has become; None for a packed one, which can only have been removed."""
    if file.is_packed:
        return None
    path = file.path.with_name(file.path.name + ".gz")
    return LogFile(path, file.service, file.day, file.number, file.foreign, is_packed=True)


def lines_backwards(descriptor: int, end: int, block_size: int = _BLOCK) -> Iterator[bytes]:
    """Yield the lines before `end` from the last to the first, without their ends; reads only as far as it is asked."""
    tail: list[bytes] = []  # parts of a line that began in a block still to be read, last part first
    is_first = True
    while end > 0:
        start = max(0, end - block_size)
        block = os.pread(descriptor, end - start, start)
        if is_first and block.endswith(b"\n"):
            block = block[:-1]
        is_first = False
        first, *rest = block.split(b"\n")
        if rest:
            yield b"".join([rest[-1], *reversed(tail)])
            yield from reversed(rest[:-1])
            tail = [first]
        else:
            tail.append(first)
        end = start
    if tail:
        yield b"".join(reversed(tail))


def _last_backwards(descriptor: int, end: int, room: int | None, wanted: Selection) -> list[bytes]:
    found: list[bytes] = []
    for line in lines_backwards(descriptor, end):
        if (room is not None and len(found) >= room) or wanted.is_over_before(line):
            break
        if wanted.keeps(line):
            found.append(line)
    found.reverse()
    return found


def _unpacked(path: Path) -> Iterator[bytes]:
    """Yield the lines of a packed file, as many as can be unpacked of a damaged one."""
    with gzip.open(path, "rb") as file, contextlib.suppress(EOFError, zlib.error, gzip.BadGzipFile):
        for line in file:
            yield line.rstrip(b"\n")


def _end_of_last_line(descriptor: int, size: int) -> int:
    end = size
    while end > 0:
        start = max(0, end - _BLOCK)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _keys(files: list[LogFile]) -> set[tuple[str, int | None, str]]:
    """Return what tells files apart, whether packed or not."""
    return {(file.day, file.number, file.foreign) for file in files}


def _without_twins(files: list[LogFile]) -> list[LogFile]:
    """Leave out a plain file whose packed form is complete: it is about to be removed."""
    packed = {(file.day, file.number, file.foreign) for file in files if file.is_packed}
    return [file for file in files if file.is_packed or (file.day, file.number, file.foreign) not in packed]
