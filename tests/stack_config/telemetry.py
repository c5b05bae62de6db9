"""OTLP requests as an app would send them, made by hand, and the sending of them."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

SERVICE = "shop"


def _pairs(values: dict[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in values.items()]


def span(
    name: str, *, trace: int = 1, milliseconds: int = 5, error: bool = False, kind: int = Span.SPAN_KIND_SERVER
) -> Span:
    """Return a span that ends now; `trace` tells which trace it is of."""
    end = time.time_ns()
    return Span(
        trace_id=trace.to_bytes(16, "big"),
        span_id=trace.to_bytes(8, "big"),
        name=name,
        kind=kind,  # type: ignore[arg-type]
        start_time_unix_nano=end - milliseconds * 1_000_000,
        end_time_unix_nano=end,
        status=Status(code=Status.STATUS_CODE_ERROR if error else Status.STATUS_CODE_UNSET),
    )


def traces(*spans: Span, service: str = SERVICE) -> ExportTraceServiceRequest:
    """Return a request with these spans."""
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    of_resource.resource.attributes.extend(_pairs({"service.name": service}))
    of_resource.scope_spans.add().spans.extend(spans)
    return request


def logs(body: str, attributes: dict[str, str] | None = None, count: int = 1) -> ExportLogsServiceRequest:
    """Return a request with `count` log records."""
    request = ExportLogsServiceRequest()
    of_resource = request.resource_logs.add()
    of_resource.resource.attributes.extend(_pairs({"service.name": SERVICE}))
    of_scope = of_resource.scope_logs.add()
    for _ in range(count):
        record = of_scope.log_records.add(time_unix_nano=time.time_ns(), severity_text="ERROR", severity_number=17)
        record.body.string_value = body
        record.attributes.extend(_pairs(attributes or {}))
    return request


def counter(name: str, value: int, *, delta: bool = False) -> ExportMetricsServiceRequest:
    """Return a request with one monotonic sum."""
    request = ExportMetricsServiceRequest()
    of_resource = request.resource_metrics.add()
    of_resource.resource.attributes.extend(_pairs({"service.name": SERVICE, "host.name": "named-by-the-app"}))
    metric = of_resource.scope_metrics.add().metrics.add(name=name)
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = (
        AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
        if delta
        else AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    )
    now = time.time_ns()
    metric.sum.data_points.add(start_time_unix_nano=now - 1_000_000_000, time_unix_nano=now, as_int=value)
    return request


def send(endpoint: str, request: Any, headers: dict[str, str] | None = None) -> int:
    """POST an OTLP request to an endpoint such as http://127.0.0.1:4318; return the HTTP status."""
    signals: dict[type, str] = {
        ExportTraceServiceRequest: "traces",
        ExportLogsServiceRequest: "logs",
        ExportMetricsServiceRequest: "metrics",
    }
    return post(f"{endpoint}/v1/{signals[type(request)]}", request.SerializeToString(), headers or {})


def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """POST bytes as protobuf; return the HTTP status, also one that says no."""
    headers = {"Content-Type": "application/x-protobuf"} | headers
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return int(refusal.code)
