"""What encoding costs, ours and upstream's in turns in one process: ``python -m tests.otlp.measure_encoding [rounds]``.

Prints the least CPU time of all rounds, in microseconds for each record (for metrics: for the whole collection).
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs as upstream_encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics as upstream_encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as upstream_encode_spans
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_forge.otlp.attributes import fixed_attributes
from otel_forge.otlp.encode_logs import encode_logs
from otel_forge.otlp.encode_metrics import encode_metrics
from otel_forge.otlp.encode_spans import encode_spans
from otel_forge.otlp.envelope import EncodedResource
from tests.otlp.generated import NO_LIMITS, Log, Span, upstream_log, upstream_span

Work = Callable[[], object]
RECORDS = 512
IN_A_ROW = 3
NOW = 1_795_435_200_000_000_000
RESOURCE = Resource({"service.name": "asset-forge", "service.namespace": "demo", "host.name": "box", "process.pid": 7})
SCOPE = InstrumentationScope("otel_forge.flask", "1.0", "https://opentelemetry.io/schemas/1.30.0")
SQL_SCOPE = InstrumentationScope("otel_forge.sqlite3", "1.0", "https://opentelemetry.io/schemas/1.30.0")
ROUTE: dict[str, Any] = {
    "http.request.method": "GET",
    "url.scheme": "http",
    "network.protocol.version": "1.1",
    "server.address": "127.0.0.1",
    "server.port": 3004,
    "http.route": "/api/assets/<id>",
    "http.response.status_code": 200,
    "user_agent.original": "python-requests/2.32.5 (load generator)",
}
STATEMENT = {
    "db.system.name": "sqlite",
    "db.namespace": "assets.db",
    "db.operation.name": "SELECT",
    "db.query.text": "SELECT id, name, kind, created FROM assets WHERE id = ?",
}
FIXED_ROUTE, FIXED_STATEMENT = fixed_attributes(ROUTE), fixed_attributes(STATEMENT)
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_random = random.Random(1)


def _ids(number: int) -> dict[str, Any]:
    return {"trace_id": _random.getrandbits(128) | 1, "span_id": number + 1}


def server_span(number: int, *, fixed: bool) -> Span:
    """A request: 13 attributes, of which path and ports are hardly ever the same twice."""
    own = {
        "url.path": f"/api/assets/{number}",
        "client.address": "127.0.0.1",
        "client.port": 40_000 + number,
        "network.peer.address": "127.0.0.1",
        "network.peer.port": 40_000 + number,
    }
    shared = FIXED_ROUTE if fixed else None
    attributes = own if fixed else {**ROUTE, **own}
    times = {"start_time": NOW + number, "end_time": NOW + number + 1_000_000}
    return Span("GET /api/assets/<id>", 2, **_ids(number), **times, attributes=attributes, fixed=shared, scope=SCOPE)


def sql_span(number: int, *, fixed: bool) -> Span:
    """A statement: 4 attributes."""
    shared = FIXED_STATEMENT if fixed else None
    attributes = None if fixed else dict(STATEMENT)
    times = {"start_time": NOW + number, "end_time": NOW + number + 90_000}
    parent = {"parent_span_id": number + 7}
    return Span("SELECT", 3, **_ids(number), **parent, **times, attributes=attributes, fixed=shared, scope=SQL_SCOPE)


def log_record(number: int) -> Log:
    """A line of a request: 2 attributes."""
    attributes = {"log.record.template": "asset %s served in %d ms", "code.function.name": "get_asset"}
    body = f"asset {number} served in 3 ms"
    return Log(NOW + number, NOW + number, body=body, attributes=attributes, **_ids(number), trace_flags=1, scope=SCOPE)


def histograms() -> MetricsData:
    """A histogram of request durations with 50 series."""
    points = [
        HistogramDataPoint(
            {"http.request.method": "GET", "http.route": f"/{number}", "http.response.status_code": 200, "s": "http"},
            NOW,
            NOW + 1,
            100 + number,
            12.5 + number,
            tuple(_random.randrange(50) for _ in range(len(BOUNDS) + 1)),
            BOUNDS,
            0.001,
            3.0,
        )
        for number in range(50)
    ]
    histogram = Histogram(points, AggregationTemporality.CUMULATIVE)
    metric = Metric("http.server.request.duration", "Duration of requests.", "s", histogram)
    return MetricsData([ResourceMetrics(RESOURCE, [ScopeMetrics(SCOPE, [metric], "")], "")])


def _slotted(records: list[Any]) -> list[Any]:
    """Return copies with slots, as the lean records have them."""
    names = tuple(field.name for field in fields(records[0]))
    kind = type("Slotted", (), {"__slots__": names})
    copies = [kind() for _ in records]
    for copy, record in zip(copies, records, strict=True):
        for name in names:
            setattr(copy, name, getattr(record, name))
    return copies


def _pair(records: list[Any], ours: Any, theirs: Any, upstream: Any) -> tuple[Work, Work, int]:
    encoded = EncodedResource(RESOURCE)
    lean, stock = _slotted(records), [upstream(record, RESOURCE, NO_LIMITS) for record in records]
    return lambda: ours(lean, encoded, NO_LIMITS), lambda: theirs(stock).SerializeToString(), len(records)


def cases() -> dict[str, tuple[Work, Work, int]]:
    """Return, by name: our work, upstream's, and for how many records."""
    data = histograms()
    resource = EncodedResource(RESOURCE)
    many = range(RECORDS)

    def spans(make: Any, fixed: bool) -> tuple[Work, Work, int]:
        batch = [make(number, fixed=fixed) for number in many]
        return _pair(batch, encode_spans, upstream_encode_spans, upstream_span)

    return {
        "server span, 13 attributes": spans(server_span, False),
        "server span, 8 fixed + 5": spans(server_span, True),
        "SQL span, 4 attributes": spans(sql_span, False),
        "SQL span, 4 fixed": spans(sql_span, True),
        "log record, 2 attributes": _pair(
            [log_record(number) for number in many], encode_logs, upstream_encode_logs, upstream_log
        ),
        "50 histogram points": (
            lambda: encode_metrics(data, resource),
            lambda: upstream_encode_metrics(data).SerializeToString(),
            1,
        ),
    }


def main(rounds: int) -> None:
    """Measure in turns and print a row for each case."""
    measured = cases()
    best = {name: [float("inf"), float("inf")] for name in measured}
    gc.disable()
    for _ in range(rounds):
        for name, (ours, theirs, _records) in measured.items():
            for side, work in enumerate((ours, theirs)):
                for _ in range(IN_A_ROW):
                    started = time.thread_time()
                    work()
                    best[name][side] = min(best[name][side], time.thread_time() - started)
    for name, (our, their) in best.items():
        scale = 1e6 / measured[name][2]
        print(f"{name:28} ours {our * scale:7.2f} µs   upstream {their * scale:7.2f} µs   1/{their / our:.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
