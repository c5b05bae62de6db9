"""What views make of an instrument: which streams it has, and which cell aggregates each.

Upstream's ``View`` and ``Aggregation`` are public to make and private to read, so this module reads what upstream's own
storage reads. An aggregation is asked for what it would build, once, and that prototype says which cell is equal to it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.metrics import Asynchronous
from opentelemetry.sdk.metrics import Counter, ObservableCounter
from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics._internal.aggregation import (
    _DropAggregation,
    _ExplicitBucketHistogramAggregation,
    _ExponentialBucketHistogramAggregation,
    _LastValueAggregation,
    _SumAggregation,
)
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogram,
    Gauge,
    Histogram,
    Sum,
)
from opentelemetry.sdk.metrics.view import (
    Aggregation,
    DefaultAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)

from otel_forge.guard import guard
from otel_forge.sdk.cells import (
    Cell,
    ExemplarFilter,
    HistogramCell,
    LastValueCell,
    ObservedSumCell,
    SumCell,
    UpstreamCell,
)

_logger = logging.getLogger(__name__)
_DEFAULT_VIEW = View(instrument_name="*")
_HISTOGRAMS = (ExplicitBucketHistogramAggregation, ExponentialBucketHistogramAggregation)

BuildCell = Callable[[Mapping[str, Any], int], Cell]
BuildData = Callable[[list[Any], AggregationTemporality], Any]


@dataclass(frozen=True)
class Plan:
    """One stream of an instrument: what it is called, which attributes it keeps (None: all), how it aggregates."""

    name: str
    description: str
    keys: Collection[str] | None
    limit: int | None
    build_cell: BuildCell
    build_data: BuildData
    is_stateless: bool
    """Whether a series that was not measured since the last collection has nothing to remember."""


def plans(
    instrument: Any, views: Sequence[View], default: Aggregation, exemplars: ExemplarFilter, *, delta: bool
) -> list[Plan]:
    """Return the streams of `instrument`: one for each view that matches, or the default one; none if dropped."""
    matching: list[View] = []
    for view in views:
        with guard("matching a view with an instrument"):
            if view._match(instrument) and _is_compatible(view, instrument):
                matching.append(view)
    made = [_plan(instrument, view, default, exemplars, delta=delta) for view in matching or [_DEFAULT_VIEW]]
    return [plan for plan in made if plan is not None]


def _is_compatible(view: View, instrument: Any) -> bool:
    """Return whether the view can be applied, by upstream's rule and with its warning."""
    if isinstance(instrument, Asynchronous) and isinstance(view._aggregation, _HISTOGRAMS):
        _logger.warning(
            "View %s and instrument %s will produce semantic errors when matched, the view has not been applied.",
            view,
            instrument,
        )
        return False
    return True


def _plan(instrument: Any, view: View, default: Aggregation, exemplars: ExemplarFilter, *, delta: bool) -> Plan | None:
    """Return the stream that `view` makes; None if it makes none, or has an aggregation that cannot be made."""
    aggregation = default if isinstance(view._aggregation, DefaultAggregation) else view._aggregation

    def build_upstream(attributes: Mapping[str, Any], start_time: int) -> Any:
        return aggregation._create_aggregation(
            instrument, dict(attributes), view._exemplar_reservoir_factory, start_time
        )

    prototype: Any = None
    with guard("making the aggregation of a view"):
        prototype = build_upstream({}, 0)
    if prototype is None or isinstance(prototype, _DropAggregation):
        return None
    is_observed = isinstance(instrument, Asynchronous)
    is_last_value = isinstance(prototype, _LastValueAggregation)
    own_reservoir = view._exemplar_reservoir_factory is not _DEFAULT_VIEW._exemplar_reservoir_factory
    return Plan(
        name=view._name or instrument.name,
        description=view._description or instrument.description,
        keys=view._attribute_keys,
        limit=getattr(view, "_aggregation_cardinality_limit", None),  # since SDK 1.45.2
        build_cell=_upstream_cells(instrument, build_upstream, exemplars)
        if own_reservoir
        else _cells(instrument, prototype, build_upstream, exemplars),
        build_data=_data(instrument, prototype),
        is_stateless=is_last_value if is_observed else delta,
    )


def _cells(
    instrument: Any, prototype: Any, build_upstream: Callable[[Mapping[str, Any], int], Any], exemplars: ExemplarFilter
) -> BuildCell:
    """Return what makes cells that aggregate as `prototype` does."""
    is_observed = isinstance(instrument, Asynchronous)
    kind = type(prototype)
    if kind is _SumAggregation:
        sums = ObservedSumCell if is_observed else SumCell
        return lambda attributes, start: sums(attributes, start, exemplars)
    if kind is _LastValueAggregation:
        return lambda attributes, start: LastValueCell(attributes, start, exemplars, not is_observed)
    if kind is _ExplicitBucketHistogramAggregation and not is_observed:
        bounds, extremes, lowest = prototype._boundaries, prototype._record_min_max, lowest_of(instrument)
        return lambda attributes, start: HistogramCell(attributes, start, exemplars, bounds, lowest, extremes)
    return _upstream_cells(instrument, build_upstream, exemplars)


def _upstream_cells(
    instrument: Any, build: Callable[[Mapping[str, Any], int], Any], exemplars: ExemplarFilter
) -> BuildCell:
    lowest, begins_anew = lowest_of(instrument), not isinstance(instrument, Asynchronous)
    return lambda attributes, start: UpstreamCell(attributes, start, exemplars, build, lowest, begins_anew)


def lowest_of(instrument: Any) -> float:
    """Return the lowest value that `instrument` takes."""
    return 0 if isinstance(instrument, (Counter, HistogramInstrument)) else -float("inf")


def _data(instrument: Any, prototype: Any) -> BuildData:
    """Return what puts points into the data of a metric."""
    if isinstance(prototype, _SumAggregation):
        is_monotonic = isinstance(instrument, (Counter, ObservableCounter))
        return lambda points, temporality: Sum(points, temporality, is_monotonic)
    if isinstance(prototype, _LastValueAggregation):
        return lambda points, _: Gauge(points)
    if isinstance(prototype, _ExponentialBucketHistogramAggregation):
        return ExponentialHistogram
    return Histogram
