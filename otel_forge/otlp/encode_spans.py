"""Spans to wire bytes.

`SpanEncoder.encode` makes one span a fragment in a straight line, trusting that everything is what it
should be; whatever is not raises, and `_CarefulSpan` encodes the same span again, field by field.
Either way the fields are those of upstream's ``trace_encoder``, which leaves out the trace state of links
and the W3C flags.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.trace import SpanKind

from otel_forge.otlp.attributes import SPAN_ATTRIBUTES, FixedAttributes, attribute_table
from otel_forge.otlp.careful import MAX_RECORD_BYTES, Altered, Careful, TooLarge
from otel_forge.otlp.envelope import EncodedResource, assemble, by_scope
from otel_forge.otlp.records import Event, SpanRecord
from otel_forge.otlp.report import EncodingReport
from otel_forge.otlp.wire import Heads, delimited, pack_fixed32, pack_fixed64, varint
from otel_forge.redaction import policy
from otel_forge.redaction.current import on_change
from otel_forge.settings import Limits

EVENT_ATTRIBUTES, LINK_ATTRIBUTES = b"\x1a", b"\x22"
_ERROR = 2
_LAST_KIND = 5
_HAS_REMOTE, _IS_REMOTE = 0x100, 0x200  # opentelemetry.proto.trace.v1.SpanFlags

_pack_ids = struct.Struct(">H16sHQHQ").pack  # tags and trace id, span id, parent's span id
_pack_root_ids = struct.Struct(">H16sHQ").pack
_pack_times = struct.Struct("<BQBQ").pack
_pack_event_time = struct.Struct("<BQ").pack
_heads = Heads(b"\x12")
_KEPT_TEXTS = 1024
_KEPT_TEXT_LENGTH = 256
_NO_ATTRIBUTES: dict[str, Any] = {}


def _flags(is_remote: bool) -> bytes:
    return pack_fixed32(_HAS_REMOTE | _IS_REMOTE if is_remote else _HAS_REMOTE)


def _status(code: int, description: bytes = b"") -> bytes:
    """Return the status field, which upstream writes even when it is empty."""
    message = delimited(b"\x12", description) if description else b""
    return delimited(b"\x7a", message + (bytes((0x18, code)) if code else b""))


def _kind_and_flags(number: int, is_remote: bool) -> bytes:
    return bytes((0x30, number)) + b"\x85\x01" + _flags(is_remote)


def _all_tails() -> dict[tuple[int, bool, int], bytes]:
    """Return kind, flags and status in bytes for all that these can be.

    The kind, OTLP's number or the API's enum, is found by its identity, because the hash of an enum is a slow one;
    should a number not be the same object, the careful encoder gets it right.
    """
    tails: dict[tuple[int, bool, int], bytes] = {}
    for kind in SpanKind:
        number = kind.value + 1
        for is_remote in (False, True):
            for code in (0, 1, 2):
                tail = _kind_and_flags(number, is_remote) + _status(code)
                tails[id(number), is_remote, code] = tails[id(kind), is_remote, code] = tail
    return tails


_ERROR_STATUS = _status(_ERROR)
_tails = _all_tails()


class _Remembered(dict[str, bytes]):
    """Short texts, allowed to leave, as `field` writes them; a well-named program has few names and few failures."""

    def __init__(self, field: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self._field = field

    def __missing__(self, text: str) -> bytes:
        if type(text) is not str:
            raise Altered
        allowed = policy().text(text)
        field = self._field(allowed.encode())
        if len(field) <= _KEPT_TEXT_LENGTH and allowed is text:
            if len(self) >= _KEPT_TEXTS:
                self.clear()
            self[text] = field
        return field


_names = _Remembered(lambda text: delimited(b"\x2a", text))
_errors = _Remembered(lambda text: _status(_ERROR, text))
on_change(_names.clear)
on_change(_errors.clear)


class SpanEncoder:
    """Encodes spans under `limits`; used by one thread at a time. What had to be changed is counted in `report`."""

    def __init__(self, limits: Limits, report: EncodingReport | None = None) -> None:
        self.report = EncodingReport() if report is None else report
        self.limits = limits
        length = limits.span_attribute_length
        self._tables = attribute_table(SPAN_ATTRIBUTES, length).tables
        self._event_attributes = attribute_table(EVENT_ATTRIBUTES, length)
        self._link_attributes = attribute_table(LINK_ATTRIBUTES, length)
        self._count = limits.span_attributes
        self._longest = MAX_RECORD_BYTES if length is None else length

    def encode(self, span: SpanRecord) -> bytes:
        """Return `span` as a field of its scope, or no bytes if nothing at all could be read of it. Never raises.

        The work of `AttributeTable.fields` is done in place: this is where the delivery thread spends its time.
        """
        try:
            attributes = span.own
            fixed = span.fixed
            shared = b""
            count = len(attributes) if attributes else 0
            if fixed is not None:
                if fixed.longest <= self._longest and (not attributes or fixed.names.isdisjoint(attributes)):
                    shared = fixed.encoded
                    count += fixed.count
                else:
                    attributes = merged(fixed, attributes)
                    count = len(attributes)
            if count > self._count:
                raise Altered
            texts, integers, other = self._tables
            fields: Sequence[bytes] = (
                [
                    texts[key][value]
                    if type(value) is str
                    else integers[key][value]
                    if type(value) is int
                    else other(key, value)
                    for key, value in attributes.items()
                ]
                if attributes
                else ()
            )
            tail = _tails[id(span.kind), span.parent_is_remote, span.status_code]
            dropped = span.dropped_attributes or span.dropped_events or span.dropped_links
            if dropped or span.events or span.links or span.trace_state is not None or span.status_description:
                tail = self._rare(span, tail)
            trace_id = span.trace_id.to_bytes(16, "big")
            parent = span.parent_span_id
            ids = (
                _pack_ids(0x0A10, trace_id, 0x1208, span.span_id, 0x2208, parent)
                if parent
                else _pack_root_ids(0x0A10, trace_id, 0x1208, span.span_id)
            )
            times = _pack_times(0x39, span.start_time, 0x41, span.end_time)
            body = b"".join([ids, _names[span.name], times, shared, *fields, tail])
            size = len(body)
            if size > MAX_RECORD_BYTES:
                raise TooLarge
            return _heads[size] + body
        except TooLarge:
            return _encode_carefully(span, self.limits, self.report, large=True)
        except Exception:  # noqa: BLE001 - anything unusual; the careful encoder knows what to do
            return _encode_carefully(span, self.limits, self.report)

    def _rare(self, span: SpanRecord, tail: bytes) -> bytes:
        """Return the fields that most spans do not have, and the `tail`."""
        fields = b""
        if span.events or span.dropped_events:
            fields = self._events(span.events or (), span.dropped_events)
        if span.links or span.dropped_links:
            fields += self._links(span.links or (), span.dropped_links)
        if span.dropped_attributes:
            fields += _count(b"\x50", span.dropped_attributes)
        if span.trace_state is not None:
            state = policy().text(_state(span.trace_state)).encode()
            fields += delimited(b"\x1a", state) if state else b""
        if span.status_description and span.status_code == _ERROR:
            tail = tail[: -len(_ERROR_STATUS)] + _errors[span.status_description]
        return fields + tail

    def _events(self, events: Sequence[Event], dropped: int) -> bytes:
        kept, more = youngest(events, self.limits.events)
        fields = []
        for name, time, attributes in kept:
            encoded = policy().text(name).encode()
            content = _pack_event_time(0x09, time) + delimited(b"\x12", encoded)
            if attributes:
                if len(attributes) > self.limits.event_attributes:
                    raise Altered
                content += b"".join(self._event_attributes.fields(attributes))
            fields.append(delimited(b"\x5a", content))
        return b"".join(fields) + _count(b"\x60", dropped + more)

    def _links(self, links: Sequence[Sequence[Any]], dropped: int) -> bytes:
        kept, more = youngest(links, self.limits.links)
        fields = []
        for link in kept:
            content = _pack_root_ids(0x0A10, link[0].to_bytes(16, "big"), 0x1208, link[1]) + _link_flags(link)
            attributes = link[4]
            if attributes:
                if len(attributes) > self.limits.link_attributes:
                    raise Altered
                content += b"".join(self._link_attributes.fields(attributes))
            fields.append(delimited(b"\x6a", content))
        return b"".join(fields) + _count(b"\x70", dropped + more)


def encode_spans(
    spans: Sequence[SpanRecord], resource: EncodedResource, limits: Limits, report: EncodingReport | None = None
) -> bytes:
    """Return a serialized ExportTraceServiceRequest that holds `spans`."""
    return assemble(resource, by_scope(spans, SpanEncoder(limits, report).encode))


def encode_span(span: SpanRecord, limits: Limits, report: EncodingReport | None = None) -> bytes:
    """Return one span as a fragment for `assemble`; keep a `SpanEncoder` where there are many."""
    return SpanEncoder(limits, report).encode(span)


def merged(fixed: FixedAttributes, attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return both as if `fixed` had been set first: a key set again becomes the youngest."""
    if not attributes:
        return dict(fixed.mapping)
    own = {key: value for key, value in fixed.mapping.items() if key not in attributes}
    own.update(attributes)
    return own


def youngest(items: Sequence[Any], count: int) -> tuple[Sequence[Any], int]:
    """Return the last `count` items and how many stand before them."""
    excess = len(items) - count
    return (items[excess:], excess) if excess > 0 else (items, 0)


def _count(tag: bytes, number: int) -> bytes:
    """Return a uint32 field, or nothing for zero."""
    if not 0 <= number < 1 << 32:
        raise Altered
    return tag + varint(number) if number else b""


def _state(state: Mapping[str, str]) -> str:
    return ",".join([f"{key}={value}" for key, value in state.items()])


def _link_flags(link: Sequence[Any]) -> bytes:
    return b"\x35" + _flags(len(link) > 5 and bool(link[5]))


def _encode_carefully(span: SpanRecord, limits: Limits, report: EncodingReport, *, large: bool = False) -> bytes:
    """Encode a span of which anything may be wrong; a second time, with short texts, if it is too large."""
    try:
        careful = Careful(limit=limits.span_attribute_length, large=large)
        body = _CarefulSpan(span, limits, careful).encode()
        if "size" in careful.reasons and not large:
            careful = Careful(limit=limits.span_attribute_length, large=True)
            body = _CarefulSpan(span, limits, careful).encode()
        careful.report_to(report)
        return delimited(b"\x12", body + careful.mark(SPAN_ATTRIBUTES))
    except Exception:  # noqa: BLE001 - not even a span
        report.note_lost()
        return b""


class _CarefulSpan:
    """One span, encoded field by field; a field that can't be read costs only itself."""

    def __init__(self, span: SpanRecord, limits: Limits, careful: Careful) -> None:
        self._span = span
        self._limits = limits
        self._careful = careful

    def encode(self) -> bytes:
        """Return the Span message without the mark; raises only if there are no ids."""
        ids = self._ids()
        parts = [ids]
        for part in (self._description, self._own_attributes, self._events, self._links):
            try:
                parts.append(part())
            except Exception:  # noqa: BLE001 - the other parts may be whole
                self._careful.reasons.add("record")
        return b"".join(parts)

    def _ids(self) -> bytes:
        span = self._span
        ids = self._context_ids(span.trace_id, span.span_id)
        parent = self._careful.unsigned(span.parent_span_id, 64)
        return ids + b"\x22\x08" + parent.to_bytes(8, "big") if parent else ids

    def _context_ids(self, trace_id: Any, span_id: Any) -> bytes:
        trace, span = self._careful.unsigned(trace_id, 128), self._careful.unsigned(span_id, 64)
        return b"\x0a\x10" + trace.to_bytes(16, "big") + b"\x12\x08" + span.to_bytes(8, "big")

    def _description(self) -> bytes:
        span, careful = self._span, self._careful
        state = careful.text(_state(span.trace_state)) if span.trace_state is not None else b""
        return b"".join(
            (
                delimited(b"\x2a", careful.text(span.name)),
                delimited(b"\x1a", state) if state else b"",
                b"\x39" + pack_fixed64(careful.time(span.start_time)),
                b"\x41" + pack_fixed64(careful.time(span.end_time)),
                self._tail(),
            )
        )

    def _tail(self) -> bytes:
        span, careful = self._span, self._careful
        kind = span.kind.value + 1 if isinstance(span.kind, SpanKind) else careful.unsigned(span.kind, 31)
        code = careful.unsigned(span.status_code, 31)
        if not (1 <= kind <= _LAST_KIND and code <= _ERROR):
            careful.reasons.add("number")
            kind, code = (kind if kind <= _LAST_KIND else 0), (code if code <= _ERROR else 0)
        description = careful.text(span.status_description) if code == _ERROR else b""
        return _kind_and_flags(kind, bool(span.parent_is_remote)) + _status(code, description)

    def _own_attributes(self) -> bytes:
        span = self._span
        before = None if span.fixed is None else span.fixed.mapping
        count = self._limits.span_attributes
        fields, dropped = self._careful.attributes(SPAN_ATTRIBUTES, span.own, count, before)
        return fields + self._dropped(b"\x50", span.dropped_attributes, dropped)

    def _events(self) -> bytes:
        kept, dropped = youngest(self._span.events or (), self._limits.events)
        fields = [self._part(self._event, event) for event in kept]
        return b"".join(fields) + self._dropped(b"\x60", self._span.dropped_events, dropped + fields.count(b""))

    def _links(self) -> bytes:
        kept, dropped = youngest(self._span.links or (), self._limits.links)
        fields = [self._part(self._link, link) for link in kept]
        return b"".join(fields) + self._dropped(b"\x70", self._span.dropped_links, dropped + fields.count(b""))

    def _part(self, encode: Any, part: Any) -> bytes:
        """Return an event or a link as a field, or nothing if it is unreadable or there is no room."""
        if self._careful.is_full:
            return b""
        try:
            field: bytes = encode(part)
        except Exception:  # noqa: BLE001 - not the tuple it should be
            self._careful.reasons.add("record")
            return b""
        return field

    def _event(self, event: Event) -> bytes:
        name, time, attributes = event
        content = b"\x09" + pack_fixed64(self._careful.time(time)) + delimited(b"\x12", self._careful.text(name))
        fields, dropped = self._careful.attributes(EVENT_ATTRIBUTES, attributes, self._limits.event_attributes)
        return delimited(b"\x5a", content + fields + self._dropped(b"\x20", 0, dropped))

    def _link(self, link: Sequence[Any]) -> bytes:
        content = self._context_ids(link[0], link[1]) + _link_flags(link)
        fields, dropped = self._careful.attributes(LINK_ATTRIBUTES, link[4], self._limits.link_attributes)
        return delimited(b"\x6a", content + fields + self._dropped(b"\x28", 0, dropped))

    def _dropped(self, tag: bytes, before: Any, now: int) -> bytes:
        return _count(tag, self._careful.unsigned(self._careful.unsigned(before, 32) + now, 32))
