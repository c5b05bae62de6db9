"""The lean log record and its logger and provider: an implementation of ``opentelemetry._logs``.

A record is a slotted object that goes into the ring of its signal. The ids are those of the current span,
read without making a `SpanContext`; an exception is kept as a light summary and formatted on the delivery
thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import Logger, LoggerProvider, LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span

from otel_forge.guard import guard
from otel_forge.sdk import exceptions
from otel_forge.sdk.current import SPAN_KEY, SUPPRESSED, current_context
from otel_forge.sdk.exceptions import exception_attributes
from otel_forge.sdk.limits import RecordLimits
from otel_forge.sdk.processing import ProcessingProvider
from otel_forge.sdk.span import LeanSpan
from otel_forge.sdk.values import PLAIN, plain, plain_copy

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import LogRecordProcessor


class LeanLogRecord:
    """A log record as the encoder reads it; `exception_attributes` win over nothing the caller has set."""

    __slots__ = (
        "_unsettled",
        "attributes",
        "body",
        "dropped_attributes",
        "event_name",
        "observed_timestamp",
        "scope",
        "severity_number",
        "severity_text",
        "span_id",
        "timestamp",
        "trace_flags",
        "trace_id",
    )

    def __init__(
        self,
        scope: Any,
        timestamp: int | None,
        observed_timestamp: int,
        severity_number: int,
        severity_text: str | None,
        body: Any,
        attributes: dict[Any, Any] | None,
        event_name: str | None,
        trace_id: int,
        span_id: int,
        trace_flags: int,
        unsettled: bool = False,
    ) -> None:
        self.scope = scope
        self.timestamp = timestamp
        self.observed_timestamp = observed_timestamp
        self.severity_number = severity_number
        self.severity_text = severity_text
        self.body = body
        self.attributes = attributes
        self.dropped_attributes = 0
        self.event_name = event_name
        self.trace_id = trace_id
        self.span_id = span_id
        self.trace_flags = trace_flags
        self._unsettled = unsettled

    def settle(self) -> None:
        """Format what was left for the delivery thread: the stack trace of an exception."""
        if self._unsettled and self.attributes is not None:
            exceptions.settle(self.attributes)
            self._unsettled = False


class LeanLogger(Logger):
    """Emits the records of one instrumentation scope."""

    def __init__(self, provider: LeanLoggerProvider, scope: InstrumentationScope) -> None:
        super().__init__(scope.name, scope.version, scope.schema_url, scope.attributes)
        self.instrumentation_scope = scope
        self._provider = provider
        self.take_over()

    def take_over(self) -> None:
        """Take what may change in the life of a provider: processors and resource."""
        self.resource = self._provider.resource
        self.sink: Callable[[LeanLogRecord], object] = self._provider.sink

    def enabled(
        self,
        *,
        context: Context | None = None,
        severity_number: SeverityNumber | None = None,
        event_name: str | None = None,
    ) -> bool:
        """Return whether a record would go anywhere."""
        return self._provider.wants(context, self.instrumentation_scope, severity_number, event_name)

    def emit(
        self,
        record: LogRecord | None = None,
        *,
        timestamp: int | None = None,
        observed_timestamp: int | None = None,
        context: Context | None = None,
        severity_number: SeverityNumber | None = None,
        severity_text: str | None = None,
        body: Any = None,
        attributes: Mapping[str, Any] | None = None,
        event_name: str | None = None,
        exception: BaseException | None = None,
    ) -> None:
        """Emit a record made of the arguments, or a copy of `record`; see the API."""
        if record is not None:
            self._emit_record(record)
            return
        span: Any = (context or current_context()).get(SPAN_KEY)
        if type(span) is LeanSpan:
            trace_id, span_id, flags = span.trace_id, span.span_id, span.trace_flags
        elif span is None:
            trace_id = span_id = flags = 0
        elif span is SUPPRESSED:
            return
        else:
            trace_id, span_id, flags = _ids_of(span)
        kept: dict[Any, Any] | None = plain_copy(attributes) if attributes else None
        if exception is not None:
            kept = {**exception_attributes(exception), **(kept or {})}
        self.sink(
            LeanLogRecord(
                self.instrumentation_scope,
                timestamp,
                time_ns() if observed_timestamp is None else observed_timestamp,
                0 if severity_number is None else severity_number.value,
                severity_text,
                body if type(body) in PLAIN else plain(body),
                kept,
                event_name,
                trace_id,
                span_id,
                flags,
                exception is not None,
            )
        )

    def _emit_record(self, record: Any) -> None:
        """Emit a copy of an API record, or a record of upstream's SDK as it is."""
        span: Any = current_context().get(SPAN_KEY)
        if span is SUPPRESSED:
            return
        source: LogRecord = getattr(record, "log_record", record)
        lean = lean_log_record(source, self.instrumentation_scope)
        exception = getattr(source, "exception", None)
        if exception is not None:
            lean.attributes = {**exception_attributes(exception), **(lean.attributes or {})}
            lean._unsettled = True
        self.sink(lean)


class LeanLoggerProvider(ProcessingProvider["LogRecordProcessor"], LoggerProvider):
    """Makes loggers whose records go to `sink`; processors of others are served as well."""

    def __init__(
        self,
        sink: Callable[[LeanLogRecord], object] | None,
        resource: Resource,
        *,
        limits: RecordLimits | None = None,
        flush: Callable[[float], bool] = lambda seconds: True,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(resource, limits, flush, close)
        self._queue = sink
        self._loggers: dict[Any, LeanLogger] = {}

    @property
    def sink(self) -> Callable[[LeanLogRecord], object]:
        """Where a record goes: straight to the queue if nobody else wants to know."""
        if self._processors:
            return self._process
        return _discard if self._queue is None else self._queue

    def get_logger(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> LeanLogger:
        """Return the logger of a scope; without attributes, always the same for the same scope."""
        key = (name, version, schema_url)
        logger = self._loggers.get(key) if not attributes else None
        if logger is not None:
            return logger
        scope = InstrumentationScope(name, version, schema_url, attributes)
        with self._lock:
            cached_under: Any = scope if attributes else key
            logger = self._loggers.get(cached_under)
            if logger is None:
                logger = self._loggers[cached_under] = LeanLogger(self, scope)
            return logger

    def add_log_record_processor(self, log_record_processor: LogRecordProcessor) -> None:
        """Show `log_record_processor` every record from now on, before it is queued; what it changes is sent."""
        self._add(log_record_processor)

    def _speakers(self) -> Iterable[LeanLogger]:
        return self._loggers.values()

    def wants(
        self,
        context: Context | None,
        scope: InstrumentationScope,
        severity_number: SeverityNumber | None,
        event_name: str | None,
    ) -> bool:
        """Return whether the queue or a processor would take such a record."""
        if self._queue is not None:
            return True
        return any(
            processor.enabled(
                context=context,
                instrumentation_scope=scope,
                severity_number=severity_number,
                event_name=event_name,
            )
            for processor in self._processors
        )

    def _process(self, record: LeanLogRecord) -> None:
        """Show the record to the processors as upstream's type, and queue what they made of it."""
        from otel_forge.sdk.readable import log_record_limits, writable_log_record  # needs upstream's SDK

        record.settle()
        writable = writable_log_record(record, self.resource, log_record_limits(self.limits))
        for processor in self._processors:
            with guard(f"on_emit of {type(processor).__name__}"):
                processor.on_emit(writable)
        if self._queue is not None:
            changed = lean_log_record(writable.log_record, record.scope)
            changed.dropped_attributes = writable.dropped_attributes
            self._queue(changed)


def lean_log_record(source: LogRecord, scope: Any) -> LeanLogRecord:
    """Return the lean record with the content of an API record."""
    severity = source.severity_number
    return LeanLogRecord(
        scope,
        source.timestamp,
        source.observed_timestamp or time_ns(),
        0 if severity is None else severity.value,
        source.severity_text,
        plain(source.body),
        plain_copy(source.attributes),
        source.event_name,
        source.trace_id or 0,
        source.span_id or 0,
        int(source.trace_flags or 0),
    )


def _discard(record: object) -> None:
    """Take a record of which nobody wants to know."""


def _ids_of(span: Any) -> tuple[int, int, int]:
    if not isinstance(span, Span):
        return 0, 0, 0
    context = span.get_span_context()
    return context.trace_id, context.span_id, int(context.trace_flags)
