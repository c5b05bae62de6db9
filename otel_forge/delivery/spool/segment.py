"""A segment: one file of records, appended to until it is full, deleted when all its records are settled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from otel_forge.delivery.spool import format
from otel_forge.delivery.spool.files import Files

_CHUNK = 1 << 16


class Entry:
    """A record on the disk that is neither delivered nor given up: what needs to be known without reading it."""

    __slots__ = ("born", "created", "id", "important", "items", "mark", "offset", "segment", "size")

    def __init__(self, header: format.RecordHeader, segment: Segment, offset: int, born: float) -> None:
        self.id = header.id
        self.items = header.items
        self.size = header.size
        self.created = header.created
        self.important = header.important
        self.mark = header.mark
        self.segment = segment
        self.offset = offset
        self.born = born

    def __repr__(self) -> str:
        return f"Entry({self.id}, {self.items} items, {self.size} bytes at {self.offset} of {self.segment.path})"


@dataclass(eq=False, slots=True)
class Segment:
    """A file and the entries in it, by their offset; `size` is what it takes on the disk."""

    path: str
    size: int
    entries: dict[int, Entry] = field(default_factory=dict)
    oldest: float = float("inf")
    """No entry was born before that."""

    def add(self, entry: Entry) -> None:
        """Know of an entry."""
        self.entries[entry.offset] = entry
        self.oldest = min(self.oldest, entry.born)


@dataclass(slots=True)
class Scan:
    """What was found in a segment: its header if whole, each whole record with its offset, how much is damaged."""

    header: format.SegmentHeader | None
    size: int
    records: list[tuple[int, format.RecordHeader]] = field(default_factory=list)
    damaged: int = 0
    damaged_items: int = 0

    @property
    def begun(self) -> float:
        """When the segment was begun, as far as that can be told."""
        if self.header is not None:
            return self.header.created
        return self.records[0][1].created if self.records else 0.0

    @property
    def foreign(self) -> bool:
        """Whether another version wrote the segment, which only that version can read."""
        return self.header is not None and self.header.version != format.VERSION


def scan(files: Files, descriptor: int) -> Scan:
    """Find the records of an open segment by their headers; a body is checked when it is read."""
    size = files.about(descriptor).size
    result = Scan(format.read_segment_header(files.read(descriptor, format.SEGMENT_HEADER, 0)), size)
    if result.foreign:
        return result
    offset = format.SEGMENT_HEADER
    while offset < size:
        record = format.read_record_header(files.read(descriptor, format.RECORD_HEADER, offset), offset)
        if record is None:
            result.damaged += 1
            offset = _next_record(files, descriptor, offset + 1, size)
        elif offset + record.end > size:
            result.damaged += not record.settled
            result.damaged_items += 0 if record.settled else record.items
            offset = _next_record(files, descriptor, offset + 1, size)
        else:
            result.records.append((offset, record))
            offset += record.end
    return result


def _next_record(files: Files, descriptor: int, start: int, size: int) -> int:
    """Return the offset of the first whole record header from `start` on; the end of the file if there is none."""
    for offset in _magics(files, descriptor, start, size):
        if format.read_record_header(files.read(descriptor, format.RECORD_HEADER, offset), offset) is not None:
            return offset
    return size


def _magics(files: Files, descriptor: int, start: int, size: int) -> Iterator[int]:
    """Yield where the magic of a record is found."""
    overlap = len(format.RECORD_MAGIC) - 1
    for position in range(start, size, _CHUNK):
        chunk = files.read(descriptor, min(_CHUNK + overlap, size - position), position)
        found = chunk.find(format.RECORD_MAGIC)
        while found >= 0:
            yield position + found
            found = chunk.find(format.RECORD_MAGIC, found + 1)
