"""Bound cells: the same points as upstream's instruments make, exact under threads, bounded in number."""

from __future__ import annotations

import os
import sys
from threading import Event, Thread
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from otel_forge.sdk import cells
from otel_forge.sdk.bound import BoundMetrics
from otel_forge.sdk.cells import HistogramCell
from otel_forge.sdk.streams import preferred_aggregation, preferred_temporality
from tests.sdk.pairs import RESOURCE
from tests.sdk.points import facts, metrics_in

SCOPE = InstrumentationScope("bound", "1", "https://schema")
BOUNDS = (0.005, 0.1, 1.0)
VALUES = [0.001, 0.005, 0.0051, 0.5, 1.0, 7.0, 0.0, 0.02]


def points_of(metrics: BoundMetrics) -> list[Any]:
    return [point for _, metric in metrics.collect() for point in metric.data.data_points]


@pytest.mark.parametrize("temporality", ["cumulative", "delta", "lowmemory"])
@pytest.mark.parametrize("aggregation", ["explicit_bucket_histogram", "base2_exponential_bucket_histogram"])
def test_points_equal_those_of_upstream(temporality: str, aggregation: str) -> None:
    """Three collections of a histogram with two series and of an up-down counter; exemplars of sampled spans."""
    reader = InMemoryMetricReader(preferred_temporality(temporality), preferred_aggregation(aggregation))
    provider = MeterProvider([reader], RESOURCE, shutdown_on_exit=False)
    meter = provider.get_meter(SCOPE.name, SCOPE.version, SCOPE.schema_url)
    theirs = meter.create_histogram("h", "s", "how long", explicit_bucket_boundaries_advisory=BOUNDS)
    their_counter = meter.create_up_down_counter("u", "1", "how many")
    metrics = BoundMetrics(temporality=temporality, histogram_aggregation=aggregation)
    ours = metrics.histogram("h", "s", "how long", SCOPE, BOUNDS)
    our_counter = metrics.up_down_counter("u", "1", "how many", SCOPE)
    for count in (len(VALUES), 0, 3):
        for index, value in enumerate(VALUES[:count]):
            attributes: dict[str, Any] = {"route": "/a" if index % 3 else "/b", "status": 200}
            flags = TraceFlags(index % 2)
            with use_span(NonRecordingSpan(SpanContext(7, index + 1, False, flags))):
                theirs.record(value, attributes)
                their_counter.add(1 if index % 2 else -1, {"a": 1})
            ours.bind(attributes).record(value, 7, index + 1, flags)
            our_counter.bind({"a": 1}).add(1 if index % 2 else -1, 7, index + 1, flags)
        assert facts(metrics.collect()) == facts(metrics_in(reader.get_metrics_data()))
    provider.shutdown()


@pytest.mark.parametrize(("exemplars", "kept"), [("trace_based", 1), ("always_on", 2), ("always_off", 0)])
def test_exemplar_filters(exemplars: Any, kept: int) -> None:
    """Which measurements may become exemplars."""
    metrics = BoundMetrics(exemplars=exemplars)
    cell = metrics.histogram("h", "s", "", SCOPE, BOUNDS).bind({})
    cell.record(0.001, 1, 2, 0)
    cell.record(0.5, 1, 2, 1)
    assert len(points_of(metrics)[0].exemplars) == kept


def test_what_a_histogram_cannot_take_is_ignored() -> None:
    """Negative numbers and NaN, as with upstream."""
    metrics = BoundMetrics()
    histogram = metrics.histogram("h", "s", "", SCOPE, BOUNDS)
    for value in (-1.0, float("nan")):
        histogram.bind({}).record(value)
    assert points_of(metrics) == []
    histogram.bind({}).record(0.5)
    assert points_of(metrics)[0].count == 1


@pytest.mark.gate
def test_distinct_attribute_sets_meet_the_cap() -> None:
    """P5: 10,000 sets become 2,000 series and one for the rest, whose measurements are counted."""
    metrics = BoundMetrics()
    histogram = metrics.histogram("h", "s", "", SCOPE, BOUNDS)
    for number in range(10_000):
        histogram.bind({"user": number}).record(0.1)
    points = points_of(metrics)
    assert len(points) == 2001
    assert [point.count for point in points if point.attributes == {"otel.metric.overflow": True}] == [8000]
    assert sum(point.count for point in points) == 10_000
    assert metrics.overflowed() == {"h": 8000}
    assert histogram.bind({"user": 5}) is histogram.bind({"user": 5})


def test_no_measurement_is_lost_under_32_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recording, folding and collecting at once; delta, so that what is counted twice would show."""
    monkeypatch.setattr(cells, "FOLD_AT", 100)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    metrics = BoundMetrics(temporality="delta")
    cell = metrics.histogram("h", "s", "", SCOPE, BOUNDS).bind({})
    gauge = metrics.up_down_counter("u", "1", "", SCOPE).bind({})
    done, counted = Event(), 0

    def record() -> None:
        for _ in range(2000):
            cell.record(0.5, 1, 2, 1)
            gauge.add(1)
            gauge.add(-1)

    def collect() -> int:
        points: list[Any] = [
            p for _, metric in metrics.collect() if metric.name == "h" for p in metric.data.data_points
        ]
        return sum(point.count for point in points)

    def collecting() -> None:
        nonlocal counted
        while not done.is_set():
            counted += collect()

    threads = [Thread(target=record) for _ in range(32)]
    collector = Thread(target=collecting)
    try:
        for thread in [collector, *threads]:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        done.set()
        collector.join()
        sys.setswitchinterval(before)
    assert counted + collect() == 64_000
    point: Any = gauge.collect(1, False)
    assert point.value == 0


def test_a_forked_child_counts_from_zero() -> None:
    """And can record although another thread was collecting when it was made."""
    metrics = BoundMetrics()
    cell: HistogramCell = metrics.histogram("h", "s", "", SCOPE, BOUNDS).bind({})
    cell.record(0.5)
    cell._lock.acquire()
    child = os.fork()
    if child == 0:
        cell.record(0.5)
        os._exit(0 if points_of(metrics)[0].count == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    cell._lock.release()
    assert points_of(metrics)[0].count == 1
