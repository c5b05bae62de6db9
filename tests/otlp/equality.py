"""Both encoders on the same data: what arrives must be the same message."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs as upstream_encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics as upstream_encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as upstream_encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource

from otel_forge.otlp.encode_logs import encode_logs
from otel_forge.otlp.encode_metrics import encode_metrics
from otel_forge.otlp.encode_spans import encode_spans
from otel_forge.otlp.envelope import EncodedResource
from otel_forge.otlp.report import EncodingReport
from otel_forge.settings import Limits
from tests.otlp import generated
from tests.otlp.generated import Log, Span

span_batches = st.tuples(st.lists(generated.spans(), max_size=3), generated.resources, generated.limits)
log_batches = st.tuples(st.lists(generated.logs(), max_size=3), generated.resources, generated.limits)
metric_batches = generated.metrics_data()


def assert_same_spans(spans: list[Span], resource: Resource, limits: Limits) -> None:
    """Compare what upstream makes of `spans` with what we make of them."""
    report = EncodingReport()
    ours = encode_spans(spans, EncodedResource(resource, report), limits, report)
    theirs = upstream_encode_spans([generated.upstream_span(span, resource, limits) for span in spans])
    _assert_same(ours, theirs, ExportTraceServiceRequest, report)


def assert_same_logs(logs: list[Log], resource: Resource, limits: Limits) -> None:
    """Compare what upstream makes of `logs` with what we make of them."""
    report = EncodingReport()
    ours = encode_logs(logs, EncodedResource(resource, report), limits, report)
    theirs = upstream_encode_logs([generated.upstream_log(log, resource, limits) for log in logs])
    _assert_same(ours, theirs, ExportLogsServiceRequest, report)


def assert_same_metrics(data: MetricsData) -> None:
    """Compare what upstream makes of `data` with what we make of it."""
    report = EncodingReport()
    ours = encode_metrics(data, report=report)
    _assert_same(ours, upstream_encode_metrics(data), ExportMetricsServiceRequest, report)


def _assert_same(ours: bytes, theirs: Any, kind: Any, report: EncodingReport) -> None:
    """Compare by value, or else by canonical bytes: a message that holds a NaN is not equal to itself."""
    arrived = kind.FromString(ours)
    if arrived != theirs and arrived.SerializeToString(deterministic=True) != theirs.SerializeToString(
        deterministic=True
    ):
        assert str(arrived) == str(theirs)
        raise AssertionError("the messages differ, though they print alike")
    assert (report.altered, report.lost) == (0, 0)


def spans_of(spans: list[Span]) -> bytes:
    """Return our request for `spans`."""
    return encode_spans(spans, EncodedResource(Resource({})), generated.NO_LIMITS)
