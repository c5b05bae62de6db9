"""What the metric encoder keeps between collections: found by identity, never stale, bounded."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import ScopeMetrics as Message
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)

from otel_forge.otlp import encode_metrics
from otel_forge.otlp.encode_metrics import MetricEncoder

_encode = MetricEncoder().encode


def points_of(data: Any) -> Any:
    """Return the data points of one metric as a receiver reads them."""
    [fragment] = _encode(Metric("m", "", "", data))
    metric = Message.FromString(fragment).metrics[0]
    return getattr(metric, str(metric.WhichOneof("data"))).data_points


def histogram(bounds: Any, attributes: Any = None) -> Histogram:
    """Return a histogram of one point with `bounds`."""
    counts = [1] * (len(bounds) + 1)
    point = HistogramDataPoint(attributes, 1, 2, sum(counts), 3.0, counts, bounds, 0.5, 2.5)
    return Histogram([point], AggregationTemporality.CUMULATIVE)


def test_attributes_that_live_where_others_died_are_not_taken_for_them() -> None:
    """An identity is used again as soon as its dict is gone; what is kept must hold on to it."""
    for number in range(3 * encode_metrics._KEPT_SETS):
        [point] = points_of(Gauge([NumberDataPoint({"n": number}, 1, 2, 3)]))
        assert point.attributes[0].value.int_value == number
        [point] = points_of(histogram((1.0,), {"n": number}))
        assert point.attributes[0].value.int_value == number
    assert len(encode_metrics._number_sets) <= encode_metrics._KEPT_SETS
    assert len(encode_metrics._histogram_sets) <= encode_metrics._KEPT_SETS


def test_the_attributes_of_a_series_are_encoded_once() -> None:
    """The second collection finds them."""
    attributes = {"only": "here"}
    data = Gauge([NumberDataPoint(attributes, 1, 2, 3)])
    encode_metrics._number_sets.clear()
    encode_metrics._number_sets._skip = 0
    assert points_of(data) == points_of(data)
    assert encode_metrics._number_sets[id(attributes)][0] is attributes


def test_series_that_come_after_many_others_are_kept_again() -> None:
    """With delta temporality every collection brings new dicts; the old ones make room."""
    for number in range(2 * encode_metrics._KEPT_SETS):
        _encode(Metric("m", "", "", Gauge([NumberDataPoint({"n": number}, 1, 2, 3)])))
    attributes = {"late": True}
    late = Metric("m", "", "", Gauge([NumberDataPoint(attributes, 1, 2, 3)]))
    for _ in range(8 * encode_metrics._KEPT_SETS + 1):
        _encode(late)
    assert id(attributes) in encode_metrics._number_sets


def test_bounds_are_those_of_their_own_point() -> None:
    """Equal tuples are not the same bounds, lists can change, and identities are used again."""
    assert str(points_of(histogram((0.0, 1.0)))[0].explicit_bounds) == "[0.0, 1.0]"
    assert str(points_of(histogram((-0.0, 1)))[0].explicit_bounds) == "[-0.0, 1.0]"
    changing = [1.0, 2.0]
    assert list(points_of(histogram(changing))[0].explicit_bounds) == [1.0, 2.0]
    changing[:] = [5.0, 6.0]
    assert list(points_of(histogram(changing))[0].explicit_bounds) == [5.0, 6.0]
    for number in range(3 * encode_metrics._KEPT_BOUNDS):
        assert list(points_of(histogram((float(number),)))[0].explicit_bounds) == [number]
    assert len(encode_metrics._kept_bounds) <= encode_metrics._KEPT_BOUNDS
