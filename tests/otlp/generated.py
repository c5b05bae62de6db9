"""Records made at random, each in two forms: as our encoders read it, and as upstream's do.

Only what upstream can encode is made here; the rest has tests of its own (``test_hostile_records.py``).
"""

from __future__ import annotations

import datetime
import decimal
import enum
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from opentelemetry._logs import LogRecord as ApiLogRecord
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LogRecordLimits, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Buckets as BucketsPoint
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits
from opentelemetry.sdk.trace import _Span as UpstreamSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from otel_forge.otlp.attributes import FixedAttributes, fixed_attributes
from otel_forge.settings import Limits

NO_LIMITS = Limits(128, None, 128, 128, 128, 128, 128, None)


@dataclass
class Span:
    """What the span encoder reads."""

    name: Any = "GET /"
    kind: Any = 2
    trace_id: Any = 1
    span_id: Any = 2
    parent_span_id: Any = 0
    parent_is_remote: Any = False
    trace_flags: Any = 1
    trace_state: Any = None
    start_time: Any = 1_000
    end_time: Any = 2_000
    attributes: Any = None
    fixed: FixedAttributes | None = None
    dropped_attributes: Any = 0
    events: Any = None
    dropped_events: Any = 0
    links: Any = None
    dropped_links: Any = 0
    status_code: Any = 0
    status_description: Any = None
    scope: Any = field(default_factory=lambda: InstrumentationScope("tests"))

    @property
    def own(self) -> Any:
        """The same as `attributes`, by the name that the encoder reads."""
        return self.attributes


@dataclass
class Log:
    """What the log encoder reads."""

    timestamp: Any = 1_000
    observed_timestamp: Any = 2_000
    severity_number: Any = 9
    severity_text: Any = "INFO"
    body: Any = "message"
    attributes: Any = None
    dropped_attributes: Any = 0
    event_name: Any = None
    trace_id: Any = 0
    span_id: Any = 0
    trace_flags: Any = 0
    scope: Any = field(default_factory=lambda: InstrumentationScope("tests"))


class Shade(str):
    """Text that is more than text."""

    __slots__ = ()


class Level(enum.IntEnum):
    """A number that is an enumeration, too."""

    HIGH = 3


class Path:
    """An object with a text of its own."""

    def __str__(self) -> str:
        return "/srv/ünï"


_texts = st.text(st.characters(codec="utf-8"), max_size=12)
_long_texts = st.builds(lambda text, times: text * times, _texts, st.sampled_from((1, 1, 1, 20, 200, 2_000)))
_integers = st.integers(-(1 << 63), (1 << 63) - 1)
KEYS = ("a", "b", "http.route", "http.response.status_code", "ключ", "k" * 130, "k" * 600)
_SAME = (0, 1, True, False, 0.0, 1.0, -0.0, "", "0", "1", b"", b"1", None, 200, 200.0, float("nan"), float("inf"), -1)
_ODD = (
    Shade("of" + KEYS[4]),
    Level.HIGH,
    Path(),
    object(),
    decimal.Decimal("1.50"),
    datetime.date(2026, 11, 23),
    {1},
    range(3),
)
_scalars = st.one_of(
    st.sampled_from(_SAME), st.sampled_from(_ODD), _long_texts, _integers, st.floats(), st.binary(max_size=8)
)
_keys = st.one_of(st.sampled_from(KEYS), st.sampled_from(KEYS), _texts)
_odd_keys = st.one_of(_keys, _keys, _keys, st.sampled_from((1, True, None, 0, ("x",), Level.HIGH, Shade(KEYS[4]))))
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(_odd_keys, inner, max_size=3),
    ),
    max_leaves=6,
)
_attributes = st.one_of(st.none(), st.dictionaries(_keys, _values, max_size=8))
_odd_attributes = st.one_of(_attributes, _attributes, st.dictionaries(_odd_keys, _values, max_size=8))
_times = st.one_of(st.integers(0, 2_000_000_000_000_000_000), st.just((1 << 64) - 1))
_trace_ids = st.integers(1, (1 << 128) - 1)
_span_ids = st.integers(1, (1 << 64) - 1)
_states = st.sampled_from((None, TraceState(), TraceState([("a", "1"), ("b@c", "x y")])))

scopes = st.sampled_from(
    (
        InstrumentationScope("flask", "1.0", "https://opentelemetry.io/schemas/1.30.0"),
        InstrumentationScope("flask", "1.0", "https://opentelemetry.io/schemas/1.30.0"),
        InstrumentationScope("flask", "1.0"),
        InstrumentationScope("sqlite3", None, None, {"short": True, "n": 1, "l": ["a", "b"]}),
        InstrumentationScope("requests", "", "", {"empty": None}),
        None,
    )
)
resources = st.builds(
    Resource, st.one_of(st.just({"service.name": "shop"}), _attributes), st.sampled_from(("", "https://schema"))
)
limits = st.builds(
    Limits,
    span_attributes=st.sampled_from((128, 128, 3, 1, 0)),
    span_attribute_length=st.sampled_from((None, None, 5, 0, 600)),
    events=st.sampled_from((128, 1, 0)),
    links=st.sampled_from((128, 1, 0)),
    event_attributes=st.sampled_from((128, 2, 0)),
    link_attributes=st.sampled_from((128, 2, 0)),
    log_attributes=st.sampled_from((128, 128, 3, 1, 0)),
    log_attribute_length=st.sampled_from((None, None, 5, 0, 600)),
)


# -- spans -------------------------------------------------------------------------------------------------------------


@st.composite
def contexts(draw: st.DrawFn) -> SpanContext:
    """A valid span context."""
    return SpanContext(
        draw(_trace_ids), draw(_span_ids), draw(st.booleans()), TraceFlags(draw(st.integers(0, 3))), draw(_states)
    )


_links = st.tuples(contexts(), _attributes)
_events = st.tuples(_texts, _times, _attributes)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    """A span as ours; `upstream_span` makes the other form of it."""
    parent = draw(st.one_of(st.none(), contexts()))
    code = draw(st.sampled_from((0, 0, 1, 2)))
    fixed = draw(st.one_of(st.none(), st.none(), _attributes))
    links = draw(st.one_of(st.none(), st.lists(_links, max_size=3)))
    return Span(
        name=draw(_long_texts),
        kind=draw(st.integers(1, 5)),
        trace_id=draw(_trace_ids),
        span_id=draw(_span_ids),
        parent_span_id=parent.span_id if parent else 0,
        parent_is_remote=bool(parent and parent.is_remote),
        trace_state=draw(_states),
        start_time=draw(_times),
        end_time=draw(_times),
        attributes=draw(_odd_attributes),
        fixed=None if fixed is None else fixed_attributes(fixed),
        events=draw(st.one_of(st.none(), st.lists(_events, max_size=3))),
        links=links and [(*_link_ids(context), attributes, context.is_remote) for context, attributes in links],
        status_code=code,
        status_description=draw(st.one_of(st.none(), _texts)) if code == 2 else None,
        scope=draw(scopes),
    )


def _link_ids(context: SpanContext) -> tuple[int, int, int, TraceState]:
    return context.trace_id, context.span_id, context.trace_flags, context.trace_state


def upstream_span(span: Span, resource: Resource, limits: Limits) -> ReadableSpan:
    """Record `span` with the SDK's own span, so that its limits and its cleaning apply."""
    parent = SpanContext(span.trace_id, span.parent_span_id, span.parent_is_remote) if span.parent_span_id else None
    recorded = UpstreamSpan(
        name=span.name,
        context=SpanContext(span.trace_id, span.span_id, False, TraceFlags(1), span.trace_state),
        parent=parent,
        resource=resource,
        attributes=dict(span.fixed.mapping) if span.fixed else span.attributes,
        events=[Event(name, attributes, time) for name, time, attributes in span.events or ()],
        links=[_upstream_link(link) for link in span.links or ()],
        kind=SpanKind(span.kind - 1),
        limits=_span_limits(limits),
        instrumentation_scope=span.scope,
    )
    recorded.start(span.start_time)
    if span.fixed and span.attributes:
        recorded.set_attributes(span.attributes)
    recorded.set_status(StatusCode(span.status_code), span.status_description)
    recorded.end(span.end_time)
    return recorded._readable_span()


def _upstream_link(link: Any) -> Link:
    trace_id, span_id, flags, state, attributes, is_remote = link
    return Link(SpanContext(trace_id, span_id, is_remote, TraceFlags(flags), state), attributes)


def _span_limits(limits: Limits) -> SpanLimits:
    length = SpanLimits.UNSET if limits.span_attribute_length is None else limits.span_attribute_length
    return SpanLimits(
        max_events=limits.events,
        max_links=limits.links,
        max_span_attributes=limits.span_attributes,
        max_event_attributes=limits.event_attributes,
        max_link_attributes=limits.link_attributes,
        max_attribute_length=length,
        max_span_attribute_length=length,
    )


# -- logs --------------------------------------------------------------------------------------------------------------

_bodies = st.recursive(
    st.one_of(_long_texts, _long_texts, _integers, st.floats(), st.booleans(), st.none(), st.binary(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_odd_keys, inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """A log record as ours; `upstream_log` makes the other form of it."""
    return Log(
        timestamp=draw(st.one_of(st.none(), _times)),
        observed_timestamp=draw(_times),
        severity_number=draw(st.integers(0, 24)),
        severity_text=draw(st.sampled_from((None, "INFO", "ERROR", "", "säge"))),
        body=draw(_bodies),
        attributes=draw(_odd_attributes),
        event_name=draw(st.sampled_from((None, "", "user.login"))),
        trace_id=draw(st.one_of(st.just(0), _trace_ids)),
        span_id=draw(st.one_of(st.just(0), _span_ids)),
        trace_flags=draw(st.integers(0, 255)),
        scope=draw(scopes),
    )


def upstream_log(log: Log, resource: Resource, limits: Limits) -> ReadableLogRecord:
    """Record `log` with the SDK's own record, so that its limits and its cleaning apply."""
    length = LogRecordLimits.UNSET if limits.log_attribute_length is None else limits.log_attribute_length
    record = ApiLogRecord(
        timestamp=log.timestamp,
        observed_timestamp=log.observed_timestamp,
        severity_text=log.severity_text,
        severity_number=SeverityNumber(log.severity_number) if log.severity_number else None,
        body=log.body,
        attributes=log.attributes,
        event_name=log.event_name,
    )
    record.trace_id, record.span_id, record.trace_flags = log.trace_id, log.span_id, TraceFlags(log.trace_flags)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = ReadWriteLogRecord(
            record,
            resource,
            log.scope,
            LogRecordLimits(max_log_record_attributes=limits.log_attributes, max_log_record_attribute_length=length),
        )
    return ReadableLogRecord(written.log_record, resource, log.scope, written.limits)


# -- metrics -----------------------------------------------------------------------------------------------------------

_metric_scalars = st.one_of(
    st.sampled_from([value for value in _SAME if value != b""]), _long_texts, _integers, st.floats()
)
_metric_attributes = st.one_of(
    st.none(), st.dictionaries(_keys, st.one_of(_metric_scalars, st.lists(_texts, max_size=2)), max_size=5)
)
_numbers = st.one_of(_integers, st.floats())
_counts = st.integers(0, (1 << 64) - 1)
_doubles = st.one_of(st.floats(), st.integers(-1000, 1000))
_temporalities = st.sampled_from(list(AggregationTemporality))
_exemplars = st.lists(
    st.builds(
        Exemplar,
        _metric_attributes,
        st.one_of(_integers, st.floats()),
        _times,
        st.one_of(st.none(), _span_ids),
        st.one_of(st.none(), _trace_ids),
    ),
    max_size=2,
)
_number_points = st.lists(
    st.builds(NumberDataPoint, _metric_attributes, st.one_of(st.none(), _times), _times, _numbers, _exemplars),
    max_size=3,
)
_BOUNDS = ((0.0, 5.0, 10.0), (0, 5, 10), (-0.0, 5.0, 10.0), (), tuple(float(bound) for bound in range(40)))


@st.composite
def _histogram_points(draw: st.DrawFn) -> HistogramDataPoint:
    bounds = draw(st.sampled_from(_BOUNDS))
    counts = draw(st.lists(_counts, min_size=len(bounds) + 1, max_size=len(bounds) + 1))
    number: Any = st.one_of(st.none(), _doubles, _doubles)
    few = draw(st.sampled_from((tuple(counts), counts, ())))
    return HistogramDataPoint(
        attributes=draw(_metric_attributes),
        start_time_unix_nano=draw(_times),
        time_unix_nano=draw(_times),
        count=draw(_counts),
        sum=draw(number),
        bucket_counts=few,
        explicit_bounds=draw(st.sampled_from((bounds, list(bounds)))),
        min=draw(number),
        max=draw(number),
        exemplars=draw(_exemplars),
    )


_buckets = st.builds(BucketsPoint, st.integers(-(1 << 31), (1 << 31) - 1), st.lists(_counts, max_size=5))
_exponential_points = st.builds(
    ExponentialHistogramDataPoint,
    attributes=_metric_attributes,
    start_time_unix_nano=_times,
    time_unix_nano=_times,
    count=_counts,
    sum=_doubles,
    scale=st.integers(-(1 << 31), (1 << 31) - 1),
    zero_count=_counts,
    positive=_buckets,
    negative=_buckets,
    flags=st.integers(0, (1 << 32) - 1),
    min=_doubles,
    max=_doubles,
    exemplars=_exemplars,
)
_data = st.one_of(
    st.builds(Gauge, _number_points),
    st.builds(Sum, _number_points, _temporalities, st.booleans()),
    st.builds(Histogram, st.lists(_histogram_points(), max_size=3), _temporalities),
    st.builds(ExponentialHistogram, st.lists(_exponential_points, max_size=2), _temporalities),
)
_metrics = st.builds(Metric, _texts, st.one_of(st.none(), _texts), st.sampled_from((None, "", "s", "By")), _data)
_metric_scopes = scopes.filter(lambda scope: scope is not None)


@st.composite
def metrics_data(draw: st.DrawFn) -> MetricsData:
    """Upstream's metrics, which both encoders read; no scope stands twice, as upstream's reader sees to."""
    found: Mapping[Any, Any] = draw(
        st.dictionaries(_metric_scopes, st.lists(_metrics, min_size=1, max_size=3), min_size=1, max_size=3)
    )
    resource = draw(resources)
    of_scopes = [ScopeMetrics(scope, metrics, scope.schema_url) for scope, metrics in found.items()]
    return MetricsData([ResourceMetrics(resource, of_scopes, resource.schema_url)])
