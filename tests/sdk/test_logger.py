"""Log records: each call is made on upstream's logger and on ours, and the records agree."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otel_forge.sdk.current import suppress_in_this_thread
from otel_forge.sdk.limits import RecordLimits
from otel_forge.sdk.logger import LeanLoggerProvider
from otel_forge.sdk.readable import log_record_limits, writable_log_record
from otel_forge.sdk.values import plain
from tests.sdk.pairs import RESOURCE, lean_provider

REMOTE = set_span_in_context(NonRecordingSpan(SpanContext(0xA, 0xB, True, TraceFlags(1))), Context())


class Keeping(LogRecordProcessor):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.records: list[ReadWriteLogRecord] = []

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        self.records.append(log_record)

    def shutdown(self) -> None:
        """Have nothing to shut down."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


class Mood(str, enum.Enum):
    GOOD = "good"


def raised() -> BaseException:
    try:
        raise ValueError("a reason")
    except ValueError as error:
        return error


CASES: dict[str, Callable[[Any], None]] = {
    "nothing": lambda logger: logger.emit(),
    "everything": lambda logger: logger.emit(
        timestamp=1,
        observed_timestamp=2,
        context=REMOTE,
        severity_number=SeverityNumber.WARN2,
        severity_text="WARN",
        body={"a": [1, None, b"x"], "n": {"m": 1.5}},
        attributes={"a": 1, "list": [1, "b"], "when": datetime(2026, 1, 1), "mood": Mood.GOOD, "none": None},
        event_name="event",
    ),
    "exception": lambda logger: logger.emit(body="failed", exception=raised()),
    "exception and attributes": lambda logger: logger.emit(
        attributes={"exception.message": "mine", "a": 1}, exception=raised()
    ),
    "record": lambda logger: logger.emit(
        LogRecord(
            timestamp=5,
            observed_timestamp=6,
            context=REMOTE,
            severity_text="INFO",
            severity_number=SeverityNumber.INFO,
            body="text",
            attributes={"a": (1, 2)},
            event_name="event",
            exception=raised(),
        )
    ),
    "limits": lambda logger: logger.emit(attributes={f"key {n}": "x" * 10 * n for n in range(5)}),
}
LIMITS = RecordLimits(attributes=3, attribute_length=20)


def facts(record: ReadWriteLogRecord) -> dict[str, Any]:
    content = record.log_record
    return {
        "times": (content.timestamp, content.observed_timestamp),
        "ids": (content.trace_id, content.span_id, content.trace_flags),
        "severity": (content.severity_number, content.severity_text),
        "body": plain(content.body),
        "attributes": dict(content.attributes or {}),
        "dropped": record.dropped_attributes,
        "event": content.event_name,
        "scope": record.instrumentation_scope,
        "resource": record.resource,
    }


@pytest.mark.filterwarnings("ignore:Log record attributes were dropped")
@pytest.mark.parametrize("limits", [RecordLimits(), LIMITS], ids=["default", "small"])
@pytest.mark.parametrize("name", CASES)
def test_records_equal_those_of_upstream(name: str, limits: RecordLimits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every field, with the clock standing still."""
    monkeypatch.setattr("otel_forge.sdk.logger.time_ns", lambda: 42)
    monkeypatch.setattr("opentelemetry._logs._internal.time_ns", lambda: 42)
    keeping, queued = Keeping(), list[Any]()
    upper = log_record_limits(limits)
    upstream = LoggerProvider(RESOURCE, shutdown_on_exit=False, log_record_limits=upper)
    upstream.add_log_record_processor(keeping)
    lean = LeanLoggerProvider(queued.append, RESOURCE, limits=limits)
    for provider in (upstream, lean):
        CASES[name](provider.get_logger("pairs", "1", "https://schema", {"scope": "attribute"}))
    queued[0].settle()
    assert facts(writable_log_record(queued[0], RESOURCE, upper)) == facts(keeping.records[0])


def test_ids_are_those_of_the_current_span() -> None:
    """A lean one, one of others, or none."""
    queued: list[Any] = []
    logger = LeanLoggerProvider(queued.append, RESOURCE).get_logger("l")
    with lean_provider().get_tracer("t").start_as_current_span("current") as span:
        logger.emit(body="lean")
    with trace.use_span(trace.get_current_span(REMOTE)):
        logger.emit(body="of others")
    logger.emit(body="none")
    context = span.get_span_context()
    assert [(record.trace_id, record.span_id, record.trace_flags) for record in queued] == [
        (context.trace_id, context.span_id, 3),
        (0xA, 0xB, 1),
        (0, 0, 0),
    ]


def test_loggers_are_kept_by_scope() -> None:
    """The same arguments give the same logger."""
    provider = LeanLoggerProvider(None, RESOURCE)
    assert provider.get_logger("a") is provider.get_logger("a")
    assert provider.get_logger("a", "1") is not provider.get_logger("a")
    assert provider.get_logger("a", attributes={"b": 1}) is provider.get_logger("a", attributes={"b": 1})
    assert not provider.get_logger("a").enabled()


def test_a_thread_that_delivers_records_nothing() -> None:
    """Neither spans nor log records of ours, and upstream's instrumentations are told to keep quiet as well."""
    from threading import Thread

    from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled, is_instrumentation_enabled

    queued: list[Any] = []
    logger = LeanLoggerProvider(queued.append, RESOURCE).get_logger("l")
    tracer = lean_provider(queued.append).get_tracer("t")

    def deliver() -> None:
        suppress_in_this_thread()
        enabled.append(is_instrumentation_enabled() or is_http_instrumentation_enabled())
        with tracer.start_as_current_span("suppressed"):
            tracer.start_span("inside").end()
        logger.emit(body="suppressed")
        logger.emit(LogRecord(body="suppressed"))

    enabled: list[bool] = []
    thread = Thread(target=deliver)
    thread.start()
    thread.join()
    assert (queued, enabled) == ([], [False])
