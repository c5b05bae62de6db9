"""Processors of others: they get upstream's own types, and what they raise stays with them."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_forge import guard
from otel_forge.sdk.logger import LeanLoggerProvider
from tests.sdk.pairs import RESOURCE, Watching, lean_provider


def test_an_exporter_of_others_works() -> None:
    """Its spans can be written as JSON, the way upstream's are."""
    exporter = InMemorySpanExporter()
    provider = lean_provider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("t").start_as_current_span("exported", attributes={"a": 1}):
        pass
    (span,) = exporter.get_finished_spans()
    assert type(span) is ReadableSpan
    assert '"name": "exported"' in span.to_json()


def test_a_processor_can_change_a_span_that_starts() -> None:
    """And sees a span that is being recorded, with its parent."""

    class Marking(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            seen.append((span.name, span.is_recording(), span.parent, span.kind.name, dict(span.attributes)))
            span.set_attribute("marked", True)

    seen: list[Any] = []
    ended: list[Any] = []
    provider = lean_provider(ended.append)
    provider.add_span_processor(Marking())
    provider.get_tracer("t").start_span("changed", attributes={"a": 1}).end()
    assert seen == [("changed", True, None, "INTERNAL", {"a": 1})]
    assert ended[0].attributes == {"a": 1, "marked": True}


def test_a_processor_added_later_sees_spans_of_tracers_that_exist() -> None:
    """Even those that have started."""
    watching = Watching()
    provider = lean_provider()
    tracer = provider.get_tracer("t")
    span = tracer.start_span("early")
    provider.add_span_processor(watching)
    span.end()
    tracer.start_span("late").end()
    assert [span.name for span in watching.ended] == ["early", "late"]
    assert [span.name for span in watching.started] == ["late"]


def test_what_a_processor_raises_does_not_reach_the_application(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor the processors after it, nor the queue."""

    class Raising(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            raise RuntimeError("on_start")

        def on_end(self, span: ReadableSpan) -> None:
            raise RuntimeError("on_end")

    guard.set_strict(False)
    watching, ended = Watching(), list[Any]()
    provider = lean_provider(ended.append)
    provider.add_span_processor(Raising())
    provider.add_span_processor(watching)
    for _ in range(3):
        provider.get_tracer("t").start_span("span").end()
    assert len(watching.started) == len(watching.ended) == len(ended) == 3
    assert "on_end of Raising failed" in capsys.readouterr().err


def test_flush_and_shutdown_reach_processors() -> None:
    """A processor that could not flush makes the answer False."""

    class Flushing(SpanProcessor):
        def force_flush(self, timeout_millis: int = 30000) -> bool:
            called.append("flush")
            return False

        def shutdown(self) -> None:
            called.append("shutdown")

    called: list[str] = []
    provider = lean_provider()
    assert provider.force_flush(10)
    provider.add_span_processor(Flushing())
    assert not provider.force_flush(10)
    provider.shutdown()
    assert called == ["flush", "shutdown"]


class Redacting(LogRecordProcessor):
    """Changes what it is shown."""

    def __init__(self) -> None:
        self.seen: list[ReadWriteLogRecord] = []

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        self.seen.append(log_record)
        log_record.log_record.body = "redacted"
        attributes: Any = log_record.log_record.attributes
        attributes["more"] = 1

    def shutdown(self) -> None:
        """Have nothing to shut down."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


def test_a_log_record_processor_can_change_what_is_sent() -> None:
    """It gets upstream's read-write record; the queue gets what it made of it."""
    queued: list[Any] = []
    provider = LeanLoggerProvider(queued.append, RESOURCE)
    redacting = Redacting()
    provider.add_log_record_processor(redacting)
    provider.get_logger("l").emit(body="secret", attributes={"a": [1]}, exception=ValueError("x"))
    assert type(redacting.seen[0]) is ReadWriteLogRecord
    assert redacting.seen[0].resource == RESOURCE
    assert (queued[0].body, queued[0].attributes["a"], queued[0].attributes["more"]) == ("redacted", (1,), 1)
    assert queued[0].attributes["exception.stacktrace"] == "ValueError: x\n"
