"""Instruments of the API: the same points as upstream's make, whatever is measured, viewed and collected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    Counter,
    MeterProvider,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    LastValueAggregation,
    SumAggregation,
    View,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from otel_forge.otlp.encode_metrics import encode_metrics
from otel_forge.sdk.meter import LeanMeterProvider
from otel_forge.sdk.reader import LeanMetricReader
from otel_forge.sdk.streams import MetricStorage, preferred_aggregation, preferred_temporality
from tests.sdk.pairs import RESOURCE
from tests.sdk.points import facts, metrics_in

NUMBERS = st.integers(-5, 200) | st.integers(-8, 400).map(lambda eighths: eighths / 8)  # their sums are exact
VALUES = st.sampled_from([1, True, 1.0, "1", "b", None, b"1", (1, 2), [1, 2], {"n": 1}, 0.0, -0.0, ""])
ATTRIBUTES = st.none() | st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, max_size=3)
SYNCHRONOUS = ("counter", "up_down", "histogram", "gauge")
OBSERVED = ("observed_counter", "observed_up_down", "observed_gauge")

VIEWS: dict[str, Callable[[], View]] = {
    "renamed": lambda: View(instrument_name="counter", name="other", description="another"),
    "filtered": lambda: View(instrument_name="*", attribute_keys={"a"}),
    "nothing kept": lambda: View(instrument_name="observed*", attribute_keys=set()),
    "by type": lambda: View(instrument_type=Counter, aggregation=LastValueAggregation()),
    "by meter": lambda: View(meter_name="points", meter_version="1", attribute_keys={"a", "b"}),
    "by unit": lambda: View(instrument_unit="s", aggregation=ExponentialBucketHistogramAggregation(max_size=4)),
    "other meter": lambda: View(meter_name="elsewhere", aggregation=DropAggregation()),
    "dropped": lambda: View(instrument_name="gauge", aggregation=DropAggregation()),
    "sum": lambda: View(instrument_name="histogram", aggregation=SumAggregation()),
    "sum of gauge": lambda: View(instrument_name="*gauge", aggregation=SumAggregation()),
    "buckets": lambda: View(
        instrument_name="up_*", aggregation=ExplicitBucketHistogramAggregation((1, 2.5, 100), record_min_max=False)
    ),
    "buckets of observed": lambda: View(
        instrument_name="observed_*", aggregation=ExplicitBucketHistogramAggregation((1, 2))
    ),
    "exponential": lambda: View(instrument_name="up_down", aggregation=ExponentialBucketHistogramAggregation()),
}
FILTERS: dict[str, Callable[[], Any]] = {
    "trace_based": TraceBasedExemplarFilter,
    "always_on": AlwaysOnExemplarFilter,
    "always_off": AlwaysOffExemplarFilter,
}

Measure = tuple[str, Any, Any, int]
Step = Measure | list[tuple[str, Any, Any]]
"""A measurement (instrument, number, attributes, trace flags), or a collection with what callbacks observe."""

MEASUREMENTS = st.tuples(st.sampled_from(SYNCHRONOUS), NUMBERS, ATTRIBUTES, st.integers(0, 1))
COLLECTIONS = st.lists(st.tuples(st.sampled_from(OBSERVED), NUMBERS, ATTRIBUTES), max_size=4)


class Instruments:
    """One instrument of each kind; what callbacks observe is set from outside."""

    def __init__(self, provider: MeterProvider) -> None:
        meter = provider.get_meter("points", "1", "https://schema")
        self.observed: list[tuple[str, Any, Any]] = []
        self._record: dict[str, Callable[..., None]] = {
            "counter": meter.create_counter("counter", "1", "counts").add,
            "up_down": meter.create_up_down_counter("Up_Down").add,
            "histogram": meter.create_histogram(
                "histogram", "s", explicit_bucket_boundaries_advisory=[1, 10.5, 100]
            ).record,
            "gauge": meter.create_gauge("gauge").set,
        }
        meter.create_observable_counter("observed_counter", [self._callback("observed_counter")])
        meter.create_observable_up_down_counter("observed_up_down", [self._callback("observed_up_down")])
        meter.create_observable_gauge("observed_gauge", [self._callback("observed_gauge")])

    def _callback(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda options: [Observation(number, kept) for who, number, kept in self.observed if who == name]

    def measure(self, name: str, number: Any, attributes: Any, flags: int) -> None:
        with use_span(NonRecordingSpan(SpanContext(7, 8, False, TraceFlags(flags)))):
            self._record[name](number, attributes)


@settings(deadline=None, max_examples=150)
@given(
    steps=st.lists(MEASUREMENTS | COLLECTIONS, max_size=20),
    views=st.lists(st.sampled_from(sorted(VIEWS)), max_size=3, unique=True),
    temporality=st.sampled_from(["cumulative", "delta", "lowmemory"]),
    aggregation=st.sampled_from(["explicit_bucket_histogram", "base2_exponential_bucket_histogram"]),
    exemplars=st.sampled_from(sorted(FILTERS)),
)
def test_points_are_those_of_upstream(
    steps: list[Step], views: list[str], temporality: str, aggregation: str, exemplars: Any
) -> None:
    """Any sequence of measurements and collections, any views, all temporalities."""
    reader = InMemoryMetricReader(preferred_temporality(temporality), preferred_aggregation(aggregation))
    chosen = [VIEWS[name]() for name in views]
    upstream = MeterProvider([reader], RESOURCE, FILTERS[exemplars](), False, chosen)
    storage = MetricStorage(
        temporality=temporality, histogram_aggregation=aggregation, exemplars=exemplars, views=chosen
    )
    lean = LeanMeterProvider(storage, RESOURCE)
    theirs, ours = Instruments(upstream), Instruments(lean)
    for step in [*steps, list[tuple[str, Any, Any]]()]:
        if isinstance(step, tuple):
            theirs.measure(*step)
            ours.measure(*step)
        else:
            theirs.observed = ours.observed = step
            assert facts(storage.collect()) == facts(metrics_in(reader.get_metrics_data()))


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_what_was_collected_becomes_bytes(temporality: str) -> None:
    """Points of our cells take the fast way of the encoder and mean what upstream's mean."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    storage = MetricStorage(temporality=temporality)
    instruments = Instruments(LeanMeterProvider(storage, RESOURCE))
    for name in SYNCHRONOUS:
        instruments.measure(name, 2.5, {"a": "x"}, 1)
    instruments.observed = [(name, 3, {"b": 1}) for name in OBSERVED]
    data = LeanMetricReader(storage, lambda: RESOURCE).gather(1)
    request = ExportMetricsServiceRequest.FromString(encode_metrics(data))
    (of_scope,) = request.resource_metrics[0].scope_metrics
    assert of_scope.scope.name == "points"
    assert sorted(metric.name for metric in of_scope.metrics) == sorted([*SYNCHRONOUS, *OBSERVED])
    (histogram,) = [metric.histogram for metric in of_scope.metrics if metric.name == "histogram"]
    assert list(histogram.data_points[0].bucket_counts) == [0, 1, 0, 0]
    assert histogram.data_points[0].exemplars[0].span_id == (8).to_bytes(8, "big")
