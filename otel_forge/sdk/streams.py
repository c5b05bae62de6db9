"""Metric streams: an instrument as one view sees it, with a cell for each attribute set, up to the cardinality limit.

The limit is the specification's (Metrics SDK, "Cardinality limits"): that many attribute sets have a series of their
own, and whatever comes beyond shares one more, marked `OVERFLOW`. Cumulative streams keep the first sets; delta streams
are free for others after each collection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from threading import Lock, RLock
from time import time_ns
from typing import Any

from opentelemetry.context import get_current
from opentelemetry.metrics import CallbackOptions
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, Metric
from opentelemetry.sdk.metrics.view import (
    Aggregation,
    DefaultAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)

from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard
from otel_forge.notices import Rationed
from otel_forge.sdk.cells import Cell, ExemplarFilter
from otel_forge.sdk.current import SPAN_KEY
from otel_forge.sdk.views import Plan, plans

CARDINALITY_LIMIT = 2000
"""Attribute sets of one stream that have a series of their own, unless settings or a view say otherwise."""

OVERFLOW: Mapping[str, Any] = {"otel.metric.overflow": True}
_CALLBACK_SECONDS = 10.0
Placed = tuple[Cell, Mapping[str, Any] | None]
"""Where a measurement goes, and those of its attributes that are not found there."""

_CUMULATIVE, _DELTA = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA


def series_key(attributes: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what is equal for equal attribute sets, in whatever order; ``1``, ``1.0`` and ``True`` are not equal."""
    return tuple([(name, _typed(attributes[name])) for name in sorted(attributes)])


def _typed(value: Any) -> tuple[Any, ...]:
    if isinstance(value, Mapping):
        return (dict, series_key(value))
    if isinstance(value, (tuple, list)):
        return (tuple, *map(_typed, value))
    return (type(value), value)


_OVERFLOW_KEY = series_key(OVERFLOW)


def most_varied(keys: Iterable[tuple[Any, ...]]) -> str:
    """Return the attribute that has the most values in the series of these `keys`, or in the first of many."""
    values: dict[str, set[Any]] = {}
    for key in islice(keys, CARDINALITY_LIMIT):
        for name, value in key:
            values.setdefault(name, set()).add(value)
    return max(values, key=lambda name: len(values[name]), default="")


class Stream:
    """The cells of one stream; `forget` is called when those handed out must not be kept any longer.

    Cells of a `bound` stream are for ever, because whoever binds keeps them.

    The lock is for new attribute sets and for collections. It can be taken again by the thread that holds it, because
    a signal handler, or a finalizer in the middle of anything, may record as well.
    """

    def __init__(
        self, plan: Plan, instrument: Any, temporality: AggregationTemporality, limit: int, *, bound: bool
    ) -> None:
        self.name = plan.name
        self.scope = instrument.instrumentation_scope
        self.limit = plan.limit or limit
        self.varied = ""
        """Once the limit was reached: the attribute that had the most values then."""
        self.forget: Callable[[], None] = lambda: None
        self._plan = plan
        self._unit = instrument.unit
        self._temporality = temporality
        self._bound = bound
        self._cells: dict[tuple[Any, ...], Cell] = {}
        self._overflow: Cell | None = None
        self._overflowed = 0
        self._since = 0
        self._lock = RLock()

    def place(self, attributes: Mapping[str, Any]) -> Placed:
        """Return the cell for a measurement with `attributes`, and those of them that its series does not have."""
        keys = self._plan.keys
        kept = attributes if keys is None else {name: attributes[name] for name in attributes if name in keys}
        cell = self._cell(series_key(kept), kept)
        if cell.attributes is OVERFLOW:
            return cell, attributes
        if len(kept) == len(attributes):
            return cell, None
        return cell, {name: value for name, value in attributes.items() if name not in kept}

    def _cell(self, key: tuple[Any, ...], attributes: Mapping[str, Any]) -> Cell:
        cell = self._cells.get(key)
        if cell is not None:
            return cell
        with self._lock:
            cell = self._cells.get(key)
            if cell is not None:
                return cell
            start_time = self._since or time_ns()
            if key == _OVERFLOW_KEY or len(self._cells) >= self.limit:
                self._overflow = self._overflow or self._plan.build_cell(OVERFLOW, start_time)
                self.varied = self.varied or most_varied(self._cells)
                return self._overflow
            return self._cells.setdefault(key, self._plan.build_cell(dict(attributes), start_time))

    def take_in(self, retired: Cell) -> None:
        """Move what was recorded into a retired cell after its last collection to the cell that has its place."""
        late = retired.surrender()
        if not late:
            return
        cell = self._cell(series_key(retired.attributes), retired.attributes)
        cell.pending.extend(late)
        if cell.retired:
            self.take_in(cell)

    @property
    def overflowed(self) -> int:
        """How many measurements went to the shared series."""
        overflow = self._overflow
        return self._overflowed + (overflow.measured if overflow is not None else 0)

    def collect(self, now: int) -> Metric | None:
        """Return the metric of this moment, or None if nothing was measured."""
        delta = self._temporality is _DELTA
        cells = self._cells_to_collect(now)
        points = [point for cell in cells if (point := cell.collect(now, delta)) is not None]
        self._overflowed += sum([cell.measured for cell in cells if cell.retired and cell.attributes is OVERFLOW])
        if not points:
            return None
        data = self._plan.build_data(points, self._temporality)
        return Metric(self.name, self._plan.description, self._unit, data)

    def _cells_to_collect(self, now: int) -> list[Cell]:
        """Return all cells; those of a stream that need remember nothing are retired, and it begins anew."""
        with self._lock:
            if self._bound or not self._plan.is_stateless:
                return _together(self._cells, self._overflow)
            cells, overflow = self._cells, self._overflow
            self._cells, self._overflow, self._since = {}, None, now
            retired = _together(cells, overflow)
            for cell in retired:
                cell.retired = True
        self.forget()
        return retired

    def renew(self, now: int) -> None:
        """Start from zero in a forked child: what the parent measured is the parent's to report."""
        self._lock = RLock()
        self._overflowed = 0
        self._since = 0
        if self._bound:
            for cell in _together(self._cells, self._overflow):
                cell.renew(now)
        else:
            self._cells = {}
            self._overflow = None
            self.forget()


def _together(cells: Mapping[Any, Cell], overflow: Cell | None) -> list[Cell]:
    return [*cells.values(), *([] if overflow is None else [overflow])]


class MetricStorage:
    """All streams of a process, as the settings and views ask for; what they hold is collected from here."""

    def __init__(
        self,
        *,
        temporality: str = "cumulative",
        histogram_aggregation: str = "explicit_bucket_histogram",
        exemplars: ExemplarFilter = "trace_based",
        limit: int = CARDINALITY_LIMIT,
        views: Sequence[View] = (),
        say: Callable[[Callable[[], str]], object] | None = None,
    ) -> None:
        self.exemplars: ExemplarFilter = exemplars
        self._temporality = preferred_temporality(temporality)
        self._aggregation = preferred_aggregation(histogram_aggregation)
        self._limit = limit
        self.views = tuple(views)
        self._say = say or Rationed()
        self._said: set[str] = set()
        self._is_closed = False
        self._streams: list[Stream] = []
        self._observed: list[tuple[Any, list[Stream]]] = []
        self._lock = Lock()
        on_fork_in_child(self._renew_after_fork)

    def close(self) -> None:
        """Open no streams: nobody will collect them."""
        self._is_closed = True

    def open(self, instrument: Any, *, bound: bool = False) -> list[Stream]:
        """Return new streams for `instrument`, one for each view that wants it."""
        if self._is_closed:
            return []
        temporality = _of_kind(self._temporality, instrument, _CUMULATIVE)
        default = _of_kind(self._aggregation, instrument, DefaultAggregation())
        planned = plans(instrument, self.views, default, self.exemplars, delta=temporality is _DELTA)
        streams = [Stream(plan, instrument, temporality, self._limit, bound=bound) for plan in planned]
        with self._lock:
            self._streams += streams
        return streams

    def observe_with(self, instrument: Any) -> None:
        """Ask the callbacks of `instrument` at each collection from now on."""
        streams = self.open(instrument)
        with self._lock:
            self._observed.append((instrument, streams))

    def collect(self, timeout: float = _CALLBACK_SECONDS) -> list[tuple[Any, Metric]]:
        """Return the metrics of this moment, each with its scope; callbacks may take `timeout` seconds in all."""
        self._observe(time.monotonic() + timeout)
        now = time_ns()
        collected = []
        for stream in list(self._streams):
            with guard("collecting a metric"):
                metric = stream.collect(now)
                if metric is not None:
                    collected.append((stream.scope, metric))
        self._tell_overflow()
        return collected

    def overflowed(self) -> Mapping[str, int]:
        """Return for each metric over its cardinality limit how many measurements went to the shared series."""
        found: dict[str, int] = {}
        for stream in list(self._streams):
            if stream.overflowed:
                found[stream.name] = found.get(stream.name, 0) + stream.overflowed
        return found

    def _observe(self, deadline: float) -> None:
        for instrument, streams in list(self._observed):
            left = deadline - time.monotonic()
            if left <= 0:
                self._say(lambda: "callbacks of observable instruments took too long; some were not asked.")
                return
            with guard("observing a metric"):
                options = CallbackOptions(timeout_millis=min(left, _CALLBACK_SECONDS) * 1000)
                for measurement in instrument.callback(options):
                    where = _span_of(measurement.context)
                    for stream in streams:
                        cell, dropped = stream.place(measurement.attributes or {})
                        cell.record(measurement.value, *where, dropped=dropped)

    def _tell_overflow(self) -> None:
        """Say of each metric once that it is over its limit, and which attribute brought it there."""
        found = {name: count for name, count in self.overflowed().items() if name not in self._said}
        if not found:
            return
        varied = {stream.name: stream.varied for stream in list(self._streams) if stream.varied}
        if self._say(lambda: _overflow_line(found, varied)):
            self._said.update(found)

    def _renew_after_fork(self) -> None:
        self._lock = Lock()
        self._said = set()
        now = time_ns()
        for stream in self._streams:
            stream.renew(now)


def _overflow_line(counts: Mapping[str, int], varied: Mapping[str, str]) -> str:
    metrics = ", ".join(
        f"{name} ({count} measurements), most of all by {varied.get(name)!r}" for name, count in counts.items()
    )
    return (
        f"too many attribute sets, of which those beyond the limit share one series: {metrics}. Use attributes with "
        "few values, or raise OTEL_FORGE_METRIC_CARDINALITY_LIMIT."
    )


def _span_of(context: Any) -> tuple[int, int, int]:
    """Return trace id, span id and flags of the current span of `context`, or of this moment's."""
    span: Any = (context or get_current()).get(SPAN_KEY)
    if span is None:
        return 0, 0, 0
    found = span.get_span_context()
    return found.trace_id, found.span_id, found.trace_flags


def _of_kind(table: Mapping[type, Any], instrument: Any, default: Any) -> Any:
    return next((value for kind, value in table.items() if isinstance(instrument, kind)), default)


def preferred_temporality(preference: str) -> dict[type, AggregationTemporality]:
    """Return the temporality of each kind of instrument (specification: OTLP metric exporter)."""
    sometimes = _DELTA if preference in ("delta", "lowmemory") else _CUMULATIVE
    return {
        Counter: sometimes,
        Histogram: sometimes,
        ObservableCounter: _DELTA if preference == "delta" else _CUMULATIVE,
        UpDownCounter: _CUMULATIVE,
        ObservableUpDownCounter: _CUMULATIVE,
        ObservableGauge: _CUMULATIVE,
    }


def preferred_aggregation(histogram: str) -> dict[type, Aggregation]:
    """Return the aggregation of histograms where it is not the default."""
    if histogram == "base2_exponential_bucket_histogram":
        return {Histogram: ExponentialBucketHistogramAggregation()}
    return {}
