"""Aggregations of upstream's, fed off the request thread: exponential buckets, and whatever a view may bring.

They are private to upstream and the only way to equal it to the last bucket; what is known of their insides is in this
module and in `otel_forge.sdk.views`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otel_forge.sdk.cells import Sampled

_NOWHERE = Context()


class _Measurement(NamedTuple):
    value: float
    time_unix_nano: int
    attributes: Mapping[str, Any]
    context: Context


def measure(aggregation: Any, attributes: Mapping[str, Any], measurements: Sequence[Sampled]) -> None:
    """Aggregate measurements, of which those with a time may become exemplars."""
    for value, trace_id, span_id, time, dropped in measurements:
        context = _NOWHERE
        if trace_id:
            span = NonRecordingSpan(SpanContext(trace_id, span_id, False, TraceFlags(1)))
            context = set_span_in_context(span, _NOWHERE)
        own = {**attributes, **dropped} if dropped else attributes
        aggregation.aggregate(_Measurement(value, time, own, context), bool(time))
