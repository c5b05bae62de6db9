"""Exporters of upstream and of others get batches without secrets, and harmless ones as they are."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

from otel_forge.otlp.redacted_export import redact_exports, redacted_metrics, redacted_spans
from otel_forge.redaction import Policy


def _spans(exporter: Any, **attributes: Any) -> list[Any]:
    provider = TracerProvider(span_limits=SpanLimits(max_span_attributes=2, max_events=1), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("tests").start_as_current_span("GET /?token=abc", attributes=attributes) as span:
        span.add_event("first")
        span.add_event("password=hunter2", {"password": "hunter2"})
        span.set_status(Status(StatusCode.ERROR, "password=hunter2"))
    return list(exporter.get_finished_spans())


def test_a_span_is_exported_without_secrets_and_with_all_else(policy: Policy) -> None:
    """Ids, times, kind, scope and the numbers of what was dropped are those of the span."""
    exporter = InMemorySpanExporter()
    redact_exports(exporter, "traces")
    (span,) = _spans(exporter, first=1, password="hunter2", note="fine")
    assert span.name == "GET /?token=[REDACTED:token]"
    assert dict(span.attributes) == {"password": "[REDACTED:password]", "note": "fine"}
    assert (span.dropped_attributes, span.dropped_events, span.dropped_links) == (1, 1, 0)
    (event,) = span.events
    assert (event.name, dict(event.attributes)) == ("password=[REDACTED:password]", {"password": "[REDACTED:password]"})
    assert span.status.description == "password=[REDACTED:password]"
    assert span.context.is_valid
    assert span.end_time >= span.start_time
    assert span.instrumentation_scope.name == "tests"
    assert policy.counts == {"token": 1, "password": 4}


def test_harmless_spans_pass_as_they_are() -> None:
    """No copies where there is nothing to hide."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("tests").start_as_current_span("GET /", attributes={"note": "fine"}):
        pass
    spans = exporter.get_finished_spans()
    assert redacted_spans(spans, Policy())[0] is spans[0]


def test_metric_attributes_are_redacted() -> None:
    """Values under keys that name a secret, and texts that hold one."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("tests").create_counter("calls").add(1, {"token": "abc", "url.query": "a=b"})
    data: Any = redacted_metrics(reader.get_metrics_data(), Policy())
    (point,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert dict(point.attributes) == {"token": "[REDACTED:token]", "url.query": "a=[REDACTED:query-value]"}
    provider.shutdown()
