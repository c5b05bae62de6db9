"""Counting what products deliver that have a protocol of their own: ddtrace (MessagePack) and Sentry (envelopes)."""

from __future__ import annotations

import json
import struct
from typing import Any

from benchmarks.arrivals import Arrivals


def count(found: Arrivals, signal: str, body: bytes) -> None:
    """Add what `body` holds to `found`."""
    if signal == "ddtrace":
        traces, _ = _unpack(body, 0)
        found.spans += sum(len(trace) for trace in traces)
        found.attributes += sum(len(span.get("meta", {})) for trace in traces for span in trace)
    elif signal == "sentry":
        _count_envelope(found, body)


def _count_envelope(found: Arrivals, body: bytes) -> None:
    _, _, rest = body.partition(b"\n")
    while rest.strip():
        head, _, rest = rest.partition(b"\n")
        header = json.loads(head)
        length = header.get("length")
        if length is None:
            payload, _, rest = rest.partition(b"\n")
        else:
            payload, rest = rest[:length], rest[length:].removeprefix(b"\n")
        _count_item(found, header, payload)


def _count_item(found: Arrivals, header: dict[str, Any], payload: bytes) -> None:
    if header.get("type") == "transaction":
        found.spans += 1 + len(json.loads(payload).get("spans", []))
    elif header.get("type") == "log":
        found.logs += int(header.get("item_count", 1))


_SIZES = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_COLLECTIONS = {0xDC: (">H", False), 0xDD: (">I", False), 0xDE: (">H", True), 0xDF: (">I", True)}


def _unpack(data: bytes, at: int) -> tuple[Any, int]:
    """Return the MessagePack value at `at` and where the next one begins (specification: msgpack/spec.md)."""
    first = data[at]
    at += 1
    if first <= 0x7F:
        return first, at
    if first >= 0xE0:
        return first - 256, at
    if first <= 0x9F:
        return _collection(data, at, first & 0x0F, is_map=first <= 0x8F)
    if first <= 0xBF:
        return data[at : at + (first & 0x1F)].decode(errors="replace"), at + (first & 0x1F)
    if first in _CONSTANTS:
        return _CONSTANTS[first], at
    if first in _NUMBERS:
        return _fixed(data, at, _NUMBERS[first])
    if first in _COLLECTIONS:
        size, at = _fixed(data, at, _COLLECTIONS[first][0])
        return _collection(data, at, size, is_map=_COLLECTIONS[first][1])
    size, at = _fixed(data, at, _SIZES[first])
    value = data[at : at + size]
    return (value if first <= 0xC6 else value.decode(errors="replace")), at + size


def _fixed(data: bytes, at: int, layout: str) -> tuple[Any, int]:
    return struct.unpack_from(layout, data, at)[0], at + struct.calcsize(layout)


def _collection(data: bytes, at: int, size: int, *, is_map: bool) -> tuple[Any, int]:
    values = []
    for _ in range(size * (2 if is_map else 1)):
        value, at = _unpack(data, at)
        values.append(value)
    return (dict(zip(values[::2], values[1::2], strict=True)) if is_map else values), at
