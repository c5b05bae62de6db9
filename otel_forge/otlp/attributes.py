"""Attributes to KeyValue fields, with what repeats kept ready.

The keys of a program's attributes are few, and most of their values come back all the time, so a table
keeps, for each key, the whole field of its recent values; anything else is put together from the key's own
head. Texts, integers and booleans have tables of their own, because ``True == 1 == 1.0`` would make one
answer for another; floats are not kept, because ``0.0 == -0.0``. Keys and values must be of exactly these
types: any other goes to the careful encoder.

What may leave the process is the policy's to say (`otel_forge.redaction`). It is asked when a field is made, and a
field in which it replaced something is not kept: so no secret lives on in a table, and each one is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from weakref import WeakSet

from otel_forge.otlp.careful import MAX_RECORD_BYTES, Altered, Careful, TooLarge
from otel_forge.otlp.wire import delimited, pack_double, signed_varint, varint
from otel_forge.redaction import policy
from otel_forge.redaction.current import on_change
from otel_forge.redaction.policy import CARD_SIZED

SPAN_ATTRIBUTES = b"\x4a"

KEPT_BYTES = 1 << 20
"""About what one table keeps (fields and their dictionaries); then it forgets everything and starts afresh."""

KEPT_VALUES = 64
"""Values kept for each key; more means that the key's values hardly repeat."""

KEPT_LENGTH = 512
"""Bytes of the longest field that is kept, and characters of the longest key; longer ones need care."""

_KEPT_OVERHEAD = 150
_STALE_AFTER = 1024
_HIGHEST = (1 << 63) - 1


class AttributeTable:
    """Encodes attributes as KeyValue fields of one `tag`, texts cut to `limit` characters.

    Made for one thread, but harmless if shared: entries are only ever added whole.
    """

    def __init__(self, tag: bytes, limit: int | None = None, *, raw: bool = False) -> None:
        self.tag = tag
        self.limit = limit
        self.raw = raw
        self.kept = 0
        self.texts = _Keys(self, _Texts)
        """By key and value: the fields of attributes that are of type str."""
        self.integers = _Keys(self, _Integers)
        """By key and value: the fields of attributes that are of type int."""
        self._booleans = _Keys(self, _Booleans)
        self._others = _Keys(self, _Values)
        self.tables = self.texts, self.integers, self.other
        """What `fields` works with, for encoders that do its work in place."""

    def fields(self, attributes: Mapping[str, Any]) -> list[bytes]:
        """Return a field for each attribute; raises Altered, or nearly anything, if one needs care."""
        texts, integers, other = self.tables
        return [
            texts[key][value]
            if type(value) is str
            else integers[key][value]
            if type(value) is int
            else other(key, value)
            for key, value in attributes.items()
        ]

    def other(self, key: str, value: Any) -> bytes:
        """Return the field of an attribute that is neither text nor an integer."""
        if type(value) is bool:
            return self._booleans[key][value]
        if type(value) is float and not policy().rule(key).secret:
            return self._others[key].field(b"\x21" + pack_double(value))
        careful = Careful(limit=self.limit, raw=self.raw)
        content = careful.value_under(key, value)
        careful.check()
        return self._others[key].field(content)

    def account(self, size: int) -> None:
        """Count an entry of `size` bytes; forget all entries when there are too many."""
        self.kept += size + _KEPT_OVERHEAD
        if self.kept > KEPT_BYTES:
            self.forget()

    def forget(self) -> None:
        """Forget all entries: there are too many, or the policy changed."""
        self.kept = 0
        for table in (self.texts, self.integers, self._booleans, self._others):
            table.clear()


class _Values(dict[Any, bytes]):
    """The fields of one key, by value."""

    __slots__ = ("_head", "_rule", "_skip", "_starts", "_table")

    def __init__(self, key: str, table: AttributeTable) -> None:
        super().__init__()
        if type(key) is not str or len(key) > KEPT_LENGTH or not (key or table.raw):
            raise Altered
        self._head = delimited(b"\x0a", key.encode()) + b"\x12"
        self._table = table
        self._rule = policy().rule(key)
        self._starts: dict[int, bytes] = {}
        self._skip = 0

    def field(self, content: bytes) -> bytes:
        """Return the field of this key and the AnyValue message `content`."""
        return self._start(b"", len(content)) + content

    def _start(self, inner: bytes, length: int) -> bytes:
        """Return what stands before `length` bytes of an AnyValue that begins with `inner`."""
        middle = self._head + varint(len(inner) + length) + inner
        return self._table.tag + varint(len(middle) + length) + middle

    def _keep_start(self, length: int, start: bytes) -> None:
        self._starts[length] = start
        self._table.account(len(start))

    def _keep(self, value: Any, field: bytes) -> None:
        """Keep a field if it is short; after many, pass over the next misses and then start afresh."""
        if len(self) >= KEPT_VALUES:
            self.clear()
        if len(field) <= KEPT_LENGTH:
            self[value] = field
            self._table.account(2 * len(field))
            if len(self) == KEPT_VALUES:
                self._skip = _STALE_AFTER


class _Texts(_Values):
    """The fields of one key with text values."""

    __slots__ = ()

    def __missing__(self, value: str) -> bytes:
        allowed = self._allowed(value)
        data = allowed.encode()
        start = self._starts.get(len(data))
        field = self._unusual(allowed, data) if start is None else start + data
        if self._skip:
            self._skip -= 1
        elif allowed is value:
            self._keep(value, field)
        return field

    def _allowed(self, value: str) -> str:
        """Return what may leave of `value`."""
        rule = self._rule
        if rule.secret:
            return policy().secret(rule.secret, value)
        return rule.text(value)

    def _unusual(self, value: str, data: bytes) -> bytes:
        """Return the field of a text that is too long, or the first of its length."""
        limit = self._table.limit
        if limit is not None and len(value) > limit:
            data = value[:limit].encode()
        elif len(data) > MAX_RECORD_BYTES:
            raise TooLarge
        start = self._start(b"\x0a" + varint(len(data)), len(data))
        if len(data) < KEPT_LENGTH and (limit is None or len(data) <= limit):
            self._keep_start(len(data), start)
        return start + data


class _Integers(_Values):
    """The fields of one key with integer values."""

    __slots__ = ()

    def __missing__(self, value: int) -> bytes:
        if self._rule.secret or value >= CARD_SIZED:
            allowed = policy().number(self._rule, value)
            if type(allowed) is str:
                return self._text(allowed)
        data = varint(value) if 0 <= value <= _HIGHEST else _negative(value)
        start = self._starts.get(len(data))
        field = self._first(data) if start is None else start + data
        if self._skip:
            self._skip -= 1
        else:
            self._keep(value, field)
        return field

    def _text(self, allowed: str) -> bytes:
        """Return the field of what stands in place of a number."""
        data = allowed.encode()
        return self.field(b"\x0a" + varint(len(data)) + data)

    def _first(self, data: bytes) -> bytes:
        """Return the field of the first number whose varint is that long."""
        start = self._start(b"\x18", len(data))
        self._keep_start(len(data), start)
        return start + data


def _negative(value: int) -> bytes:
    if not -(1 << 63) <= value < 0:
        raise Altered
    return signed_varint(value)


class _Booleans(_Values):
    """The two fields of one key with boolean values."""

    __slots__ = ()

    def __missing__(self, value: bool) -> bytes:
        field = self.field(b"\x10\x01" if value else b"\x10\x00")
        self._keep(value, field)
        return field


class _Keys(dict[str, _Values]):
    """The values of one type, by key."""

    def __init__(self, table: AttributeTable, kind: type[_Values]) -> None:
        super().__init__()
        self._table = table
        self._kind = kind

    def __missing__(self, key: str) -> _Values:
        values = self._kind(key, self._table)
        self._table.account(2 * len(key) + 200)
        self[key] = values
        return values


@lru_cache(maxsize=32)
def attribute_table(tag: bytes, limit: int | None = None, *, raw: bool = False) -> AttributeTable:
    """Return the process's table for attributes of `tag` with texts of at most `limit` characters."""
    table = AttributeTable(tag, limit, raw=raw)
    on_change(table.forget)
    return table


class FixedAttributes:
    """Attributes that many spans share, encoded once: what is constant for a route or a statement.

    They count as set before the span's own. Immutable but for a change of the policy; made by `fixed_attributes`.
    """

    __slots__ = ("__weakref__", "count", "encoded", "longest", "mapping", "names")

    def __init__(self, mapping: Mapping[str, Any], encoded: bytes, longest: int) -> None:
        self.mapping = mapping
        self.encoded = encoded
        """The KeyValue fields of a Span, ready to be appended."""
        self.names = frozenset(mapping)
        self.count = len(mapping)
        self.longest = longest
        """Characters of the longest text, beyond any limit if `encoded` can't stand for the mapping."""


def fixed_attributes(mapping: Mapping[str, Any]) -> FixedAttributes:
    """Return `mapping` as attributes to share between spans; never raises for what it holds.

    Values that can't be encoded as they are make the spans that use them go the careful way, marked.
    """
    own = dict(mapping)
    fixed = FixedAttributes(MappingProxyType(own), *_encoded(own))
    _all_fixed.add(fixed)
    return fixed


def _encoded(own: dict[str, Any]) -> tuple[bytes, int]:
    """Return attributes as fields of a Span, and the length of the longest text in them."""
    careful = Careful()
    encoded, dropped = careful.attributes(SPAN_ATTRIBUTES, own)
    plain = not careful.reasons and not dropped and all(type(key) is str for key in own)
    usable = plain and len(encoded) < MAX_RECORD_BYTES // 2
    return encoded, _longest(own.values()) if usable else MAX_RECORD_BYTES * 2


_all_fixed: WeakSet[FixedAttributes] = WeakSet()


def _encode_again() -> None:
    """Encode what spans share again, because the policy changed."""
    for fixed in list(_all_fixed):
        fixed.encoded, fixed.longest = _encoded(dict(fixed.mapping))


on_change(_encode_again)


def _longest(values: Iterable[Any]) -> int:
    """Return the length of the longest text in `values`; anything but plain scalars counts as endless."""
    longest = 0
    for value in values:
        if isinstance(value, str):
            longest = max(longest, len(value))
        elif isinstance(value, (list, tuple)):
            longest = max(longest, _longest(value))
        elif not isinstance(value, (bool, int, float, bytes, type(None))):
            longest = MAX_RECORD_BYTES
    return longest
