"""The cost of encoding grows with what there is to encode, and no faster."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import Gauge, Metric, NumberDataPoint
from opentelemetry.sdk.resources import Resource

from otel_forge.otlp.encode_metrics import MetricEncoder
from otel_forge.otlp.encode_spans import encode_spans
from otel_forge.otlp.envelope import EncodedResource
from otel_forge.settings import Limits
from tests.otlp.generated import Span

RESOURCE = EncodedResource(Resource({}))
MANY = 10_000_000
LIMITS = Limits(MANY, None, MANY, MANY, MANY, MANY, MANY, None)
FEW = Limits(5, None, MANY, MANY, MANY, MANY, MANY, None)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the least CPU time of a few runs."""
    times = []
    for _ in range(5):
        started = time.thread_time()
        work()
        times.append(time.thread_time() - started)
    return min(times)


def _span(limits: Limits = LIMITS, **fields: Any) -> Callable[[], object]:
    span = Span(**fields)
    return lambda: encode_spans([span], RESOURCE, limits)


def _spans(size: int) -> Callable[[], object]:
    spans = [Span(attributes={"a": "x", "n": number}) for number in range(size)]
    return lambda: encode_spans(spans, RESOURCE, LIMITS)


def _metric(size: int) -> Callable[[], object]:
    metric = Metric("m", "", "", Gauge([NumberDataPoint({"n": number}, 1, 2, 3) for number in range(size)]))
    return lambda: MetricEncoder().encode(metric)


@pytest.mark.gate
@pytest.mark.parametrize(
    "work",
    [
        _spans,
        lambda size: _span(attributes={f"key {number}": number for number in range(size)}),
        lambda size: _span(FEW, attributes={f"key {number}": number for number in range(size)}),
        lambda size: _span(attributes={"list": ["x"] * size}),
        lambda size: _span(attributes={"list": [["x"]] * size}),
        lambda size: _span(attributes={"text": "x\udcff" * size}),
        lambda size: _span(attributes={"text": "ü" * size * 10}),
        lambda size: _span(events=[("e", 1, {"a": 1})] * size),
        lambda size: _span(links=[(1, 2, 0, None, None)] * size),
        _metric,
    ],
    ids=["spans", "attributes", "dropped", "list", "nested", "surrogates", "text", "events", "links", "points"],
)
def test_ten_times_as_much_costs_about_ten_times(work: Callable[[int], Callable[[], object]]) -> None:
    """Gate P5: linear in spans, attributes, items, characters, events, links and points."""
    small, large = cpu_seconds(work(3_000)), cpu_seconds(work(30_000))
    assert large < 30 * max(small, 0.0002)
