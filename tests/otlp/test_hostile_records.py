"""Bad records: each arrives as well as it can, marked and counted, and its neighbours arrive whole."""

from __future__ import annotations

import datetime
import math
import time
from dataclasses import fields
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
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
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_forge.otlp.careful import LARGE_RECORD_BYTES, LARGE_RECORD_TEXT, MAX_LEVELS, MAX_RECORD_BYTES, Careful
from otel_forge.otlp.encode_logs import encode_logs
from otel_forge.otlp.encode_metrics import MetricEncoder, encode_metrics
from otel_forge.otlp.encode_spans import encode_spans
from otel_forge.otlp.envelope import EncodedResource
from otel_forge.otlp.report import ALTERED, EncodingReport
from tests.otlp import hostile
from tests.otlp.generated import NO_LIMITS, Log, Span

SCOPE = InstrumentationScope("tests")
RESOURCE = EncodedResource(Resource({"service.name": "shop"}))
GOOD_SPAN = Span(name="good", attributes={"a": "1", "n": 1}, scope=SCOPE)
GOOD_LOG = Log(body="good", attributes={"a": "1", "n": 1}, scope=SCOPE)


def arrived_spans(*spans: Any) -> tuple[list[Any], EncodingReport]:
    """Return the spans as a receiver reads them, and what was counted."""
    report = EncodingReport()
    request = ExportTraceServiceRequest.FromString(encode_spans(spans, RESOURCE, NO_LIMITS, report))
    return [span for of_scope in request.resource_spans[0].scope_spans for span in of_scope.spans], report


def arrived_logs(*logs: Any) -> tuple[list[Any], EncodingReport]:
    """Return the log records as a receiver reads them, and what was counted."""
    report = EncodingReport()
    request = ExportLogsServiceRequest.FromString(encode_logs(logs, RESOURCE, NO_LIMITS, report))
    return [log for of_scope in request.resource_logs[0].scope_logs for log in of_scope.log_records], report


def plain(value: AnyValue) -> Any:
    """Return a value of OTLP as Python has it."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return attributes_of(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def attributes_of(pairs: Any) -> dict[str, Any]:
    """Return KeyValues as a dict."""
    return {pair.key: plain(pair.value) for pair in pairs}


def only_span(**changed: Any) -> tuple[Any, dict[str, Any], EncodingReport]:
    """Return the bad one of three spans, its attributes, and the report; the other two must be whole."""
    bad = Span(**{"scope": SCOPE, **changed})
    (before, span, after), report = arrived_spans(GOOD_SPAN, bad, GOOD_SPAN)
    [whole], clean = arrived_spans(GOOD_SPAN)
    assert before == after == whole
    assert clean.altered == 0
    return span, attributes_of(span.attributes), report


# -- attribute values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "arrives", "reason"),
    [
        ("caf\udce9.txt", "caf\\udce9.txt", "text"),
        (1 << 63, "9223372036854775808", "number"),
        (-(1 << 63) - 1, "-9223372036854775809", "number"),
        (1 << 70, str(1 << 70), "number"),
        (10**5000, "16610-bit integer", "number"),
        (hostile.Raises(), "<unreadable Raises>", "value"),
        (hostile.Exits(), "<unreadable Exits>", "value"),
        (hostile.RaisingSequence(), "<unreadable RaisingSequence>", "value"),
        (hostile.RaisingMapping(), "<unreadable RaisingMapping>", "value"),
        ([1, hostile.Raises(), 3], [1, "<unreadable Raises>", 3], "value"),
        ({"a": "\ud800"}, {"a": "\\ud800"}, "text"),
        ({"\ud800": 1}, {"\\ud800": 1}, "text"),
        (hostile.cyclic_list(), ["start", "…", "…"], "depth"),
        (hostile.cyclic_mapping(), {"start": True, "self": ["…"]}, "depth"),
    ],
    ids=str.__class__,
)
def test_a_bad_value_is_replaced_marked_and_counted(value: Any, arrives: Any, reason: str) -> None:
    """The attributes beside it, and the spans beside its span, are untouched."""
    _, attributes, report = only_span(attributes={"before": 1, "bad": value, "after": "x"})
    assert attributes == {"before": 1, "bad": arrives, "after": "x", ALTERED: reason}
    assert (report.altered, report.lost, report.reasons) == (1, 0, {reason: 1})


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (Decimal("1.50"), "1.50"),
        (datetime.datetime(2026, 11, 23, 12, 0), "2026-11-23 12:00:00"),
        (object(), None),
        (None, None),
        (float("inf"), float("inf")),
        (bytearray(b"ab"), [97, 98]),
        ({1}, "{1}"),
        ({"": 1, None: 2, 3: 4}, {"None": 2, "3": 4}),
        (hostile.LyingInteger(7), 7),
    ],
    ids=repr,
)
def test_a_foreign_value_is_what_upstream_makes_of_it(value: Any, arrives: Any) -> None:
    """What upstream converts is converted alike, without a mark."""
    if isinstance(value, dict):
        arrives = {"3": 4}  # None is falsy, so upstream drops that key, too
    _, attributes, report = only_span(attributes={"a": value})
    assert attributes == {"a": arrives}
    assert report.altered == 0


def test_nan_arrives() -> None:
    """NaN is a double like any other."""
    _, attributes, report = only_span(attributes={"a": math.nan})
    assert math.isnan(attributes["a"])
    assert report.altered == 0


def test_text_that_lies_about_itself_arrives_as_its_characters() -> None:
    """Only the characters of a str subclass are read, never its methods."""
    _, attributes, _ = only_span(attributes={"a": [hostile.LyingText("lie")]})
    assert attributes["a"] in (["lie"], ["<unreadable LyingText>"])


def test_the_deepest_value_that_is_kept_can_be_read() -> None:
    """Receivers stop at 100 nested messages; what is deeper ends in an ellipsis before that."""
    for value in (hostile.deep_list(), _deep_mapping(1_000)):
        _, attributes, report = only_span(attributes={"deep": value}, events=[("e", 1, {"deep": value})])
        assert attributes[ALTERED] == "depth"
        assert report.reasons == {"depth": 1}
    fitting = hostile.deep_list(MAX_LEVELS // 2 - 1)
    _, attributes, report = only_span(events=[("e", 1, {"deep": fitting})])
    assert report.altered == 0


def _deep_mapping(levels: int) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for _ in range(levels):
        nested = {"in": nested}
    return nested


@pytest.mark.parametrize("value", [hostile.ever_more(), hostile.EndlessSequence(), [[1] * 1000] * 100_000])
def test_a_value_without_end_ends(value: Any) -> None:
    """Time and space are bounded by the room of a record, whatever a value expands to."""
    started = time.thread_time()
    span, attributes, report = only_span(attributes={"small": 1, "bad": value, "late": 2})
    assert attributes["small"] == 1
    assert "size" in attributes[ALTERED]
    assert span.ByteSize() < LARGE_RECORD_BYTES * 1.05
    assert time.thread_time() - started < 20
    assert report.altered == 1


def test_a_64_mb_text_is_cut_and_the_other_attributes_stay() -> None:
    """A record has at most 4 MB; long texts give way to the rest."""
    text = "x" * (64 << 20)
    span, attributes, report = only_span(name="big", attributes={"a": text, "b": text, "http.route": "/x"})
    assert attributes["http.route"] == "/x"
    assert attributes["a"] == attributes["b"] == "x" * LARGE_RECORD_TEXT + "…"
    assert attributes[ALTERED] == "size"
    assert span.ByteSize() < 100_000
    assert report.reasons == {"size": 1}


def test_many_large_attributes_are_dropped_and_counted_as_dropped() -> None:
    """What has no room even with short texts is dropped, and the span says how much."""
    text = "x" * 40_000
    span, attributes, _ = only_span(
        attributes={f"key{number}": text for number in range(60)},
        events=[(f"event {number}", 1, {f"key{key}": text for key in range(10)}) for number in range(128)],
    )
    assert span.ByteSize() < LARGE_RECORD_BYTES * 1.05
    assert "size" in attributes[ALTERED]
    assert span.dropped_events_count + len(span.events) == 128
    assert 0 < span.dropped_events_count < 128


def test_a_text_just_below_the_limit_of_a_record_arrives_whole() -> None:
    """Only what does not fit is cut."""
    text = "x" * (MAX_RECORD_BYTES - 1000)
    _, attributes, report = only_span(attributes={"a": text})
    assert attributes == {"a": text}
    assert report.altered == 0


# -- keys --------------------------------------------------------------------------------------------------------------


def test_bad_keys_cost_only_themselves() -> None:
    """Keys that are no text become text if they have any; the empty key is dropped and counted, as upstream does."""
    span, attributes, report = only_span(attributes={1: "a", "": "b", "\udcff": "c", hostile.Raises(): "d", "ok": "e"})
    assert attributes == {"1": "a", "\\udcff": "c", "<unreadable Raises>": "d", "ok": "e", ALTERED: "text,value"}
    assert span.dropped_attributes_count == 1
    assert report.reasons == {"text": 1, "value": 1}


# -- fields of a span --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "field", "arrives", "reason"),
    [
        ({"name": "a\udcff"}, "name", "a\\udcff", "text"),
        ({"name": 42}, "name", "42", "type"),
        ({"name": b"raw"}, "name", "b'raw'", "type"),
        ({"name": None}, "name", "", None),
        ({"name": hostile.Raises()}, "name", "<unreadable Raises>", "type,value"),
        ({"end_time": 1.5e18}, "end_time_unix_nano", 1_500_000_000_000_000_000, "time"),
        ({"end_time": -5}, "end_time_unix_nano", 0, "time"),
        ({"end_time": 1 << 64}, "end_time_unix_nano", (1 << 63) - 1, "time"),
        ({"end_time": math.nan}, "end_time_unix_nano", 0, "time"),
        ({"end_time": "soon"}, "end_time_unix_nano", 0, "time"),
        ({"end_time": None}, "end_time_unix_nano", 0, None),
        ({"start_time": math.inf}, "start_time_unix_nano", 0, "time"),
        ({"kind": 77}, "kind", 0, "number"),
        ({"kind": "SERVER"}, "kind", 0, "number"),
        ({"trace_id": 1 << 128}, "trace_id", b"\xff" * 16, "number"),
        ({"span_id": None}, "span_id", bytes(8), None),
        ({"parent_span_id": -1}, "parent_span_id", b"", "number"),
        ({"dropped_attributes": -1}, "dropped_attributes_count", 0, "number"),
        ({"dropped_events": 1 << 40}, "dropped_events_count", (1 << 32) - 1, "number"),
        ({"trace_state": {"a": "\ud800"}}, "trace_state", "a=\\ud800", "text"),
        ({"trace_state": 5}, "name", "", "record"),
        ({"events": 5}, "name", "GET /", "record"),
        ({"links": [None]}, "dropped_links_count", 1, "record"),
        ({"attributes": 5}, "name", "GET /", "record"),
        ({"attributes": hostile.RaisingMapping()}, "name", "GET /", "record"),
    ],
)
def test_a_bad_field_is_mended_marked_and_counted(
    changed: dict[str, Any], field: str, arrives: Any, reason: str | None
) -> None:
    """One bad field costs at most itself."""
    span, attributes, report = only_span(**changed)
    assert getattr(span, field) == arrives
    assert attributes.get(ALTERED) == reason
    assert report.altered == (1 if reason else 0)


def test_a_bad_status_is_mended() -> None:
    """A description can hold anything that an exception says."""
    span, _, _ = only_span(status_code=2, status_description="cannot open caf\udce9")
    assert (span.status.code, span.status.message) == (2, "cannot open caf\\udce9")
    span, attributes, _ = only_span(status_code=9, status_description="x")
    assert (span.status.code, span.status.message, attributes[ALTERED]) == (0, "", "number")


def test_bad_events_and_links_keep_what_is_good_in_them() -> None:
    """An event of which nothing can be read is counted as dropped."""
    span, attributes, _ = only_span(
        events=[("a\ud800", 1.5, {"k": hostile.Raises()}), ("b", 2, None), 7],
        links=[(1 << 200, 2, 0, None, {"k": "\ud800"}), (1, 2, 0, None, None)],
    )
    assert [(event.name, event.time_unix_nano) for event in span.events] == [("a\\ud800", 1), ("b", 2)]
    assert attributes_of(span.events[0].attributes) == {"k": "<unreadable Raises>"}
    assert span.dropped_events_count == 1
    assert len(span.links) == 2
    assert attributes[ALTERED] == "number,record,text,time,value"


def test_what_is_no_span_at_all_is_counted_as_lost() -> None:
    """Where there are no ids there is nothing to send; the neighbours arrive."""
    spans, report = arrived_spans(GOOD_SPAN, object(), GOOD_SPAN)
    assert [span.name for span in spans] == ["good", "good"]
    assert (report.altered, report.lost) == (0, 1)


# -- log records -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "body", "reason"),
    [
        ({"body": "a\udcff"}, "a\\udcff", "text"),
        ({"body": object}, str(object), "type"),
        ({"body": datetime.date(2026, 11, 23)}, "2026-11-23", "type"),
        ({"body": {"at": datetime.date(2026, 11, 23), "n": 1}}, {"at": "2026-11-23", "n": 1}, "type"),
        ({"body": 1 << 64}, str(1 << 64), "number"),
        ({"body": hostile.Raises()}, "<unreadable Raises>", "type,value"),
        ({"body": hostile.cyclic_list()}, ["start", "…", "…"], "depth"),
        ({"body": {"": 1, None: 2}}, {"": 1, "None": 2}, None),
        ({"timestamp": 1.5}, "message", "time"),
        ({"observed_timestamp": -1}, "message", "time"),
        ({"severity_number": "INFO"}, "message", "number"),
        ({"severity_text": "\ud800"}, "message", "text"),
        ({"severity_text": 7}, "message", "type"),
        ({"event_name": b"x"}, "message", "type"),
        ({"trace_flags": -1}, "message", "number"),
        ({"trace_id": -1}, "message", "number"),
        ({"attributes": {"a": "\ud800"}}, "message", "text"),
        ({"attributes": 7}, "message", "record"),
        ({"dropped_attributes": -1}, "message", "number"),
    ],
)
def test_a_bad_log_record_arrives_marked_between_whole_neighbours(
    changed: dict[str, Any], body: Any, reason: str | None
) -> None:
    """One bad field costs at most itself."""
    (before, log, after), report = arrived_logs(GOOD_LOG, Log(**{"scope": SCOPE, **changed}), GOOD_LOG)
    [whole], _ = arrived_logs(GOOD_LOG)
    assert before == after == whole
    assert plain(log.body) == body
    assert attributes_of(log.attributes).get(ALTERED) == reason
    assert report.altered == (1 if reason else 0)


def test_a_64_mb_body_is_cut() -> None:
    """The start of a huge message says most of it."""
    [log], report = arrived_logs(Log(body="x" * (64 << 20), attributes={"a": 1}, scope=SCOPE))
    assert log.body.string_value == "x" * LARGE_RECORD_TEXT + "…"
    assert attributes_of(log.attributes) == {"a": 1, ALTERED: "size"}
    assert report.reasons == {"size": 1}


# -- metrics -----------------------------------------------------------------------------------------------------------


def arrived_points(*points: Any, kind: Any = None) -> tuple[Any, EncodingReport]:
    """Return the data of one metric as a receiver reads it, and what was counted."""
    report = EncodingReport()
    kind = kind or (lambda points: Sum(points, AggregationTemporality.CUMULATIVE, True))
    metric = Metric("m", "", "", kind(points))
    data = MetricsData([ResourceMetrics(Resource({}), [ScopeMetrics(SCOPE, [metric], "")], "")])
    request = ExportMetricsServiceRequest.FromString(encode_metrics(data, report=report))
    arrived = request.resource_metrics[0].scope_metrics[0].metrics[0]
    return getattr(arrived, arrived.WhichOneof("data")).data_points, report


GOOD_POINT = NumberDataPoint({"a": "1"}, 1, 2, 7)


def test_a_counter_beyond_64_bits_is_sent_as_a_double() -> None:
    """Upstream fails on it, and on every later export of the process."""
    points, report = arrived_points(GOOD_POINT, NumberDataPoint({"a": "2"}, 1, 2, 1 << 70), GOOD_POINT)
    assert [(point.as_int, point.as_double) for point in points] == [(7, 0.0), (0, float(1 << 70)), (7, 0.0)]
    assert report.reasons == {"number": 1}


def test_a_counter_beyond_all_doubles_is_infinite() -> None:
    """There is no better number for it."""
    points, report = arrived_points(NumberDataPoint({}, 1, 2, 10**400), NumberDataPoint({}, 1, 2, -(10**400)))
    assert [point.as_double for point in points] == [math.inf, -math.inf]
    assert report.altered == 2


@pytest.mark.parametrize("value", ["1", None, hostile.Raises()])
def test_a_point_without_a_number_is_lost_and_its_neighbours_arrive(value: Any) -> None:
    """A point with an invented number would be worse than none."""
    points, report = arrived_points(GOOD_POINT, NumberDataPoint({}, 1, 2, value), GOOD_POINT, kind=Gauge)
    assert [point.as_int for point in points] == [7, 7]
    assert report.lost == 1


@pytest.mark.parametrize("value", [True, Decimal("1.5")])
def test_a_point_with_an_odd_number_arrives(value: Any) -> None:
    """Whatever converts to a number is one."""
    points, report = arrived_points(NumberDataPoint({}, 1, 2, value), kind=Gauge)
    assert points[0].as_int + points[0].as_double == float(value)
    assert report.lost == 0


def test_bad_attributes_times_and_exemplars_of_a_point_are_mended_and_only_counted() -> None:
    """A mark among the attributes would make it another time series."""
    attributes: Any = {"a": "\ud800", "b": hostile.Raises(), "ok": 1}
    bad = NumberDataPoint(
        attributes,
        -5,
        2.5,  # type: ignore[arg-type]
        3,
        [Exemplar({}, "x", 1), Exemplar({"e": "\ud800"}, 1 << 70, 1, 2, 3)],  # type: ignore[arg-type]
    )
    points, report = arrived_points(GOOD_POINT, bad)
    point = points[1]
    assert attributes_of(point.attributes) == {"a": "\\ud800", "b": "<unreadable Raises>", "ok": 1}
    assert (point.start_time_unix_nano, point.time_unix_nano, point.as_int) == (0, 2, 3)
    assert [exemplar.as_double for exemplar in point.exemplars] == [float(1 << 70)]
    assert (report.altered, report.lost) == (1, 0)


def test_a_histogram_with_a_sum_beyond_all_doubles_arrives() -> None:
    """An integer histogram can sum up to what no double holds."""
    bad = HistogramDataPoint({}, 1, 2, 2, 10**400, (1, 1), (5.0,), -1, 10**400)
    points, report = arrived_points(bad, kind=lambda points: Histogram(points, AggregationTemporality.DELTA))
    assert (points[0].sum, points[0].max, list(points[0].bucket_counts)) == (math.inf, math.inf, [1, 1])
    assert report.reasons == {"number": 1}


def test_a_metric_with_a_bad_name_and_one_of_unknown_kind_cost_only_themselves() -> None:
    """Whatever a reader hands over."""
    report = EncodingReport()
    encoder = MetricEncoder(report)
    assert len(encoder.encode(Metric("a\ud800", None, None, Gauge([GOOD_POINT])))) == 1
    assert len(encoder.encode(Metric("b", None, None, object()))) == 0  # type: ignore[arg-type]
    assert encoder.encode(None) == []  # type: ignore[arg-type]
    assert (report.altered, report.lost) == (1, 2)


def test_a_huge_metric_is_sent_in_parts() -> None:
    """Each part fits a request of its own, and together they hold every point."""
    points = [NumberDataPoint({"a": "x" * 30_000, "n": number}, 1, 2, number) for number in range(300)]
    parts = MetricEncoder().encode(Metric("m", "", "", Gauge(points)))
    assert len(parts) == 3
    assert all(len(part) < MAX_RECORD_BYTES * 1.02 for part in parts)


# -- anything anywhere -------------------------------------------------------------------------------------------------

_values = st.sampled_from(range(len(hostile.VALUES))).map(lambda index: hostile.VALUES[index])


def _changes(kind: Any) -> st.SearchStrategy[dict[str, Any]]:
    names = [field.name for field in fields(kind) if field.name != "fixed"]
    return st.dictionaries(st.sampled_from(names), _values, max_size=5)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(_changes(Span), _values)
def test_no_field_of_a_span_can_hurt_its_neighbours(changed: dict[str, Any], value: Any) -> None:
    """Any hostile value in any field, in any combination."""
    spans, report = arrived_spans(GOOD_SPAN, Span(**{"scope": SCOPE, "attributes": {"a": value}, **changed}), GOOD_SPAN)
    assert sum(span.name == "good" for span in spans) == 2
    assert len(spans) + report.lost == 3


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(_changes(Log), _values)
def test_no_field_of_a_log_record_can_hurt_its_neighbours(changed: dict[str, Any], value: Any) -> None:
    """Any hostile value in any field, in any combination."""
    logs, report = arrived_logs(GOOD_LOG, Log(**{"scope": SCOPE, "attributes": {"a": value}, **changed}), GOOD_LOG)
    assert sum(log.body.string_value == "good" for log in logs) == 2
    assert len(logs) + report.lost == 3


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(_values, min_size=5, max_size=5))
def test_no_field_of_a_point_can_hurt_its_neighbours(values: list[Any]) -> None:
    """Any hostile value in any field, in any combination."""
    points, report = arrived_points(GOOD_POINT, NumberDataPoint(*values), GOOD_POINT)
    assert sum(point.as_int == 7 for point in points) >= 2
    assert len(points) + report.lost == 3


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(_values, st.booleans())
def test_the_careful_encoder_makes_a_valid_value_of_anything(value: Any, raw: bool) -> None:
    """Cleaned or raw, with a limit or without."""
    AnyValue.FromString(Careful(raw=raw).value(value))
    AnyValue.FromString(Careful(raw=raw, limit=3, large=True).value(value))
