"""Metric points in a shape that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import AggregationTemporality, Metric, MetricsData
from opentelemetry.sdk.metrics.view import View

UPSTREAM_FREES_DELTA = hasattr(View(instrument_name="*"), "_aggregation_cardinality_limit")
"""An SDK before 1.45.2 keeps its exponential histograms after a delta collection, at the scale they had come to."""


def metrics_in(data: MetricsData | None) -> list[tuple[Any, Metric]]:
    return [
        (of_scope.scope, metric)
        for of_resource in (data.resource_metrics if data else ())
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
    ]


def facts(metrics: Sequence[tuple[Any, Metric]]) -> list[Any]:
    """Return everything but times and the choice of exemplars, in one order."""
    found = [
        (
            scope,
            metric.name,
            metric.unit,
            metric.description,
            type(metric.data),
            getattr(metric.data, "aggregation_temporality", None),
            getattr(metric.data, "is_monotonic", None),
            sorted([_point_facts(point, _is_delta(metric)) for point in metric.data.data_points], key=repr),
        )
        for scope, metric in metrics
    ]
    return sorted(found, key=repr)


def _point_facts(point: Any, delta: bool) -> dict[str, Any]:
    kept = {key: value for key, value in vars(point).items() if not key.endswith("time_unix_nano")}
    if "scale" in kept and delta and not UPSTREAM_FREES_DELTA:
        kept = {key: kept[key] for key in ("attributes", "exemplars", "count", "sum", "zero_count", "min", "max")}
    kept["attributes"] = _typed(kept["attributes"])
    kept["exemplars"] = len(kept["exemplars"])
    if "explicit_bounds" in kept:  # the last of each bucket, and so the same ones
        kept["exemplars"] = [
            (e.value, e.span_id, e.trace_id, _typed(e.filtered_attributes or {})) for e in point.exemplars
        ]
    return kept


def _is_delta(metric: Metric) -> bool:
    return getattr(metric.data, "aggregation_temporality", None) is AggregationTemporality.DELTA


def _typed(attributes: Any) -> list[tuple[str, str]]:
    return sorted((key, repr(value)) for key, value in attributes.items())
