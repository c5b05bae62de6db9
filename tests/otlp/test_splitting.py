"""Cutting requests, with upstream's protobuf classes as the judge of what is in the halves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_forge.otlp.splitting import count_points, count_records, halves

Shape = list[list[int]]
"""For each resource, for each scope, how many records."""

shapes = st.lists(st.lists(st.integers(0, 4), max_size=3), max_size=3)
texts = st.text("abäß€😀", max_size=200)


@st.composite
def traces(draw: Any) -> Any:
    request = ExportTraceServiceRequest()
    for scopes in draw(shapes):
        of_resource = request.resource_spans.add(schema_url=draw(texts))
        of_resource.resource.attributes.add(key=draw(texts)).value.string_value = draw(texts)
        for count in scopes:
            of_scope = of_resource.scope_spans.add(schema_url=draw(texts))
            of_scope.scope.name = draw(texts)
            for _ in range(count):
                of_scope.spans.add(name=draw(texts), start_time_unix_nano=draw(st.integers(0, (1 << 64) - 1)))
    return request


@st.composite
def logs(draw: Any) -> Any:
    request = ExportLogsServiceRequest()
    for scopes in draw(shapes):
        of_resource = request.resource_logs.add()
        for count in scopes:
            of_scope = of_resource.scope_logs.add()
            for _ in range(count):
                of_scope.log_records.add(severity_number=9).body.string_value = draw(texts)
    return request


@st.composite
def metrics(draw: Any) -> Any:
    request = ExportMetricsServiceRequest()
    for scopes in draw(shapes):
        of_resource = request.resource_metrics.add()
        for count in scopes:
            of_scope = of_resource.scope_metrics.add()
            for _ in range(count):
                metric = of_scope.metrics.add(name=draw(texts), unit="s")
                kind = draw(st.sampled_from(["gauge", "sum", "histogram", "exponential_histogram", "summary"]))
                for _ in range(draw(st.integers(0, 3))):
                    getattr(metric, kind).data_points.add(time_unix_nano=5)
    return request


def flat(request: Any, of_resource: str, of_scope: str, records: str) -> list[tuple[Any, ...]]:
    """Return each record with everything that stands around it."""
    return [
        (resource.resource, resource.schema_url, scope.scope, scope.schema_url, record)
        for resource in getattr(request, of_resource)
        for scope in getattr(resource, of_scope)
        for record in getattr(scope, records)
    ]


def spans_of(request: Any) -> list[tuple[Any, ...]]:
    return flat(request, "resource_spans", "scope_spans", "spans")


def logs_of(request: Any) -> list[tuple[Any, ...]]:
    return flat(request, "resource_logs", "scope_logs", "log_records")


def metrics_of(request: Any) -> list[tuple[Any, ...]]:
    return flat(request, "resource_metrics", "scope_metrics", "metrics")


def check(request: Any, records_of: Callable[[Any], list[tuple[Any, ...]]]) -> None:
    """Both halves hold records, and together those of the whole, in their order and with their surroundings."""
    body, whole = request.SerializeToString(), records_of(request)
    assert count_records(body) == len(whole)
    parts = halves(body)
    if len(whole) < 2:
        assert parts is None
        return
    assert parts is not None
    first, second = (records_of(type(request).FromString(part)) for part in parts)
    assert first
    assert second
    assert first + second == whole


@given(traces())
def test_halves_of_traces_hold_the_records_of_the_whole(request: Any) -> None:
    """With resource, scope and schema addresses."""
    check(request, spans_of)


@given(logs())
def test_halves_of_logs_hold_the_records_of_the_whole(request: Any) -> None:
    """In their order."""
    check(request, logs_of)


@given(metrics())
def test_halves_of_metrics_hold_the_records_and_points_of_the_whole(request: Any) -> None:
    """And the points are counted as upstream's classes have them."""
    check(request, metrics_of)
    body = request.SerializeToString()
    kinds = [(metric, metric.WhichOneof("data")) for *_, metric in metrics_of(request)]
    points = sum(len(getattr(metric, kind).data_points) for metric, kind in kinds if kind)
    assert count_points(body) == points
    parts = halves(body)
    assert parts is None or sum(map(count_points, parts)) == points


def test_the_cut_is_in_the_middle_of_the_bytes() -> None:
    """One large record does not take all its neighbours along."""
    request = ExportTraceServiceRequest()
    of_scope = request.resource_spans.add().scope_spans.add()
    for size in [10_000, 10, 10, 10]:
        of_scope.spans.add(name="x" * size)
    parts = halves(request.SerializeToString())
    assert parts is not None
    assert [count_records(part) for part in parts] == [1, 3]


def test_requests_one_after_the_other_are_one_request() -> None:
    """What joining batches relies on."""
    one, two = ExportTraceServiceRequest(), ExportTraceServiceRequest()
    one.resource_spans.add().scope_spans.add().spans.add(name="a")
    two.resource_spans.add().scope_spans.add().spans.add(name="b")
    joined = one.SerializeToString() + two.SerializeToString()
    assert [record[-1].name for record in spans_of(ExportTraceServiceRequest.FromString(joined))] == ["a", "b"]
    assert halves(joined) == (one.SerializeToString(), two.SerializeToString())


@given(st.binary(max_size=100))
def test_bytes_that_are_no_request_raise_nothing_but_value_error(body: bytes) -> None:
    """So that the caller can count them."""
    try:
        parts = halves(body)
    except ValueError:
        return
    assert parts is None or len(parts) == 2


def test_a_body_cut_off_is_no_request() -> None:
    """Said, not guessed."""
    with pytest.raises(ValueError, match="not a request"):
        halves(b"\x0a\x05abc")
