"""Cells: one time series each, an aggregation of the measurements of one attribute set.

Recording appends the measurement to a deque. The measurements are folded into sums and buckets when metrics are
collected, or as soon as `FOLD_AT` of them have piled up: by the hundred, for 0.3 µs each, recording included.

Threads: what is relied on is that ``append`` and ``popleft`` of a deque are atomic, which CPython promises with its
global lock and without; folding happens under a lock that recording never waits for. So no measurement is
lost or counted twice, whoever records while somebody collects.

A measurement that waits is its bare value, or, if it may become an exemplar, a tuple (`Sampled`).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import Random
from threading import Lock
from time import time_ns
from typing import Any, Literal

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import AggregationTemporality, HistogramDataPoint, NumberDataPoint

FOLD_AT = 512
ExemplarFilter = Literal["trace_based", "always_on", "always_off"]
Sampled = tuple[int | float, int, int, int, Mapping[str, Any] | None]
"""Value, trace id, span id, time, and those attributes of the measurement that the series does not have."""

SAMPLED = 0x01
_random = Random().random  # noqa: S311 - chooses exemplars


class Cell:
    """What all cells share: measurements that wait to be folded.

    `retired` is set before the last collection of a cell. Whoever finds it set after recording has to see to it that
    what still waits reaches another cell (`surrender`).
    """

    __slots__ = ("_always", "_lock", "_mask", "_taken", "attributes", "pending", "retired", "start_time")

    def __init__(self, attributes: Mapping[str, Any], start_time: int, exemplars: ExemplarFilter) -> None:
        self._always = SAMPLED if exemplars == "always_on" else 0
        self._mask = 0 if exemplars == "always_off" else SAMPLED
        self.attributes = attributes
        self.start_time = start_time
        self.pending: deque[Any] = deque()
        self.retired = False
        self._lock = Lock()
        self._taken = 0

    def record(
        self,
        value: int | float,
        trace_id: int = 0,
        span_id: int = 0,
        trace_flags: int = 0,
        time: int = 0,
        dropped: Mapping[str, Any] | None = None,
    ) -> None:
        """Record `value`, measured at `time` (nanoseconds; 0: now) within the span that the ids name.

        `dropped` are attributes of the measurement that the series does not have.
        """
        pending = self.pending
        if (trace_flags | self._always) & self._mask:
            pending.append((value, trace_id, span_id, time or time_ns(), dropped))
        else:
            pending.append(value)
        if len(pending) >= FOLD_AT:
            self.fold()

    @property
    def measured(self) -> int:
        """How many measurements were made in all; of a retired cell, those that were collected."""
        return self._taken if self.retired else self._taken + len(self.pending)

    def fold(self) -> None:
        """Fold what waits, unless there is no collection to come; another thread at it already does it for us."""
        if self._lock.acquire(blocking=False):
            try:
                if not self.retired:
                    self._fold(self._take())
            finally:
                self._lock.release()

    def collect(self, now: int, delta: bool) -> Any:
        """Return the point of this moment; None before the first measurement (delta: since the last collection)."""
        with self._lock:
            self._fold(self._take())
            return self._collect(now, delta)

    def surrender(self) -> list[Any]:
        """Return what was recorded after the last collection, and forget it; takes no lock."""
        return _emptied(self.pending)

    def renew(self, now: int) -> None:
        """Start from zero at `now`, in a forked child, where another thread may have held the lock."""
        self._lock = Lock()
        self.pending.clear()
        self._taken = 0
        self.start_time = now
        self._clear()

    def _take(self) -> list[Any]:
        taken = _emptied(self.pending)
        self._taken += len(taken)
        return taken

    def _fold(self, taken: list[Any]) -> None:
        raise NotImplementedError

    def _collect(self, now: int, delta: bool) -> Any:
        raise NotImplementedError

    def _clear(self) -> None:
        raise NotImplementedError


def _emptied(pending: deque[Any]) -> list[Any]:
    """Return what is in `pending` and take it out, each measurement once, whoever else does the same."""
    taken: list[Any] = []
    popleft, append = pending.popleft, taken.append
    try:
        for _ in range(len(pending)):
            append(popleft())
    except IndexError:
        pass
    return taken


class NumberCell(Cell):
    """One number, and one exemplar, chosen at random among what was sampled since the last collection."""

    __slots__ = ("_exemplar", "_sampled", "_touched", "_value")
    _exemplar: Sampled | None

    def __init__(self, attributes: Mapping[str, Any], start_time: int, exemplars: ExemplarFilter) -> None:
        super().__init__(attributes, start_time, exemplars)
        self._clear()

    add = Cell.record
    """Add an amount, which an up-down counter may have negative; the rest is as for `record`."""

    def _clear(self) -> None:
        self._value: int | float = 0
        self._touched = False
        self._sampled = 0
        self._exemplar = None

    def _fold(self, taken: list[Any]) -> None:
        for measurement in taken:
            if type(measurement) is tuple:
                self._consider(measurement)
        if taken:
            self._touched = True
            self._aggregate([m[0] if type(m) is tuple else m for m in taken])

    def _aggregate(self, values: list[int | float]) -> None:
        raise NotImplementedError

    def _consider(self, measurement: Sampled) -> None:
        self._sampled += 1
        if _random() * self._sampled < 1:  # each of those sampled is as likely to stay
            self._exemplar = measurement

    def _point(self, now: int, value: int | float, start_time: int | None) -> NumberDataPoint:
        exemplars = [] if self._exemplar is None else [_exemplar(self._exemplar)]
        self._sampled, self._exemplar = 0, None
        return NumberDataPoint(self.attributes, start_time, now, value, exemplars)  # type: ignore[arg-type]


class SumCell(NumberCell):
    """The sum of what was added."""

    __slots__ = ()

    def _aggregate(self, values: list[int | float]) -> None:
        for value in values:  # in this order and without compensation, as upstream adds up
            self._value += value

    def _collect(self, now: int, delta: bool) -> NumberDataPoint | None:
        if not self._touched:
            return None
        point = self._point(now, self._value, self.start_time)
        if delta:
            self._clear()
            self.start_time = now
        return point


class ObservedSumCell(SumCell):
    """The sum that callbacks observe: a total at each collection, and no point if it was not observed."""

    __slots__ = ("_previous",)

    def __init__(self, attributes: Mapping[str, Any], start_time: int, exemplars: ExemplarFilter) -> None:
        super().__init__(attributes, start_time, exemplars)
        self._previous: int | float = 0

    def _collect(self, now: int, delta: bool) -> NumberDataPoint | None:
        if not self._touched:
            return None
        total = self._value
        point = self._point(now, total - self._previous if delta else total, self.start_time)
        self._clear()
        if delta:
            self._previous = total
            self.start_time = now
        return point


class LastValueCell(NumberCell):
    """The last value; `lasting` if it stays for further cumulative collections."""

    __slots__ = ("_lasting",)

    def __init__(
        self, attributes: Mapping[str, Any], start_time: int, exemplars: ExemplarFilter, lasting: bool
    ) -> None:
        super().__init__(attributes, start_time, exemplars)
        self._lasting = lasting

    def _aggregate(self, values: list[int | float]) -> None:
        self._value = values[-1]

    def _collect(self, now: int, delta: bool) -> NumberDataPoint | None:
        if not self._touched:
            return None
        point = self._point(now, self._value, None)
        if delta or not self._lasting:
            self._clear()
        return point


class HistogramCell(Cell):
    """Explicit buckets; values below `lowest` are ignored, and what is no number."""

    __slots__ = ("_bounds", "_count", "_counts", "_exemplars", "_extremes", "_lowest", "_max", "_min", "_sum")
    _min: float
    _max: float

    def __init__(
        self,
        attributes: Mapping[str, Any],
        start_time: int,
        exemplars: ExemplarFilter,
        bounds: Sequence[float],
        lowest: float = -math.inf,
        extremes: bool = True,
    ) -> None:
        super().__init__(attributes, start_time, exemplars)
        self._bounds = bounds
        self._lowest = lowest
        self._extremes = extremes
        self._clear()

    def _fold(self, taken: list[Any]) -> None:
        bounds, counts, exemplars, lowest = self._bounds, self._counts, self._exemplars, self._lowest
        values = []
        for measurement in taken:
            sampled = type(measurement) is tuple
            value = measurement[0] if sampled else measurement
            if not value >= lowest:
                continue
            bucket = bisect_left(bounds, value)
            counts[bucket] += 1
            values.append(value)
            if sampled:
                exemplars[bucket] = measurement
        if values:
            self._count += len(values)
            self._sum += sum(values)
            if self._extremes:
                self._min = min(self._min, min(values))
                self._max = max(self._max, max(values))

    def _clear(self) -> None:
        self._counts = [0] * (len(self._bounds) + 1)
        self._count = 0
        self._sum: float = 0
        self._min = math.inf
        self._max = -math.inf
        self._exemplars: dict[int, Sampled] = {}

    def _collect(self, now: int, delta: bool) -> HistogramDataPoint | None:
        """Return a point with, for each bucket, the last sampled measurement since the last collection."""
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


BuildAggregation = Callable[[Mapping[str, Any], int], Any]


class UpstreamCell(Cell):
    """What an aggregation of upstream makes of the measurements: exponential buckets, reservoirs of the user.

    `begins_anew` after each delta collection, at the finest scale; what callbacks observe needs the one before.
    """

    __slots__ = ("_aggregation", "_begins_anew", "_build", "_lowest", "_touched")

    def __init__(
        self,
        attributes: Mapping[str, Any],
        start_time: int,
        exemplars: ExemplarFilter,
        build: BuildAggregation,
        lowest: float = -math.inf,
        begins_anew: bool = True,
    ) -> None:
        super().__init__(attributes, start_time, exemplars)
        self._begins_anew = begins_anew
        self._build = build
        self._lowest = lowest
        self._clear()

    def _fold(self, taken: list[Any]) -> None:
        from otel_forge.sdk.exponential import measure

        lowest = self._lowest
        sampled = [m if type(m) is tuple else (m, 0, 0, 0, None) for m in taken]
        valid = [measurement for measurement in sampled if measurement[0] >= lowest]
        if valid:
            self._touched = True
            measure(self._aggregation, self.attributes, valid)

    def _clear(self) -> None:
        self._touched = False
        self._aggregation = self._build(self.attributes, self.start_time)

    def _collect(self, now: int, delta: bool) -> Any:
        wanted = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
        if not self._touched:
            return None
        point = self._aggregation.collect(wanted, now)
        if delta and self._begins_anew:
            self.start_time = now
            self._clear()
        return point


def _exemplar(measurement: Sampled) -> Exemplar:
    value, trace_id, span_id, time, dropped = measurement
    return Exemplar(dropped or {}, value, time, span_id or None, trace_id or None)
