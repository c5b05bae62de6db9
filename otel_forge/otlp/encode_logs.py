"""Log records to wire bytes: as for spans, straight ahead first and carefully where that fails."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from otel_forge.otlp.attributes import attribute_table
from otel_forge.otlp.careful import MAX_RECORD_BYTES, Altered, Careful, TooLarge
from otel_forge.otlp.envelope import EncodedResource, assemble, by_scope
from otel_forge.otlp.records import LogRecord
from otel_forge.otlp.report import EncodingReport
from otel_forge.otlp.wire import Heads, delimited, pack_fixed32, pack_fixed64, varint
from otel_forge.redaction import policy
from otel_forge.redaction.current import on_change
from otel_forge.settings import Limits

LOG_ATTRIBUTES = b"\x32"
_HIGHEST_SEVERITY = (1 << 31) - 1
_KEPT_SEVERITIES = 256
_KEPT_TEXTS, _KEPT_LENGTH, _STALE_AFTER = 512, 128, 2048
_NO_ATTRIBUTES: dict[str, Any] = {}

_pack_times = struct.Struct("<BQBQ").pack
_pack_context = struct.Struct(">H16sHQ").pack
_heads = Heads(b"\x12")
_body_heads = Heads(b"\x2a", b"\x0a")
_FLAGS = {flags: b"\x45" + pack_fixed32(flags) if flags else b"" for flags in range(256)}


class _Severities(dict[Any, bytes]):
    """Severity number and text as fields; a program has few."""

    def __missing__(self, severity: tuple[int, str | None]) -> bytes:
        number, text = severity
        if type(number) is not int or not 0 <= number <= _HIGHEST_SEVERITY:
            raise Altered
        fields = b"\x10" + varint(number) if number else b""
        if text:
            fields += delimited(b"\x1a", text.encode())
        if len(self) < _KEPT_SEVERITIES and len(fields) < 64:
            self[severity] = fields
        return fields


_severities = _Severities()


class _AllowedTexts(dict[str, bytes]):
    """Short texts that come again, as what may leave of them: bodies without arguments, names of events.

    As with attributes, a text in which the policy replaced something is not kept; after many that do not come again the
    next ones are passed over, and then it starts afresh.
    """

    __slots__ = ("_skip",)

    def __init__(self) -> None:
        super().__init__()
        self._skip = 0
        on_change(self.clear)

    def __missing__(self, text: str) -> bytes:
        allowed = policy().text(text)
        data = allowed.encode()
        if self._skip:
            self._skip -= 1
        elif allowed is text and len(data) <= _KEPT_LENGTH:
            if len(self) >= _KEPT_TEXTS:
                self.clear()
                self._skip = _STALE_AFTER
            self[text] = data
        return data


_texts = _AllowedTexts()


class LogEncoder:
    """Encodes log records under `limits`; used by one thread at a time.

    What had to be changed is counted in `report`.
    """

    def __init__(self, limits: Limits, report: EncodingReport | None = None) -> None:
        self.report = EncodingReport() if report is None else report
        self.limits = limits
        self._tables = attribute_table(LOG_ATTRIBUTES, limits.log_attribute_length).tables
        self._count = limits.log_attributes

    def encode(self, record: LogRecord) -> bytes:
        """Return `record` as a field of its scope, or no bytes if nothing at all could be read of it. Never raises.

        The work of `AttributeTable.fields` is done in place, as for spans.
        """
        try:
            attributes = record.attributes or _NO_ATTRIBUTES
            if len(attributes) > self._count:
                raise Altered
            texts, integers, other = self._tables
            body = record.body
            if type(body) is str:
                text = _texts[body]
                start = _body_heads[len(text)]
            else:
                start, text = b"", _structured(body)
            trace_id, span_id = record.trace_id, record.span_id
            content = b"".join(
                [
                    _pack_times(0x09, record.timestamp or 0, 0x59, record.observed_timestamp or 0),
                    _severities[record.severity_number, record.severity_text],
                    start,
                    text,
                    *[
                        texts[key][value]
                        if type(value) is str
                        else integers[key][value]
                        if type(value) is int
                        else other(key, value)
                        for key, value in attributes.items()
                    ],
                    _pack_context(0x4A10, trace_id.to_bytes(16, "big"), 0x5208, span_id)
                    if trace_id and span_id
                    else _context(trace_id, span_id),
                    _FLAGS[record.trace_flags],
                    _rare(record) if record.event_name or record.dropped_attributes else b"",
                ]
            )
            size = len(content)
            if size > MAX_RECORD_BYTES:
                raise TooLarge
            return _heads[size] + content
        except TooLarge:
            return _encode_carefully(record, self.limits, self.report, large=True)
        except Exception:  # noqa: BLE001 - anything unusual; the careful encoder knows what to do
            return _encode_carefully(record, self.limits, self.report)


def encode_logs(
    records: Sequence[LogRecord], resource: EncodedResource, limits: Limits, report: EncodingReport | None = None
) -> bytes:
    """Return a serialized ExportLogsServiceRequest that holds `records`."""
    return assemble(resource, by_scope(records, LogEncoder(limits, report).encode))


def _structured(body: Any) -> bytes:
    """Return the field of a body that is no text."""
    careful = Careful(raw=True)
    field = delimited(b"\x2a", careful.value(body))
    careful.check()
    return field


def _context(trace_id: int, span_id: int) -> bytes:
    """Return those of the ids that are there."""
    trace = b"\x4a\x10" + trace_id.to_bytes(16, "big") if trace_id else b""
    return trace + b"\x52\x08" + span_id.to_bytes(8, "big") if span_id else trace


def _rare(record: LogRecord) -> bytes:
    """Return the fields that most records do not have."""
    dropped = record.dropped_attributes
    if not 0 <= dropped < 1 << 32:
        raise Altered
    name = delimited(b"\x62", _texts[record.event_name]) if record.event_name else b""
    return name + (b"\x38" + varint(dropped) if dropped else b"")


def _encode_carefully(record: LogRecord, limits: Limits, report: EncodingReport, *, large: bool = False) -> bytes:
    """Encode a record of which anything may be wrong; a second time, with short texts, if it is too large."""
    try:
        content, careful = _careful_record(record, limits, large=large)
        if "size" in careful.reasons and not large:
            content, careful = _careful_record(record, limits, large=True)
        careful.report_to(report)
        return delimited(b"\x12", content + careful.mark(LOG_ATTRIBUTES))
    except Exception:  # noqa: BLE001 - not even a log record
        report.note_lost()
        return b""


def _careful_record(record: LogRecord, limits: Limits, *, large: bool) -> tuple[bytes, Careful]:
    """Return the LogRecord message without the mark; a part that can't be read costs only itself."""
    careful = Careful(limit=limits.log_attribute_length, large=large)
    parts = [_careful_head(record, careful)]
    for part in (_careful_body, _careful_attributes):
        try:
            parts.append(part(record, careful, limits))
        except Exception:  # noqa: BLE001 - the other part may be whole
            careful.reasons.add("record")
    return b"".join(parts), careful


def _careful_head(record: LogRecord, careful: Careful) -> bytes:
    number = record.severity_number
    severity = careful.unsigned(getattr(number, "value", number), 31)
    text, name = careful.text(record.severity_text), careful.text(record.event_name)
    return b"".join(
        (
            b"\x09" + pack_fixed64(careful.time(record.timestamp)),
            b"\x59" + pack_fixed64(careful.time(record.observed_timestamp)),
            b"\x10" + varint(severity) if severity else b"",
            delimited(b"\x1a", text) if text else b"",
            delimited(b"\x62", name) if name else b"",
            _context(careful.unsigned(record.trace_id, 128), careful.unsigned(record.span_id, 64)),
            b"\x45" + pack_fixed32(careful.unsigned(record.trace_flags, 32)),
        )
    )


def _careful_body(record: LogRecord, careful: Careful, _limits: Limits) -> bytes:
    """Return the body, which upstream neither cleans nor cuts."""
    with careful.uncleaned():
        return delimited(b"\x2a", careful.value(record.body))


def _careful_attributes(record: LogRecord, careful: Careful, limits: Limits) -> bytes:
    fields, dropped = careful.attributes(LOG_ATTRIBUTES, record.attributes, limits.log_attributes)
    total = careful.unsigned(careful.unsigned(record.dropped_attributes, 32) + dropped, 32)
    return fields + (b"\x38" + varint(total) if total else b"")
