"""The lean meter provider: limits, threads, forks, other readers, and what applications do to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from threading import Event, Thread
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, NoOpMeter, Observation
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics._internal import _MeterConfig
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    SumAggregation,
    View,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_forge import guard
from otel_forge.sdk import cells, meter
from otel_forge.sdk.bound import BoundMetrics
from otel_forge.sdk.meter import LeanMeterProvider
from otel_forge.sdk.streams import MetricStorage
from tests.sdk.pairs import RESOURCE

OVERFLOW = {"otel.metric.overflow": True}
SCOPE = InstrumentationScope("bound", "1")


class Metrics:
    """A provider, its storage, and what was said."""

    def __init__(self, *, readers: Sequence[Any] = (), **options: Any) -> None:
        self.said: list[str] = []
        self.storage = MetricStorage(say=self._say, **options)
        self.provider = LeanMeterProvider(self.storage, RESOURCE, readers=readers)
        self.meter: Any = self.provider.get_meter("meter")

    def _say(self, compose: Any) -> bool:
        self.said.append(compose())
        return True

    def points(self, name: str, timeout: float = 10) -> list[Any]:
        """Collect, and return the points of the metric `name`."""
        collected = self.storage.collect(timeout)
        return [point for _, metric in collected if metric.name == name for point in metric.data.data_points]

    def values(self, name: str) -> list[tuple[Any, Any]]:
        """Collect, and return attributes and value of each point."""
        return [(dict(point.attributes), point.value) for point in self.points(name)]


@pytest.fixture
def lenient() -> Iterator[None]:
    """Guards as in production: what they catch is said and not raised."""
    guard.set_strict(False)
    yield
    guard.set_strict(True)


@pytest.mark.gate
def test_cumulative_streams_keep_the_first_sets() -> None:
    """P5: 2,000 series and one for the rest; the first go on, nothing is lost, and it is counted and said."""
    metrics = Metrics()
    counter = metrics.meter.create_counter("c")
    for number in range(10_000):
        counter.add(1, {"user": number})
    found = metrics.values("c")
    assert len(found) == 2001
    assert found[-1] == (OVERFLOW, 8000)
    counter.add(1, {"user": 7})
    counter.add(1, {"user": 9_999})
    again = metrics.values("c")
    assert [set_ for set_, _ in again] == [set_ for set_, _ in found]
    assert (again[7][1], again[-1][1]) == (2, 8001)
    assert metrics.storage.overflowed() == {"c": 8001}
    assert "c (8000 measurements)" in metrics.said[0]


@pytest.mark.gate
def test_delta_streams_are_free_again_after_each_collection() -> None:
    """P5: each collection has its own first sets; what had overflowed before has a series then."""
    metrics = Metrics(temporality="delta", limit=2)
    histogram = metrics.meter.create_histogram("h")
    for users in ((1, 2, 3, 3), (3, 4), (5,)):
        for user in users:
            histogram.record(1, {"user": user})
        counts = [(dict(point.attributes), point.count) for point in metrics.points("h")]
        wanted = [({"user": user}, 1) for user in users[:2]]
        assert counts == (wanted if len(users) < 3 else [*wanted, (OVERFLOW, 2)])
    assert metrics.points("h") == []
    assert metrics.storage.overflowed() == {"h": 2}


def test_as_many_sets_as_the_limit_do_not_overflow() -> None:
    """The specification's guarantee; the order of attributes makes no other set, the type of a value does."""
    metrics = Metrics(limit=3)
    counter = metrics.meter.create_counter("c")
    for attributes in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1.0, "b": 2}, {"a": True, "b": 2}):
        counter.add(1, attributes)
    assert metrics.values("c") == [({"a": 1, "b": 2}, 2), ({"a": 1.0, "b": 2}, 1), ({"a": True, "b": 2}, 1)]
    assert metrics.storage.overflowed() == {}
    assert metrics.said == []


def test_the_limit_of_a_view_wins() -> None:
    """It counts the sets that are left after attributes were filtered."""
    view = View(instrument_name="c", attribute_keys={"user"})
    vars(view)["_aggregation_cardinality_limit"] = 1  # an argument since SDK 1.45.2
    metrics = Metrics(limit=100, views=[view])
    counter = metrics.meter.create_counter("c")
    for number in range(3):
        counter.add(1, {"user": number // 2, "request": number})
    assert metrics.values("c") == [({"user": 0}, 2), (OVERFLOW, 1)]


def test_observed_sets_beyond_the_limit_share_a_series() -> None:
    """The first that callbacks tell are kept."""
    metrics = Metrics(limit=2)
    observations = [Observation(number, {"user": number}) for number in (1, 2, 3, 4)]
    metrics.meter.create_observable_counter("c", [lambda options: observations])
    wanted = [({"user": 1}, 1), ({"user": 2}, 2), (OVERFLOW, 7)]
    assert metrics.values("c") == wanted
    observations.reverse()
    assert metrics.values("c") == wanted


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_sums_are_exact_under_32_threads(temporality: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recording, folding, overflowing and collecting at once."""
    monkeypatch.setattr(cells, "FOLD_AT", 20)
    monkeypatch.setattr(meter, "FOLD_AT", 20)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    metrics = Metrics(temporality=temporality, limit=5)
    counter = metrics.meter.create_counter("c")
    done, seen = Event(), list[int]()

    def record(start: int) -> None:
        for number in range(start, start + 500):
            counter.add(1, {"user": number % 7})

    def collect() -> None:
        while not done.is_set():
            seen.append(sum(point.value for point in metrics.points("c")))

    threads = [Thread(target=record, args=(start,)) for start in range(32)]
    collector = Thread(target=collect)
    try:
        for thread in [collector, *threads]:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        done.set()
        collector.join()
        sys.setswitchinterval(before)
    seen.append(sum(point.value for point in metrics.points("c")))
    assert (sum(seen) if temporality == "delta" else seen[-1]) == 16_000
    assert seen == sorted(seen) or temporality == "delta"


class CollectsWhenRead(dict[str, Any]):
    """A context that makes a collection happen between finding a cell and recording into it."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__(not_="empty")
        self.values_seen: list[Any] = []
        self._metrics = metrics

    def get(self, key: str, default: Any = None) -> Any:
        self.values_seen += self._metrics.values("c")
        return default


@pytest.mark.parametrize("attributes", [{"user": 1}, {"user": 2}])
def test_a_measurement_too_late_for_a_collection_is_in_the_next(attributes: dict[str, int]) -> None:
    """Delta frees its cells; what a slow thread records into such a cell, the shared one too, is not lost."""
    metrics = Metrics(temporality="delta", limit=1)
    counter = metrics.meter.create_counter("c")
    counter.add(1, {"user": 1})
    counter.add(2, attributes)
    context: Any = CollectsWhenRead(metrics)
    counter.add(40, attributes, context)
    assert sum(value for _, value in context.values_seen) == 3
    counter.add(100, attributes)
    assert sum(value for _, value in metrics.values("c")) == 140
    assert metrics.values("c") == []


def test_a_retired_cell_folds_no_more() -> None:
    """Nobody would collect it; what waits is handed over whole."""
    cell = cells.SumCell({}, 0, "trace_based")
    cell.retired = True
    cell.add(1)
    cell.fold()
    assert cell.surrender() == [1]
    assert cell.measured == 0


def test_whoever_holds_the_lock_can_still_record() -> None:
    """A signal handler, or a finalizer, in the middle of making a series."""
    metrics = Metrics()
    counter = metrics.meter.create_counter("c")
    with metrics.storage._streams[0]._lock:
        counter.add(1, {"new": True})
    assert metrics.values("c") == [({"new": True}, 1)]


def test_a_forked_child_counts_from_zero() -> None:
    """Although another thread held the locks when it was made."""
    metrics = Metrics()
    counter = metrics.meter.create_counter("c")
    counter.add(5, {"a": 1})
    held, done = Event(), Event()

    def hold() -> None:
        stream = metrics.storage._streams[0]
        with stream._lock, metrics.storage._lock, metrics.meter._lock:
            held.set()
            done.wait()

    holder = Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if child == 0:
        counter.add(1, {"a": 1})
        metrics.meter.create_counter("d").add(1)
        os._exit(0 if metrics.values("c") == [({"a": 1}, 1)] else 1)
    status = os.waitpid(child, 0)[1]
    done.set()
    holder.join()
    assert status == 0
    assert metrics.values("c") == [({"a": 1}, 5)]


@pytest.mark.parametrize(
    ("amount", "counted"),
    [
        (True, 1),
        (Decimal("2.5"), 2.5),
        (-1, 0),
        (float("nan"), 0),
        (float("inf"), 0),
        (10**400, 0),
        ("x", 0),
        (None, 0),
    ],
)
@pytest.mark.usefixtures("lenient")
def test_no_amount_raises(amount: Any, counted: Any) -> None:
    """Other numbers are converted; what is no number, or none that a counter takes, is left out."""
    metrics = Metrics()
    counter, gauge = metrics.meter.create_counter("c"), metrics.meter.create_gauge("g")
    counter.add(10)
    counter.add(amount)
    gauge.set(amount)
    assert metrics.values("c") == [({}, 10 + counted)]


class Unreadable(Mapping[str, Any]):
    """Attributes that cannot be read."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no names")

    def __len__(self) -> int:
        return 1


@pytest.mark.usefixtures("lenient")
def test_no_attributes_raise() -> None:
    """They are cleaned as upstream cleans them; a measurement whose attributes cannot be read is left out."""
    metrics = Metrics()
    counter = metrics.meter.create_counter("c")
    odd: list[Any] = [["a"], {"": 1, 5: 2}, {"a": object()}, {"a": {"b": [1]}}, Unreadable(), None]
    for attributes in odd:
        counter.add(1, attributes)
    assert metrics.values("c") == [({}, 2), ({"5": 2}, 1), ({"a": None}, 1), ({"a": {"b": (1,)}}, 1)]


class Colour(str, Enum):
    """A text that is something else as well."""

    RED = "red"


def test_values_of_a_subclass_make_no_other_series() -> None:
    """What is the same when it is sent is one series; upstream makes two."""
    metrics = Metrics()
    counter = metrics.meter.create_counter("c")
    for colour in ("red", Colour.RED):
        counter.add(1, {"colour": colour})
    assert metrics.values("c") == [({"colour": "red"}, 2)]


def test_attributes_changed_afterwards_change_nothing() -> None:
    """The series has a copy."""
    metrics = Metrics()
    counter = metrics.meter.create_counter("c")
    attributes = {"a": 1}
    counter.add(1, attributes)
    attributes["a"] = 2
    assert metrics.values("c") == [({"a": 1}, 1)]


def test_other_readers_get_the_same_points() -> None:
    """From the beginning, from when they are added, until they are removed."""
    first, second = InMemoryMetricReader(), InMemoryMetricReader()
    metrics = Metrics(readers=[first])
    counter = metrics.meter.create_counter("c")
    metrics.meter.create_observable_gauge("g", [lambda options: [Observation(3)]])
    counter.add(1, {"a": 1})
    metrics.provider.add_metric_reader(second)
    counter.add(2, {"a": 1})
    assert (values_in(first), values_in(second)) == ({"c": [3], "g": [3]}, {"c": [2], "g": [3]})
    assert metrics.values("c") == [({"a": 1}, 3)]
    metrics.provider.remove_metric_reader(second)
    counter.add(4, {"a": 1})
    assert values_in(first) == {"c": [7], "g": [3]}


def test_other_readers_are_limited_as_well() -> None:
    """By upstream since SDK 1.45.2, by us before."""
    reader = InMemoryMetricReader()
    metrics = Metrics(readers=[reader])
    counter = metrics.meter.create_counter("c")
    for number in range(3000):
        counter.add(1, {"user": number})
    found = values_in(reader)["c"]
    assert (len(found), max(found)) == (2001, 1000)


def values_in(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    data = reader.get_metrics_data()
    return {
        metric.name: [point.value for point in metric.data.data_points]  # type: ignore[union-attr]
        for of_resource in (data.resource_metrics if data else ())
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
    }


@pytest.mark.usefixtures("lenient")
def test_a_callback_that_raises_costs_only_itself() -> None:
    """What it told before counts."""
    metrics = Metrics()

    def breaks(options: CallbackOptions) -> Iterator[Observation]:
        yield Observation(1, {"a": 1})
        raise RuntimeError("the application's own")

    metrics.meter.create_observable_gauge("broken", [breaks, lambda options: [Observation(2)]])
    metrics.meter.create_observable_gauge("sound", [lambda options: [Observation(3)]])
    assert metrics.values("broken") == [({"a": 1}, 1), ({}, 2)]
    assert metrics.values("sound") == [({}, 3)]


def test_callbacks_without_time_left_are_not_asked() -> None:
    """And that is said; everything else is collected."""
    metrics = Metrics()
    metrics.meter.create_observable_gauge("g", [lambda options: [Observation(3)]])
    metrics.meter.create_counter("c").add(1)
    assert metrics.points("g", timeout=0) == []
    assert [point.value for point in metrics.points("c", timeout=0)] == [1]
    assert "took too long" in metrics.said[0]


def test_provider_and_instruments_are_of_upstreams_classes() -> None:
    """The same instrument again is the same object, and records once."""
    metrics = Metrics()
    assert isinstance(metrics.provider, MeterProvider)
    histogram = metrics.meter.create_histogram("h", "s")
    assert isinstance(histogram, Histogram)
    assert metrics.provider.get_meter("meter") is metrics.meter
    assert metrics.meter.create_histogram("h", "s") is histogram
    histogram.record(1)
    assert [point.count for point in metrics.points("h")] == [1]


def test_a_disabled_meter_records_nothing() -> None:
    """Until it is enabled again."""
    metrics = Metrics()
    counter = metrics.meter.create_counter("c")
    for enabled in (False, True):
        metrics.provider._set_meter_configurator(meter_configurator=lambda scope: _MeterConfig(enabled))  # noqa: B023
        counter.add(1)
    assert metrics.values("c") == [({}, 1)]


def test_a_provider_that_was_shut_down_gives_no_meters() -> None:
    """As with upstream."""
    metrics = Metrics()
    metrics.provider.shutdown()
    assert isinstance(metrics.provider.get_meter("late"), NoOpMeter)


@pytest.mark.parametrize("taken", [True, False])
def test_force_flush_delivers_and_is_honest(taken: bool) -> None:
    """Within the time that it is given."""
    asked: list[float] = []

    def flush(seconds: float) -> bool:
        asked.append(seconds)
        return taken

    provider = LeanMeterProvider(MetricStorage(), RESOURCE, flush=flush)
    assert provider.force_flush(2000) is taken
    assert asked == [2.0]


def test_nothing_is_kept_where_nobody_collects() -> None:
    """A storage that was closed opens no streams; other readers are served."""
    reader = InMemoryMetricReader()
    storage = MetricStorage()
    storage.close()
    counter = LeanMeterProvider(storage, RESOURCE, readers=[reader]).get_meter("m").create_counter("c")
    counter.add(1)
    assert storage.collect() == []
    assert values_in(reader) == {"c": [1]}


def test_views_apply_to_bound_instruments() -> None:
    """Renamed, filtered, doubled and dropped; exemplars keep what the series lost."""
    views = [
        View(instrument_name="h", name="short", attribute_keys={"a"}),
        View(instrument_name="h", meter_name="bound", name="total", aggregation=SumAggregation()),
        View(instrument_name="u", aggregation=DropAggregation()),
    ]
    metrics = BoundMetrics(views=views)
    metrics.histogram("h", "s", "", SCOPE, (1,)).bind({"a": 1, "b": 2}).record(0.5, 1, 2, 1)
    metrics.up_down_counter("u", "1", "", SCOPE).bind({}).add(1)
    (_, short), (_, total) = metrics.collect()
    assert (short.name, total.name) == ("short", "total")
    point: Any = short.data.data_points[0]
    assert (dict(point.attributes), point.count) == ({"a": 1}, 1)
    assert point.exemplars[0].filtered_attributes == {"b": 2}
    point = total.data.data_points[0]
    assert (dict(point.attributes), point.value) == ({"a": 1, "b": 2}, 0.5)


@pytest.mark.usefixtures("lenient")
def test_a_view_that_cannot_be_applied_costs_only_itself() -> None:
    """With upstream the first measurement raises into the application."""
    views = [
        View(instrument_name="h", name="wrong", aggregation=ExplicitBucketHistogramAggregation((2, 1))),
        View(instrument_name="h", name="right"),
    ]
    metrics = Metrics(views=views)
    metrics.meter.create_histogram("h").record(1)
    assert [metric.name for _, metric in metrics.storage.collect()] == ["right"]
