"""What arrived: spans, attributes, log records and metric points, counted from the bodies of OTLP requests."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.subject.requests_by_kind import DISTINCT

SERVER_DURATIONS = ("http.server.request.duration", "http.server.duration")
OVERFLOW = "otel.metric.overflow"
_CUMULATIVE = 2


@dataclass
class Arrivals:
    """Counts of what one variant delivered since the last time it was asked."""

    requests: int = 0
    bytes: int = 0
    spans: int = 0
    attributes: int = 0
    logs: int = 0
    durations: int = 0
    points: int = 0
    overflows: int = 0
    undecodable: int = 0

    def __add__(self, other: Arrivals) -> Arrivals:
        return Arrivals(**{name: value + getattr(other, name) for name, value in vars(self).items()})


@dataclass
class Counter:
    """Counts the bodies of one variant; remembers cumulative metrics, so that each round sees its own part alone."""

    _cumulated: dict[Any, int] = field(default_factory=dict)

    def count(self, bodies: Iterable[tuple[str, str, bytes]]) -> Arrivals:
        """Return the counts of `bodies`: signal, content encoding and the body itself, in order of arrival."""
        found = Arrivals()
        for signal, encoding, body in bodies:
            found.requests += 1
            found.bytes += len(body)
            try:
                self._count_one(found, signal, unpacked(encoding, body))
            except Exception:  # noqa: BLE001 - whatever is wrong with the body, it counts as not delivered
                found.undecodable += 1
        return found

    def _count_one(self, found: Arrivals, signal: str, body: bytes) -> None:
        if signal == "traces":
            _count_spans(found, ExportTraceServiceRequest.FromString(body))
        elif signal == "logs":
            _count_logs(found, ExportLogsServiceRequest.FromString(body))
        elif signal == "metrics":
            self._count_metrics(found, ExportMetricsServiceRequest.FromString(body))
        else:
            from benchmarks import foreign

            foreign.count(found, signal, body)

    def _count_metrics(self, found: Arrivals, request: Any) -> None:
        for of_resource in request.resource_metrics:
            for of_scope in of_resource.scope_metrics:
                for metric in of_scope.metrics:
                    self._count_metric(found, of_resource.resource, of_scope.scope.name, metric)

    def _count_metric(self, found: Arrivals, resource: Any, scope: str, metric: Any) -> None:
        data = getattr(metric, str(metric.WhichOneof("data")))
        for point in data.data_points:
            found.points += metric.name == DISTINCT
            found.overflows += any(pair.key == OVERFLOW for pair in point.attributes)
            if metric.name in SERVER_DURATIONS:
                found.durations += self._new(resource, scope, metric.name, point, data.aggregation_temporality)

    def _new(self, resource: Any, scope: str, name: str, point: Any, temporality: int) -> int:
        """Return how many measurements a point holds that no earlier one of its stream did."""
        if temporality != _CUMULATIVE:
            return int(point.count)
        attributes = tuple(sorted(pair.SerializeToString(deterministic=True) for pair in point.attributes))
        stream = (resource.SerializeToString(deterministic=True), scope, name, attributes, point.start_time_unix_nano)
        before = self._cumulated.get(stream, 0)
        self._cumulated[stream] = int(point.count)
        return int(point.count) - before


def unpacked(encoding: str, body: bytes) -> bytes:
    """Return the body without its content encoding."""
    if encoding == "gzip":
        return gzip.decompress(body)
    return zlib.decompress(body) if encoding == "deflate" else body


def _count_spans(found: Arrivals, request: Any) -> None:
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            found.spans += len(of_scope.spans)
            found.attributes += sum(len(span.attributes) for span in of_scope.spans)


def _count_logs(found: Arrivals, request: Any) -> None:
    for of_resource in request.resource_logs:
        for of_scope in of_resource.scope_logs:
            found.logs += len(of_scope.log_records)
