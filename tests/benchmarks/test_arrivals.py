"""Counting what arrived."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.arrivals import Arrivals, Counter
from benchmarks.subject.requests_by_kind import DISTINCT

CUMULATIVE, DELTA = 2, 1


def traces(spans: int) -> bytes:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for _ in range(spans):
        scope.spans.add().attributes.add(key="http.route").value.string_value = "/"
    return bytes(request.SerializeToString())


def logs(records: int) -> bytes:
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for _ in range(records):
        scope.log_records.add()
    return bytes(request.SerializeToString())


def durations(count: int, *, temporality: int, route: str = "/", started: int = 1) -> bytes:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="http.server.request.duration")
    metric.histogram.aggregation_temporality = temporality
    point = metric.histogram.data_points.add(count=count, start_time_unix_nano=started)
    point.attributes.add(key="http.route").value.string_value = route
    return bytes(request.SerializeToString())


def test_spans_their_attributes_and_logs_are_counted() -> None:
    found = Counter().count([("traces", "", traces(3)), ("logs", "", logs(2))])
    size = len(traces(3)) + len(logs(2))
    assert found == Arrivals(requests=2, bytes=size, spans=3, attributes=3, logs=2)


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_bodies_are_counted(encoding: str, pack: Any) -> None:
    assert Counter().count([("traces", encoding, pack(traces(4)))]).spans == 4


def test_of_a_cumulative_histogram_only_what_is_new_counts() -> None:
    counter = Counter()
    first = counter.count([("metrics", "", durations(10, temporality=CUMULATIVE))])
    second = counter.count([("metrics", "", durations(25, temporality=CUMULATIVE))])
    assert (first.durations, second.durations) == (10, 15)


def test_each_stream_of_a_cumulative_histogram_counts_by_itself() -> None:
    bodies = [("metrics", "", durations(10, temporality=CUMULATIVE, route=route)) for route in ("/a", "/b")]
    assert Counter().count(bodies).durations == 20


def test_a_cumulative_histogram_that_started_again_counts_from_nothing() -> None:
    bodies = [("metrics", "", durations(10, temporality=CUMULATIVE, started=start)) for start in (1, 2)]
    assert Counter().count(bodies).durations == 20


def test_of_a_delta_histogram_everything_counts() -> None:
    body = durations(10, temporality=DELTA)
    assert Counter().count([("metrics", "", body), ("metrics", "", body)]).durations == 20


def test_series_that_hold_the_overflow_are_counted() -> None:
    """And those of other metrics are not."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name=DISTINCT)
    metric.sum.data_points.add().attributes.add(key="otel.metric.overflow").value.bool_value = True
    metric.sum.data_points.add()
    own = request.resource_metrics[0].scope_metrics[0].metrics.add(name="otel.sdk.log.created")
    own.sum.data_points.add()
    found = Counter().count([("metrics", "", request.SerializeToString())])
    assert (found.points, found.overflows) == (2, 1)


def test_a_body_that_cannot_be_decoded_is_counted_as_such_and_harms_no_other() -> None:
    found = Counter().count([("traces", "", b"\xff\xff"), ("traces", "", traces(1))])
    assert (found.undecodable, found.spans) == (1, 1)


def test_spans_of_ddtrace_are_counted() -> None:
    span = b"\x81\xa4meta\x82\xa1a\xa1b\xa1c\xcd\x01\x00"
    two_traces_of_one_and_two_spans = b"\x92\x91" + span + b"\x92" + span + span
    found = Counter().count([("ddtrace", "", two_traces_of_one_and_two_spans)])
    assert (found.spans, found.attributes) == (3, 6)


def test_transactions_with_their_spans_and_logs_of_sentry_are_counted() -> None:
    transaction = json.dumps({"spans": [{}, {}]}).encode()
    log = b'{"items": []}'
    envelope = b"{}\n" + json.dumps({"type": "transaction", "length": len(transaction)}).encode() + b"\n" + transaction
    envelope += b"\n" + json.dumps({"type": "log", "item_count": 4, "length": len(log)}).encode() + b"\n" + log + b"\n"
    found = Counter().count([("sentry", "", envelope)])
    assert (found.spans, found.logs) == (3, 4)
