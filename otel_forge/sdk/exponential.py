"""Exponential buckets for bound cells: upstream's own aggregation, fed off the request thread.

The aggregation is private to upstream and the only way to equal it to the last bucket; it is used here and
nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import SimpleFixedSizeExemplarReservoir
from opentelemetry.sdk.metrics._internal.aggregation import _ExponentialBucketHistogramAggregation
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

_NOWHERE = Context()


class _Measurement(NamedTuple):
    value: float
    time_unix_nano: int
    attributes: Mapping[str, Any]
    context: Context


def build_aggregation(attributes: Mapping[str, Any], start_time: int) -> Any:
    """Return an empty aggregation with the specification's 160 buckets."""
    reservoir: Any = SimpleFixedSizeExemplarReservoir
    return _ExponentialBucketHistogramAggregation(attributes, reservoir, AggregationTemporality.DELTA, start_time)


def measure(aggregation: Any, measurements: Sequence[tuple[float, int, int, int]]) -> None:
    """Aggregate measurements: value, trace id, span id, and the time if it is to be an exemplar."""
    for value, trace_id, span_id, time in measurements:
        context = _NOWHERE
        if trace_id:
            span = NonRecordingSpan(SpanContext(trace_id, span_id, False, TraceFlags(1)))
            context = set_span_in_context(span, _NOWHERE)
        aggregation.aggregate(_Measurement(value, time, aggregation._attributes, context), bool(time))
