"""Cuts a request in two, for a back end that finds it too large: by the wire format, without decoding records.

The three requests have one shape (see `otel_forge.otlp.envelope`): resources hold scopes, scopes hold records.
Each half repeats what stands around its records. Fields that are not known here are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, groupby

from otel_forge.otlp.wire import delimited

_RESOURCE, _SCOPE, _RECORD = b"\x0a", b"\x12", b"\x12"
_POINTS = b"\x0a"
_KINDS_OF_METRIC = frozenset((b"\x2a", b"\x3a", b"\x4a", b"\x52", b"\x5a"))
"""Gauge (5), sum (7), histogram (9), exponential histogram (10) and summary (11)."""

_MALFORMED = "not a request"


@dataclass(frozen=True, slots=True)
class _Around:
    """What stands around records: the fields of a resource or a scope that are not themselves its content."""

    number: int
    fields: bytes


@dataclass(frozen=True, slots=True)
class _Record:
    resource: _Around
    scope: _Around
    field: bytes


def halves(body: bytes) -> tuple[bytes, bytes] | None:
    """Return two requests that hold the records of `body`, about equal in bytes; None if there are not two records.

    Raises ValueError if `body` is no request.
    """
    records = list(_records(body))
    if len(records) < 2:
        return None
    sizes = list(accumulate(len(record.field) for record in records))
    middle = next(index for index, size in enumerate(sizes) if 2 * size >= sizes[-1])
    cut = min(middle + 1, len(records) - 1)
    return _request(records[:cut]), _request(records[cut:])


def count_records(body: bytes) -> int:
    """Return how many spans, log records or metrics a request holds; raises ValueError if it is none."""
    return sum(1 for _ in _records(body))


def count_points(body: bytes) -> int:
    """Return how many points the metrics of a request have; raises ValueError if it is none."""
    return sum(
        1
        for record in _records(body)
        for _, metric in _fields(record.field)
        for kind, data in _fields(metric)
        if kind in _KINDS_OF_METRIC
        for tag, _ in _fields(data)
        if tag == _POINTS
    )


def _records(body: bytes) -> Iterator[_Record]:
    for of_resource, (tag, content) in enumerate(_fields(body)):
        if tag != _RESOURCE:
            continue
        resource, scopes = _opened(of_resource, content, _SCOPE)
        for of_scope, scope_content in enumerate(scopes):
            scope, records = _opened(of_scope, scope_content, _RECORD)
            for record in records:
                yield _Record(resource, scope, delimited(_RECORD, record))


def _opened(number: int, content: bytes, inner: bytes) -> tuple[_Around, list[bytes]]:
    """Return what stands around the fields `inner` of a message, and those."""
    around, found = b"", []
    for tag, value in _fields(content):
        if tag == inner:
            found.append(value)
        else:
            around += delimited(tag, value) if _is_delimited(tag) else tag + value
    return _Around(number, around), found


def _request(records: Iterable[_Record]) -> bytes:
    request = b""
    for resource, of_resource in groupby(records, lambda record: record.resource):
        scopes = b""
        for scope, of_scope in groupby(of_resource, lambda record: record.scope):
            scopes += delimited(_SCOPE, scope.fields + b"".join([record.field for record in of_scope]))
        request += delimited(_RESOURCE, resource.fields + scopes)
    return request


def _fields(message: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield tag and content of each field; the content of a delimited field comes without its length."""
    position = 0
    while position < len(message):
        start = position
        kind = message[start] & 7
        position = _after_varint(message, position)
        tag = message[start:position]
        start = position
        if kind == 0:
            position = _after_varint(message, position)
        elif kind == 2:
            start = _after_varint(message, position)
            position = start + _number(message[position:start])
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            raise ValueError(_MALFORMED)
        if position > len(message):
            raise ValueError(_MALFORMED)
        yield tag, message[start:position]


def _is_delimited(tag: bytes) -> bool:
    return tag[0] & 7 == 2


def _after_varint(message: bytes, position: int) -> int:
    for end in range(position, min(position + 10, len(message))):
        if message[end] < 128:
            return end + 1
    raise ValueError(_MALFORMED)


def _number(varint: bytes) -> int:
    return sum((byte & 127) << 7 * index for index, byte in enumerate(varint))
