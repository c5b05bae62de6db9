"""What a recording of OTLP holds: keys, replaced values, and values that look like secrets.

Reads what the Collector's file exporter writes (JSON, one request a line, or protobuf, each request after its
length in four bytes), and the body of one request.
"""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otel_forge.redaction.policy import Policy

_mark = re.compile(r"\[REDACTED:([A-Za-z0-9_-]{1,64})\]")
_SIGNALS = {"resourceSpans": "traces", "resourceMetrics": "metrics", "resourceLogs": "logs"}
_RECORDS = {"spans": "spans", "dataPoints": "points", "logRecords": "log records"}
_TEXTS = {
    "name": "(name)",
    "body": "(body)",
    "message": "(status)",
    "eventName": "(event name)",
    "traceState": "(state)",
}
_TRACE_ID_BYTES = 16
_LENGTH = struct.Struct(">I")


@dataclass
class Audit:
    """What was found, counted; `policy` says what looks like a secret."""

    policy: Policy = field(default_factory=Policy)
    records: Counter[str] = field(default_factory=Counter)
    """Spans, points and log records."""
    keys: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """By signal and key: values, and how many of them hold a replacement."""
    replaced: Counter[str] = field(default_factory=Counter)
    """Replacements in the values, by class."""
    leaks: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By signal, key and class: values that the policy would have replaced."""

    def note(self, signal: str, key: str, value: Any) -> None:
        """Count one value."""
        kinds = _mark.findall(_as_text(value))
        values, replaced = self.keys.get((signal, key), (0, 0))
        self.keys[signal, key] = values + 1, replaced + bool(kinds)
        self.replaced.update(kinds)
        before = self.policy.counts
        self.policy.value("" if key.startswith("(") else key, value)
        for kind, count in self.policy.counts.items():
            if count > before.get(kind, 0):
                self.leaks[signal, key, kind] += count - before.get(kind, 0)


def audit_file(path: Path, found: Audit) -> None:
    """Add what the file at `path` holds to `found`; raises ValueError if it is none of the forms."""
    audit_bytes(path.read_bytes(), found)


def audit_bytes(data: bytes, found: Audit) -> None:
    """Add what a recording, or one request, holds to `found`; raises ValueError if it is none of the forms."""
    for request in _requests(data):
        for key, signal in _SIGNALS.items():
            for of_resource in request.get(key, ()):
                _walk(of_resource, signal, found)


def _requests(data: bytes) -> Iterator[dict[str, Any]]:
    if data.lstrip()[:1] in {b"{", b""}:
        yield from _json_requests(data)
    else:
        yield from _protobuf_requests(data)


def _json_requests(data: bytes) -> Iterator[dict[str, Any]]:
    try:
        yield json.loads(data or b"{}")
    except ValueError:
        for line in data.splitlines():
            if line.strip():
                yield json.loads(line)


def _protobuf_requests(data: bytes) -> Iterator[dict[str, Any]]:
    for body in _delimited(data) or [data]:
        yield _decoded(body)


def _delimited(data: bytes) -> list[bytes]:
    """Return the requests of a file in which each stands after its length; nothing if the lengths do not fit."""
    bodies = []
    position = 0
    while position + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        bodies.append(data[position : position + length])
        position += length
    return bodies if position == len(data) else []


def _decoded(body: bytes) -> dict[str, Any]:
    """Return a request as its JSON form; of the three signals, the one whose fields are all known."""
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import DecodeError
    from google.protobuf.unknown_fields import UnknownFieldSet
    from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
    from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    for kind in (TracesData, LogsData, MetricsData):
        message: Any = kind()
        try:
            message.ParseFromString(body)
        except DecodeError:
            continue
        if _is_known(message, UnknownFieldSet) and _has_ids(message):
            decoded: dict[str, Any] = MessageToDict(message)
            return decoded
    raise ValueError("no request of traces, metrics or logs")


def _is_known(message: Any, unknown_fields: Any) -> bool:
    """Whether `message` and all that is in it have only fields of their kind."""
    if len(unknown_fields(message)):
        return False
    for description, value in message.ListFields():
        if description.message_type is None:
            continue
        parts = value if description.is_repeated else [value]
        if not all(_is_known(part, unknown_fields) for part in parts):
            return False
    return True


def _has_ids(message: Any) -> bool:
    """Whether what was read as spans has trace ids: by its fields alone, a gauge could be a span."""
    return all(
        len(span.trace_id) == _TRACE_ID_BYTES
        for of_resource in getattr(message, "resource_spans", ())
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    )


def _walk(part: Any, signal: str, found: Audit) -> None:
    """Note every value in a part of a request."""
    if isinstance(part, list):
        for item in part:
            _walk(item, signal, found)
        return
    if not isinstance(part, dict):
        return
    for name, content in part.items():
        if name in _RECORDS:
            found.records[_RECORDS[name]] += len(content)
        if name in ("attributes", "filteredAttributes"):
            for pair in content:
                found.note(signal, str(pair.get("key", "")), _plain(pair.get("value") or {}))
        elif name == "body":
            found.note(signal, _TEXTS[name], _plain(content))
        elif name in _TEXTS and isinstance(content, str):
            found.note(signal, _TEXTS[name], content)
        else:
            _walk(content, signal, found)


def _plain(value: dict[str, Any]) -> Any:
    """Return an AnyValue in its JSON form as a plain value."""
    for kind, content in value.items():
        if kind == "arrayValue":
            return [_plain(item) for item in content.get("values", ())]
        if kind == "kvlistValue":
            return {pair.get("key", ""): _plain(pair.get("value") or {}) for pair in content.get("values", ())}
        return int(content) if kind == "intValue" else content
    return None


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
