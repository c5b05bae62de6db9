"""What the encoders read of a record: plain attributes, nothing called but what Python itself calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from otel_forge.otlp.attributes import FixedAttributes

Attributes = Mapping[str, Any] | None
Event = tuple[str, int, Attributes]
"""Name, time in nanoseconds, attributes."""


class SpanRecord(Protocol):
    """An ended span; attributes are as they were set, limits and cleaning are the encoder's."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> int:
        """The number in OTLP: INTERNAL 1, SERVER 2, CLIENT 3, PRODUCER 4, CONSUMER 5."""

    @property
    def trace_id(self) -> int: ...
    @property
    def span_id(self) -> int: ...
    @property
    def parent_span_id(self) -> int:
        """0 in a root span."""

    @property
    def parent_is_remote(self) -> bool: ...
    @property
    def trace_state(self) -> Mapping[str, str] | None: ...
    @property
    def start_time(self) -> int:
        """Nanoseconds since the epoch."""

    @property
    def end_time(self) -> int:
        """Nanoseconds since the epoch."""

    @property
    def own(self) -> Attributes:
        """The attributes that the span does not share."""

    @property
    def fixed(self) -> FixedAttributes | None: ...
    @property
    def dropped_attributes(self) -> int: ...
    @property
    def events(self) -> Sequence[Event] | None: ...
    @property
    def dropped_events(self) -> int: ...
    @property
    def links(self) -> Sequence[Sequence[Any]] | None:
        """Trace id, span id, trace flags, trace state, attributes and, if there, whether the context is remote."""

    @property
    def dropped_links(self) -> int: ...
    @property
    def status_code(self) -> int:
        """0 unset, 1 ok, 2 error."""

    @property
    def status_description(self) -> str | None: ...
    @property
    def scope(self) -> Any:
        """Like upstream's ``InstrumentationScope``: name, version, schema_url, attributes."""


class LogRecord(Protocol):
    """A log record; attributes are as they were set, limits and cleaning are the encoder's."""

    @property
    def timestamp(self) -> int | None: ...
    @property
    def observed_timestamp(self) -> int | None: ...
    @property
    def severity_number(self) -> int: ...
    @property
    def severity_text(self) -> str | None: ...
    @property
    def body(self) -> Any: ...
    @property
    def attributes(self) -> Attributes: ...
    @property
    def dropped_attributes(self) -> int: ...
    @property
    def event_name(self) -> str | None: ...
    @property
    def trace_id(self) -> int: ...
    @property
    def span_id(self) -> int: ...
    @property
    def trace_flags(self) -> int: ...
    @property
    def scope(self) -> Any:
        """Like upstream's ``InstrumentationScope``: name, version, schema_url, attributes."""
