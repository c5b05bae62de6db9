"""Reads what is appended to the log files of a service from now on, across rotations, packing and midnight."""

from __future__ import annotations

import os
from pathlib import Path

from otel_forge.logs.files.entries import EVERYTHING
from otel_forge.logs.files.names import LogFile, files_of
from otel_forge.logs.files.reading import OpenFile, Snapshot, last_lines_of, look

_DAYS_AT_ONCE = 2
_CHUNK = 1 << 20


class Follower:
    """Yields new lines of a service; where it begins is where the snapshot ended, so nothing is shown twice."""

    def __init__(self, folder: Path, service: str, snapshot: Snapshot) -> None:
        self._folder = folder
        self._service = service
        written = {file.log.day: file for file in snapshot.written}
        days = {day for day, _ in snapshot.sealed} | written.keys()
        self._days = {day: _Day(folder, service, day, snapshot, written.get(day)) for day in days}
        self._over: set[str] = set()

    def lines(self) -> list[bytes]:
        """Return the whole lines that have come since the last call."""
        there = {file.day for file in files_of(self._folder, self._service) if file.is_ours}
        for day in there - self._days.keys() - self._over:
            self._days[day] = _Day(self._folder, self._service, day, Snapshot([], []), None)
        found = [line for day in sorted(self._days) for line in self._days[day].lines()]
        for day in sorted(self._days)[:-_DAYS_AT_ONCE]:  # to yesterday's somebody may still write
            del self._days[day]
            self._over.add(day)
        return found


class _Day:
    """Follows the files of one day: the one that is written, and those that it becomes."""

    def __init__(self, folder: Path, service: str, day: str, snapshot: Snapshot, file: OpenFile | None) -> None:
        self._folder = folder
        self._service = service
        self._day = day
        self._seen = self._numbers(snapshot)
        self._file = file
        self._offset = file.end if file else 0

    def lines(self) -> list[bytes]:
        found = self._rest()
        if self._file is not None and self._file.is_at_its_path():
            return found
        snapshot = look(self._folder, self._service)
        found += self._rest()  # what came before it was renamed
        found += self._set_aside_since(snapshot)
        self._take_up(snapshot)
        return found + self._rest()

    def _set_aside_since(self, snapshot: Snapshot) -> list[bytes]:
        """Return the lines of files that were begun and set aside since the last look."""
        new = [
            file for file in snapshot.past if file.day == self._day and file.is_sealed and file.number not in self._seen
        ]
        if new and self._is_the_one_we_read(new[0]):
            del new[0]
        return [line for file in new for line in last_lines_of(file, None, EVERYTHING)]

    def _is_the_one_we_read(self, sealed: LogFile) -> bool:
        if self._file is None or sealed.number != max(self._seen, default=0) + 1:
            return False
        plain = sealed.path.with_name(sealed.path.name.removesuffix(".gz"))
        try:
            return os.path.samestat(plain.stat(), os.fstat(self._file.descriptor))
        except FileNotFoundError:
            return os.fstat(self._file.descriptor).st_nlink == 0  # packed, and the plain one removed

    def _take_up(self, snapshot: Snapshot) -> None:
        self._seen = self._numbers(snapshot)
        self._file = next((file for file in snapshot.written if file.log.day == self._day), None)
        self._offset = 0

    def _numbers(self, snapshot: Snapshot) -> set[int]:
        return {number for day, number in snapshot.sealed if day == self._day}

    def _rest(self) -> list[bytes]:
        """Return the whole lines behind the offset and move it there."""
        if self._file is None:
            return []
        if os.fstat(self._file.descriptor).st_size < self._offset:
            self._offset = 0  # logrotate has copied and truncated it
        chunks = []
        position = self._offset
        while chunk := os.pread(self._file.descriptor, _CHUNK, position):
            chunks.append(chunk)
            position += len(chunk)
        whole, newline, _ = b"".join(chunks).rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return whole.split(b"\n") if newline else []
