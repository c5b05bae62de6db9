"""The wire format of Protocol Buffers, as far as OTLP needs it.

A message is a row of fields; a field is a tag (field number and wire type) and its content: a varint, 8 or
4 bytes, or a length and as many bytes (https://protobuf.dev/programming-guides/encoding/). The order of
fields carries no meaning, and a field that is left out has its default.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

MASK64 = (1 << 64) - 1
_ONE_BYTE = [bytes((number,)) for number in range(128)]
_two_bytes = struct.Struct("BB").pack  # half the time of bytes((…))
_three_bytes = struct.Struct("BBB").pack

pack_double: Callable[[float], bytes] = struct.Struct("<d").pack
pack_fixed32: Callable[[int], bytes] = struct.Struct("<I").pack
pack_fixed64: Callable[[int], bytes] = struct.Struct("<Q").pack


def varint(number: int) -> bytes:
    """Return the varint of a number from 0 to 2**64 - 1."""
    if number < 0x80:
        return _ONE_BYTE[number]
    if number < 0x4000:
        return _two_bytes(number & 127 | 128, number >> 7)
    if number < 0x200000:
        return _three_bytes(number & 127 | 128, number >> 7 & 127 | 128, number >> 14)
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def signed_varint(number: int) -> bytes:
    """Return the varint of an int64: a negative number as its two's complement."""
    return varint(number & MASK64)


def zigzag(number: int) -> bytes:
    """Return the varint of a sint32, which keeps small negative numbers short."""
    return varint((number << 1) ^ (number >> 31))


def delimited(tag: bytes, content: bytes) -> bytes:
    """Return a length-delimited field: text, bytes or an embedded message."""
    return tag + varint(len(content)) + content


class Heads(dict[int, bytes]):
    """What stands before content of a given length, made at first use and kept for short lengths.

    `outer` is the tag of the field. With `inner`, the field holds a message with nothing but one
    length-delimited field of that tag, as AnyValue does around a text.
    """

    KEPT_BELOW = 4096

    def __init__(self, outer: bytes, inner: bytes = b"") -> None:
        super().__init__()
        self._outer = outer
        self._inner = inner

    def __missing__(self, length: int) -> bytes:
        inner = self._inner + varint(length) if self._inner else b""
        head = self._outer + varint(len(inner) + length) + inner
        if length < self.KEPT_BELOW:
            self[length] = head
        return head
