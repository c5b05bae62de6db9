"""The careful encoder: any Python object to a valid AnyValue, never raising, in bounded time and space.

The fast paths give up on the first oddity and leave the record to this one. It follows upstream's cleaning
(``opentelemetry.attributes``) and encoding (``opentelemetry.exporter.otlp.proto.common``) for everything
those can encode, and notes a `Reason` for everything they can't.
"""

from __future__ import annotations

import operator
import struct
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from otel_forge.otlp.report import ALTERED, EncodingReport, Reason
from otel_forge.otlp.wire import MASK64, delimited, pack_double, signed_varint
from otel_forge.redaction import policy
from otel_forge.redaction.policy import KeyRule

MAX_RECORD_BYTES = 4_000_000
"""The most that one span, log record or metric point takes: with its envelope it fits gRPC's default of 4 MiB."""

LARGE_RECORD_BYTES = 1_000_000
"""About what is kept of a record that would be larger than `MAX_RECORD_BYTES`."""

LARGE_RECORD_TEXT = 8192
"""Characters that a text keeps in such a record."""

MAX_LEVELS = 88
"""Messages that may be nested below an attribute: protobuf readers stop at 100, and ten are around it."""

_LEVELS_OF_SEQUENCE = 2
_LEVELS_OF_MAPPING = 3
_LARGEST_INTEGER_IN_DIGITS_BITS = 4096
_LATEST_TIME = (1 << 63) - 1
_CUT = "…"
_CUT_VALUE = b"\x0a\x03\xe2\x80\xa6"
_TRUE, _FALSE = b"\x10\x01", b"\x10\x00"


class Altered(Exception):
    """Something in a record can't be written as it is: the careful encoder takes over."""


class TooLarge(Altered):
    """A record, or a value in it, is larger than `MAX_RECORD_BYTES`."""


class Careful:
    """Encodes what belongs to one record and notes why it could not be encoded as it is.

    `limit` is the length in characters that text values keep without a note (the limits' value length).
    `raw` encodes values as upstream does without cleaning: log bodies, metric attributes.
    `large` is for a record that is too large as it is: texts are kept short, with a note, and so is the whole.
    """

    def __init__(self, *, limit: int | None = None, raw: bool = False, large: bool = False) -> None:
        self.limit = limit
        self.raw = raw
        self.reasons: set[Reason] = set()
        self._longest = LARGE_RECORD_TEXT if large else MAX_RECORD_BYTES
        self._left = LARGE_RECORD_BYTES if large else MAX_RECORD_BYTES
        self._open: set[int] = set()
        self._policy = policy()
        self._rule = self._policy.rule("")

    @property
    def is_full(self) -> bool:
        """Whether the record has no room for anything more."""
        return self._left <= 0

    def text(self, text: Any) -> bytes:
        """Return the UTF-8 of a name or message; anything but text becomes its ``str()``."""
        if text is None:
            return b""
        if not isinstance(text, str):
            self.reasons.add("type")
            text = self._str(text)
        return self._utf8(self._policy.text(str.__str__(text)), limited=False)

    def value(self, value: Any, levels: int = MAX_LEVELS) -> bytes:
        """Return the AnyValue message of `value`."""
        try:
            return self._any_value(value, levels)
        except Exception:  # noqa: BLE001 - whatever reading a hostile object raises is that object's affair
            self.reasons.add("value")
            return delimited(b"\x0a", self._utf8(_unreadable(value)))

    def value_under(self, key: str, value: Any, levels: int = MAX_LEVELS) -> bytes:
        """Return the AnyValue message of what may leave of a `value` that stands under `key`."""
        before = self._rule
        if not before.secret:  # what stands in a secret is one, whatever its key
            self._rule = self._policy.rule(key)
        try:
            return self.value(value, levels)
        finally:
            self._rule = before

    def attributes(
        self,
        tag: bytes,
        attributes: Mapping[Any, Any] | None,
        count: int | None = None,
        before: Mapping[Any, Any] | None = None,
    ) -> tuple[bytes, int]:
        """Return the KeyValue fields of `attributes`, set after `before`, and how many were dropped.

        At most `count` stay: as in upstream's ``BoundedAttributes``, setting one more drops the oldest, and a key
        that is set again becomes the youngest.
        """
        kept: OrderedDict[str, Any] = OrderedDict()
        given = 0
        again = 0
        for mapping in (before, attributes):
            if mapping:
                given += len(mapping)
                again += self._set(kept, mapping, count)
        fields = []
        for key, value in kept.items():
            if self.is_full:
                self.reasons.add("size")
                break
            fields.append(delimited(tag, self._key_value(key, value, MAX_LEVELS)))
        return b"".join(fields), given - again - len(fields)

    def _set(self, kept: OrderedDict[str, Any], attributes: Mapping[Any, Any], count: int | None) -> int:
        """Set `attributes` in `kept`; return how many of them were there already."""
        again = 0
        for key, value in dict(self._items(attributes)).items():
            if key in kept:
                del kept[key]
                again += 1
            if count is not None and len(kept) >= count:
                if not kept:
                    continue
                kept.popitem(last=False)
            kept[key] = value
        return again

    def mark(self, tag: bytes) -> bytes:
        """Return the attribute that tells what was altered, or nothing if nothing was."""
        if not self.reasons:
            return b""
        value = delimited(b"\x0a", ",".join(sorted(self.reasons)).encode())
        return delimited(tag, delimited(b"\x0a", ALTERED.encode()) + delimited(b"\x12", value))

    def time(self, time: Any) -> int:
        """Return a time in nanoseconds that the field can hold; None is 0, which is the absence of a time."""
        return self._number(time, MASK64, _LATEST_TIME, "time")

    def unsigned(self, number: Any, bits: int) -> int:
        """Return a number that a field of `bits` can hold; None is 0."""
        return self._number(number, (1 << bits) - 1, (1 << bits) - 1, "number")

    def double(self, number: Any) -> bytes:
        """Return the 8 bytes of a number; an integer beyond the largest double is infinite. Raises for no number."""
        try:
            return pack_double(number)
        except (OverflowError, struct.error):
            if not isinstance(number, int):
                raise
            self.reasons.add("number")
            return pack_double(float("inf") if int.__gt__(number, 0) else float("-inf"))

    @contextmanager
    def uncleaned(self) -> Iterator[None]:
        """Take values as they are for a while: `raw`, and without the limit of text."""
        before = self.limit, self.raw
        self.limit, self.raw = None, True
        yield
        self.limit, self.raw = before

    def check(self) -> None:
        """Raise if anything was noted: for a fast path that takes only a value or two along."""
        if self.reasons:
            raise TooLarge if "size" in self.reasons else Altered

    def report_to(self, report: EncodingReport) -> None:
        """Count the record in `report` if it was altered."""
        if self.reasons:
            report.note_altered(self.reasons)

    def _number(self, number: Any, highest: int, instead: int, reason: Reason) -> int:
        if number is None:
            return 0
        try:
            exact = operator.index(number)
        except Exception:  # noqa: BLE001 - not an integer, or one that raises
            self.reasons.add(reason)
            exact = _rounded_down(number)
        if 0 <= exact <= highest:
            return exact
        self.reasons.add(reason)
        return 0 if exact < 0 else instead

    def _items(self, attributes: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
        """Yield what upstream's cleaning keeps: no empty keys, and only keys that are or can become text."""
        for key, value in list(islice(attributes.items(), MAX_RECORD_BYTES)):
            name = self._key(key)
            if name is not None:
                yield name, value

    def _key(self, key: Any) -> str | None:
        if isinstance(key, str):
            return str.__str__(key) if key or self.raw else None
        if not self.raw and (not key or not _has_text(key)):
            return None
        return self._str(key)

    def _key_value(self, key: str, value: Any, levels: int) -> bytes:
        self._left -= 8
        name = self._utf8(key, limited=False)
        return delimited(b"\x0a", name) + delimited(b"\x12", self.value_under(key, value, levels))

    def _any_value(self, value: Any, levels: int) -> bytes:
        if value is None:
            return b""
        if isinstance(value, bool):
            return _TRUE if value else _FALSE
        if isinstance(value, int):
            return self._integer(int.__index__(value))
        if isinstance(value, float):
            return self._double(value)
        if isinstance(value, bytes):
            return self._binary(bytes.__getitem__(value, slice(None)))
        if isinstance(value, str):
            return delimited(b"\x0a", self._utf8(self._allowed(str.__str__(value))))
        if isinstance(value, Sequence):
            return self._container(value, levels - _LEVELS_OF_SEQUENCE, self._sequence)
        if isinstance(value, Mapping):
            return self._container(value, levels - _LEVELS_OF_MAPPING, self._mapping)
        return self._foreign(value)

    def _foreign(self, value: Any) -> bytes:
        """Encode what OTLP has no type for as its text, like upstream's cleaning, which sends no bare ``object``."""
        if self.raw:
            self.reasons.add("type")
        elif not _has_text(value):
            return b""
        return delimited(b"\x0a", self._utf8(self._allowed(self._str(value)), limited=False))

    def _allowed(self, text: str) -> str:
        """Return what may leave of a text that stands where we are."""
        rule: KeyRule = self._rule
        return self._policy.secret(rule.secret, text) if rule.secret else rule.text(text)

    def _double(self, number: float) -> bytes:
        self._left -= 9
        if self._rule.secret and not self._rule.counts:
            return delimited(b"\x0a", self._utf8(self._policy.marked(self._rule.secret)))
        return b"\x21" + pack_double(number)

    def _binary(self, value: bytes) -> bytes:
        allowed = self._policy.binary(self._rule, value)
        return delimited(b"\x3a", self._bytes(allowed)) if type(allowed) is bytes else self.value(allowed)

    def _integer(self, number: int) -> bytes:
        self._left -= 10
        allowed = self._policy.number(self._rule, number)
        if isinstance(allowed, str):
            return delimited(b"\x0a", self._utf8(allowed))
        if -(1 << 63) <= number < (1 << 63):
            return b"\x18" + signed_varint(number)
        self.reasons.add("number")
        bits = number.bit_length()
        text = str(number) if bits <= _LARGEST_INTEGER_IN_DIGITS_BITS else f"{bits}-bit integer"
        return delimited(b"\x0a", self._utf8(text))

    def _container(self, value: Any, levels: int, encode: Any) -> bytes:
        identity = id(value)
        if levels < 0 or identity in self._open:
            self.reasons.add("depth")
            return _CUT_VALUE
        self._open.add(identity)
        try:
            content: bytes = encode(value, levels)
        finally:
            self._open.discard(identity)
        return content

    def _sequence(self, value: Sequence[Any], levels: int) -> bytes:
        fields = []
        option = ""
        for item in value:
            if self._no_room():
                fields.append(delimited(b"\x0a", _CUT_VALUE))
                break
            is_secret = option and type(item) is str and not item.startswith("-")
            fields.append(delimited(b"\x0a", self.value(self._policy.marked(option) if is_secret else item, levels)))
            option = self._policy.option_class(item)
        return delimited(b"\x2a", b"".join(fields))

    def _mapping(self, value: Mapping[Any, Any], levels: int) -> bytes:
        items = self._items(value)
        fields = []
        for key, item in items if self.raw else dict(items).items():
            if self._no_room():
                break
            fields.append(delimited(b"\x0a", self._key_value(key, item, levels)))
        return delimited(b"\x32", b"".join(fields))

    def _no_room(self) -> bool:
        self._left -= 2
        if self._left <= 0:
            self.reasons.add("size")
        return self._left <= 0

    def _bytes(self, value: bytes) -> bytes:
        room = max(min(self._left, self._longest), 0)
        if len(value) > room:
            self.reasons.add("size")
            value = bytes.__getitem__(value, slice(room))
        self._left -= len(value)
        return bytes(value)

    def _utf8(self, text: str, *, limited: bool = True) -> bytes:
        """Return text as UTF-8, cut to the limit (if `limited`: text values) and to the room that is left."""
        if self.limit is not None and limited and len(text) > self.limit:
            text = str.__getitem__(text, slice(self.limit))
        room = max(min(self._left, self._longest), 0)
        if len(text) > room:
            self.reasons.add("size")
            text = str.__getitem__(text, slice(room)) + _CUT
        try:
            data = str.encode(text)
        except UnicodeEncodeError:
            self.reasons.add("text")
            data = str.encode(text, "utf-8", "backslashreplace")
        self._left -= len(data) + 4
        return data

    def _str(self, value: Any) -> str:
        """Return ``str(value)``, or say of what type it is if that raises."""
        try:
            return str(value)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - even a SystemExit in a ``__str__`` must not end the delivery thread
            self.reasons.add("value")
            return _unreadable(value)


def _has_text(value: Any) -> bool:
    """Whether `value` has a text of its own, not just the address that ``object`` prints."""
    kind: Any = type(value)
    return kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__


def _unreadable(value: Any) -> str:
    try:
        return f"<unreadable {type(value).__name__}>"
    except Exception:  # noqa: BLE001 - a metaclass can raise here
        return "<unreadable>"


def _rounded_down(number: Any) -> int:
    try:
        return int(number)
    except Exception:  # noqa: BLE001 - text, NaN, infinity, or an object that raises
        return 0
