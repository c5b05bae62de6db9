"""The bytes of a segment: a header, and records of a header and a body each.

All numbers are little-endian. The header of a segment keeps its layout in all versions, so that any version can
tell whether a segment is its own::

    magic "OTFSPOOL" | version u16 | reserved u16 | signal, 8 bytes, zero-padded
    created f64 | number u32 | crc32 of all before

A record of version 1::

    magic "\\xf5Rec" | state u32 | crc32 of the rest of the header u32 | crc32 of the body u32
    body length u32 | items u32 | created f64 | id u64 | flags u32 | body

The state is the one thing ever overwritten. It is `PENDING` (0) or the header's checksum, inverted in some bits;
anything else, such as half an overwrite, reads as pending: a record is rather sent twice than lost. Both checksums
start from the record's offset in the file, so that bytes of a segment inside a body are not taken for a record.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from zlib import crc32

from otel_forge.delivery.batch import Batch

VERSION = 1
PENDING = 0
STATE_OFFSET = 4
RECORD_MAGIC = b"\xf5Rec"
MAX_BODY = (1 << 32) - 1

_SETTLED_BITS = 0x5E771ED0
_IMPORTANT = 1
_SEGMENT_MAGIC = b"OTFSPOOL"
_segment = struct.Struct("<8sHH8sdI")
_checksum = struct.Struct("<I")
_start = struct.Struct("<4sII")
_rest = struct.Struct("<IIIdQI")

SEGMENT_HEADER = _segment.size + _checksum.size
RECORD_HEADER = _start.size + _rest.size


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What the header of a segment says."""

    version: int
    signal: str
    created: float


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """What the header of a record says; `mark` is the state that would say that it is settled."""

    id: str
    size: int
    items: int
    created: float
    important: bool
    settled: bool
    mark: bytes
    body_checksum: int

    @property
    def end(self) -> int:
        """Where the record ends, counted from its start."""
        return RECORD_HEADER + self.size


def segment_header(signal: str, created: float, number: int) -> bytes:
    """Return the header of a new segment."""
    head = _segment.pack(_SEGMENT_MAGIC, VERSION, 0, signal.encode()[:8], created, number)
    return head + _checksum.pack(crc32(head))


def read_segment_header(data: bytes) -> SegmentHeader | None:
    """Return what a segment's header says; None if it is damaged."""
    if len(data) < SEGMENT_HEADER or crc32(data[: _segment.size]) != _checksum.unpack_from(data, _segment.size)[0]:
        return None
    magic, version, _, signal, created, _ = _segment.unpack_from(data)
    if magic != _SEGMENT_MAGIC:
        return None
    return SegmentHeader(version, signal.rstrip(b"\0").decode("ascii", "replace"), created)


def record_header(batch: Batch, offset: int) -> bytes:
    """Return the header of a pending record that is to lie at `offset`."""
    rest = _rest.pack(
        crc32(batch.body, offset & MAX_BODY),
        len(batch.body),
        batch.items,
        batch.created,
        int(batch.id, 16),
        _IMPORTANT if batch.important else 0,
    )
    checksum = crc32(rest, offset & MAX_BODY)
    return _start.pack(RECORD_MAGIC, PENDING, checksum) + rest


def read_record_header(data: bytes, offset: int) -> RecordHeader | None:
    """Return what the header of the record at `offset` says; None if there is none that is whole."""
    if len(data) < RECORD_HEADER or not data.startswith(RECORD_MAGIC):
        return None
    _, state, checksum = _start.unpack_from(data)
    if crc32(data[_start.size : RECORD_HEADER], offset & MAX_BODY) != checksum:
        return None
    body_checksum, size, items, created, number, flags = _rest.unpack_from(data, _start.size)
    mark = checksum ^ _SETTLED_BITS
    return RecordHeader(
        id=f"{number:016x}",
        size=size,
        items=items,
        created=created,
        important=bool(flags & _IMPORTANT),
        settled=state == mark != PENDING,
        mark=_checksum.pack(mark),
        body_checksum=body_checksum,
    )


def read_body(data: bytes, header: RecordHeader, offset: int) -> bytes | None:
    """Return the body of the record whose bytes `data` are; None if it is damaged."""
    body = data[RECORD_HEADER : header.end]
    if len(body) < header.size or crc32(body, offset & MAX_BODY) != header.body_checksum:
        return None
    return body
