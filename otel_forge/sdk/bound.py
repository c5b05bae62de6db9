"""Bound metric cells: an instrument and one attribute set, looked up once and recorded into for ever after.

Recording appends the measurement to a deque, and that is all that happens on the request thread (0.1 to
0.2 µs). The measurements are folded into sums and buckets when metrics are collected, or as soon as `FOLD_AT` of them
have piled up.

Threads: what is relied on is that ``append`` and ``popleft`` of a deque are atomic, which CPython promises with its
global lock and without; folding happens under a lock that recording never waits for. So no measurement is
lost or counted twice, whoever records while somebody collects.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import Random
from threading import Lock
from time import time_ns
from typing import Any, Generic, Literal, TypeVar

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogram,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)

from otel_forge.delivery.fork import on_fork_in_child

CARDINALITY_LIMIT = 2000
"""Attribute sets of one instrument; whatever comes beyond shares one series (specification: cardinality limits)."""

OVERFLOW: Mapping[str, Any] = {"otel.metric.overflow": True}
FOLD_AT = 4096
DEFAULT_BOUNDS = (0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0)
"""The specification's default buckets."""

ExemplarFilter = Literal["trace_based", "always_on", "always_off"]
_SAMPLED = 0x01
_random = Random().random  # noqa: S311 - chooses exemplars


class Cell:
    """What the cells of all instruments share: measurements that wait to be folded."""

    __slots__ = ("_always", "_lock", "_mask", "_pending", "_taken", "attributes", "start_time")

    def __init__(self, attributes: Mapping[str, Any], start_time: int, exemplars: ExemplarFilter) -> None:
        self._always = _SAMPLED if exemplars == "always_on" else 0
        self._mask = 0 if exemplars == "always_off" else _SAMPLED
        self.attributes = attributes
        self.start_time = start_time
        self._pending: deque[Any] = deque()
        self._lock = Lock()
        self._taken = 0

    @property
    def measured(self) -> int:
        """How many measurements were made in all."""
        return self._taken + len(self._pending)

    def fold(self) -> None:
        """Fold what waits; another thread that is at it already does it for us."""
        if self._lock.acquire(blocking=False):
            try:
                self._fold()
            finally:
                self._lock.release()

    def _fold(self) -> None:
        raise NotImplementedError

    def _take(self) -> list[Any]:
        popleft = self._pending.popleft
        taken = [popleft() for _ in range(len(self._pending))]  # the lock's holder alone takes, so there are as many
        self._taken += len(taken)
        return taken

    def _renew_after_fork(self, now: int) -> None:
        self._lock = Lock()
        self._pending.clear()
        self._taken = 0
        self.start_time = now
        self._clear()

    def _clear(self) -> None:
        raise NotImplementedError


class SumCell(Cell):
    """One series of a counter or up-down counter."""

    __slots__ = ("_exemplar", "_sampled", "_touched", "_value")
    _exemplar: tuple[float, int, int, int] | None

    def __init__(self, attributes: Mapping[str, Any], start_time: int, exemplars: ExemplarFilter) -> None:
        super().__init__(attributes, start_time, exemplars)
        self._clear()

    def add(
        self, amount: int | float, trace_id: int = 0, span_id: int = 0, trace_flags: int = 0, time: int = 0
    ) -> None:
        """Add `amount`, which an up-down counter may have negative; the rest is as for a histogram."""
        pending = self._pending
        if (trace_flags | self._always) & self._mask:
            pending.append((amount, trace_id, span_id, time or time_ns()))
        else:
            pending.append(amount)
        if len(pending) >= FOLD_AT:
            self.fold()

    def _fold(self) -> None:
        for measurement in self._take():
            self._touched = True
            if type(measurement) is not tuple:
                self._value += measurement
                continue
            self._value += measurement[0]
            self._sampled += 1
            if _random() * self._sampled < 1:  # each of those sampled is as likely to stay
                self._exemplar = measurement

    def _clear(self) -> None:
        self._value: int | float = 0
        self._touched = False
        self._sampled = 0
        self._exemplar = None

    def collect(self, now: int, delta: bool) -> NumberDataPoint | None:
        """Return the point of this moment; None before the first measurement (delta: since the last collection)."""
        with self._lock:
            self._fold()
            if not self._touched:
                return None
            exemplars = [] if self._exemplar is None else [_exemplar(self._exemplar)]
            point = NumberDataPoint(self.attributes, self.start_time, now, self._value, exemplars)
            self._sampled, self._exemplar = 0, None
            if delta:
                self._clear()
                self.start_time = now
            return point


class HistogramCell(Cell):
    """One series of a histogram with explicit buckets."""

    __slots__ = ("_bounds", "_count", "_counts", "_exemplars", "_max", "_min", "_sum")
    _min: float
    _max: float

    def __init__(
        self, attributes: Mapping[str, Any], start_time: int, bounds: Sequence[float], exemplars: ExemplarFilter
    ) -> None:
        super().__init__(attributes, start_time, exemplars)
        self._bounds = bounds
        self._clear()

    def record(self, value: float, trace_id: int = 0, span_id: int = 0, trace_flags: int = 0, time: int = 0) -> None:
        """Record `value`, measured at `time` (nanoseconds; 0: now) within the span that the ids name."""
        pending = self._pending
        if (trace_flags | self._always) & self._mask:
            pending.append((value, trace_id, span_id, time or time_ns()))
        else:
            pending.append(value)
        if len(pending) >= FOLD_AT:
            self.fold()

    def _fold(self) -> None:
        bounds, counts, exemplars = self._bounds, self._counts, self._exemplars
        values = []
        for measurement in self._take():
            sampled = type(measurement) is tuple
            value = measurement[0] if sampled else measurement
            if not value >= 0:  # negative or NaN, neither of which a histogram takes
                continue
            bucket = bisect_left(bounds, value)
            counts[bucket] += 1
            values.append(value)
            if sampled:
                exemplars[bucket] = measurement
        if values:
            self._count += len(values)
            self._sum += sum(values)
            self._min = min(self._min, min(values))
            self._max = max(self._max, max(values))

    def _clear(self) -> None:
        self._counts = [0] * (len(self._bounds) + 1)
        self._count = 0
        self._sum: float = 0
        self._min = math.inf
        self._max = -math.inf
        self._exemplars: dict[int, tuple[float, int, int, int]] = {}

    def collect(self, now: int, delta: bool) -> HistogramDataPoint | None:
        """Return the point of this moment; None before the first measurement (delta: since the last collection).

        The exemplars are, for each bucket, the last sampled measurement since the last collection.
        """
        with self._lock:
            self._fold()
            if not self._count:
                return None
            point = HistogramDataPoint(
                attributes=self.attributes,
                start_time_unix_nano=self.start_time,
                time_unix_nano=now,
                count=self._count,
                sum=self._sum,
                bucket_counts=tuple(self._counts),
                explicit_bounds=self._bounds,
                min=self._min,
                max=self._max,
                exemplars=[_exemplar(self._exemplars[bucket]) for bucket in sorted(self._exemplars)],
            )
            self._exemplars = {}
            if delta:
                self._clear()
                self.start_time = now
            return point


class ExponentialCell(HistogramCell):
    """One series of a histogram with exponential buckets; upstream's aggregation does the folding."""

    __slots__ = ("_aggregation",)

    def _fold(self) -> None:
        from otel_forge.sdk.exponential import measure

        taken = [m if type(m) is tuple else (m, 0, 0, 0) for m in self._take()]
        valid = [measurement for measurement in taken if measurement[0] >= 0]
        self._count += len(valid)
        measure(self._aggregation, valid)

    def _clear(self) -> None:
        from otel_forge.sdk.exponential import build_aggregation

        self._count = 0
        self._aggregation = build_aggregation(self.attributes, self.start_time)

    def collect(self, now: int, delta: bool) -> Any:
        """Return the point of this moment; None before the first measurement (delta: since the last collection)."""
        wanted = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
        with self._lock:
            self._fold()
            if not self._count:
                return None
            if delta:
                self._count = 0
            return self._aggregation.collect(wanted, now)


def _exemplar(measurement: tuple[float, int, int, int]) -> Exemplar:
    value, trace_id, span_id, time = measurement
    return Exemplar({}, value, time, span_id or None, trace_id or None)


C = TypeVar("C", bound=Cell)


class BoundInstrument(Generic[C]):
    """An instrument whose series are bound: `bind` gives the cell of an attribute set, always the same.

    Beyond the cardinality limit all further attribute sets get one cell, whose measurements are those that
    overflowed.
    """

    def __init__(
        self,
        name: str,
        unit: str,
        description: str,
        scope: Any,
        build_cell: Callable[[Mapping[str, Any], int], C],
        build_data: Callable[[list[Any], AggregationTemporality], Any],
        temporality: AggregationTemporality,
        limit: int = CARDINALITY_LIMIT,
    ) -> None:
        self.name = name
        self.unit = unit
        self.description = description
        self.scope = scope
        self._build_cell = build_cell
        self._build_data = build_data
        self._temporality = temporality
        self._limit = limit
        self._cells: dict[frozenset[Any], C] = {}
        self._overflow: C | None = None
        self._lock = Lock()
        on_fork_in_child(self._renew_after_fork)

    def bind(self, attributes: Mapping[str, Any]) -> C:
        """Return the cell of `attributes`, whose values must be hashable."""
        key = frozenset(attributes.items())
        cell = self._cells.get(key)
        if cell is not None:
            return cell
        with self._lock:
            cell = self._cells.get(key)
            if cell is None and len(self._cells) >= self._limit:
                return self._overflowing()
            if cell is None:
                cell = self._cells[key] = self._build_cell(dict(attributes), time_ns())
            return cell

    def _overflowing(self) -> C:
        if self._overflow is None:
            self._overflow = self._build_cell(dict(OVERFLOW), time_ns())
        return self._overflow

    @property
    def cells(self) -> list[C]:
        """All cells, the one for overflow included."""
        cells = list(self._cells.values())
        return cells if self._overflow is None else [*cells, self._overflow]

    @property
    def overflowed(self) -> int:
        """How many measurements went to the shared series."""
        return 0 if self._overflow is None else self._overflow.measured

    def collect(self, now: int) -> Metric | None:
        """Return the metric of this moment, or None if nothing was measured."""
        delta = self._temporality is AggregationTemporality.DELTA
        points = [point for cell in self.cells if (point := cell.collect(now, delta)) is not None]  # type: ignore[attr-defined]
        if not points:
            return None
        return Metric(self.name, self.description, self.unit, self._build_data(points, self._temporality))

    def _renew_after_fork(self) -> None:
        """Start from zero in a forked child: what the parent measured is the parent's to report."""
        self._lock = Lock()
        now = time_ns()
        for cell in self.cells:
            cell._renew_after_fork(now)


class BoundMetrics:
    """The bound instruments of a process, by temporality and aggregation that the settings ask for."""

    def __init__(
        self,
        *,
        temporality: str = "cumulative",
        histogram_aggregation: str = "explicit_bucket_histogram",
        exemplars: ExemplarFilter = "trace_based",
        limit: int = CARDINALITY_LIMIT,
    ) -> None:
        delta = temporality in ("delta", "lowmemory")
        self._histograms = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
        self._exponential = histogram_aggregation == "base2_exponential_bucket_histogram"
        self._exemplars: ExemplarFilter = exemplars
        self._limit = limit
        self.instruments: list[BoundInstrument[Any]] = []

    def histogram(
        self, name: str, unit: str, description: str, scope: Any, bounds: Sequence[float] = DEFAULT_BOUNDS
    ) -> BoundInstrument[HistogramCell]:
        """Return a new histogram; `bounds` are the upper limits of its buckets, unless they are exponential."""
        limits = tuple(map(float, bounds))
        kind = ExponentialCell if self._exponential else HistogramCell
        data = ExponentialHistogram if self._exponential else Histogram

        def build(attributes: Mapping[str, Any], start: int) -> HistogramCell:
            return kind(attributes, start, limits, self._exemplars)

        return self._add(BoundInstrument(name, unit, description, scope, build, data, self._histograms, self._limit))

    def up_down_counter(self, name: str, unit: str, description: str, scope: Any) -> BoundInstrument[SumCell]:
        """Return a new up-down counter, which is cumulative whatever the preference (specification)."""
        cumulative = AggregationTemporality.CUMULATIVE

        def build(attributes: Mapping[str, Any], start: int) -> SumCell:
            return SumCell(attributes, start, self._exemplars)

        return self._add(BoundInstrument(name, unit, description, scope, build, _up_down_sum, cumulative, self._limit))

    def _add(self, instrument: BoundInstrument[C]) -> BoundInstrument[C]:
        self.instruments.append(instrument)
        return instrument

    def collect(self) -> list[tuple[Any, Metric]]:
        """Return the metrics of this moment, each with its scope."""
        now = time_ns()
        return [(instrument.scope, metric) for instrument in self.instruments if (metric := instrument.collect(now))]

    def overflowed(self) -> Mapping[str, int]:
        """Return for each instrument over its cardinality limit how many measurements went to the shared series."""
        return {instrument.name: instrument.overflowed for instrument in self.instruments if instrument.overflowed}


def _up_down_sum(points: list[Any], temporality: AggregationTemporality) -> Sum:
    return Sum(points, temporality, is_monotonic=False)
