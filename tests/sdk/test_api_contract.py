"""The API contract: each case is called on upstream's tracer and on ours, and processors see equal spans."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import sampling
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from otel_forge.sdk.limits import RecordLimits
from tests.sdk.pairs import all_facts, both

REMOTE = SpanContext(0xABC, 0xDEF, True, TraceFlags(3), TraceState([("vendor", "x")]))
NOT_SAMPLED = SpanContext(0xABC, 0xDEF, True, TraceFlags(0), TraceState([("vendor", "x")]))


class Colour(str, enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    SMALL = 1


def attributes_of_all_types(tracer: Any) -> None:
    with tracer.start_as_current_span(
        "types",
        attributes={
            "text": "a",
            "bytes": b"b",
            "int": 1,
            "bool": True,
            "float": 1.5,
            "none": None,
            "list": ["a", 1, [2.0]],
            "mixed": (1, "a", None),
            "map": {"a": 1, "": 2, 3: "three"},
            "object": object(),
            "datetime": datetime(2026, 1, 2),
            "decimal": Decimal("1.10"),
            "str enum": Colour.RED,
            "int enum": Size.SMALL,
            "set": {1},
        },
    ) as span:
        span.set_attribute("later", [1, 2])
        span.set_attribute("", "no key")
        span.set_attribute(7, "no text")
        span.set_attributes({"many": 1, "": 2, 8: "eight", "later": 2})


def mutable_values_are_copied(tracer: Any) -> None:
    values = ["a"]
    nested = {"list": values}
    span = tracer.start_span("copied", attributes={"values": values})
    span.set_attribute("nested", nested)
    span.add_event("event", {"values": values})
    values.append("b")
    nested["more"] = values
    span.end()


def events_and_links(tracer: Any) -> None:
    link = Link(REMOTE, {"a": [1]})
    span = tracer.start_span("links", links=[link, Link(trace.INVALID_SPAN_CONTEXT), None])
    span.add_event("plain")
    span.add_event("full", {"a": 1, "b": [1, 2], "": 3}, 42)
    span.add_link(REMOTE, {"b": "c"})
    span.add_link(trace.INVALID_SPAN_CONTEXT)
    span.add_link(trace.INVALID_SPAN_CONTEXT, {"says": "something"})
    span.add_link(None)
    span.end()


def kinds(tracer: Any) -> None:
    for kind in SpanKind:
        tracer.start_span("kind", kind=kind).end()


def statuses(tracer: Any) -> None:
    cases: list[list[tuple[Any, Any]]] = [
        [(StatusCode.OK, None), (StatusCode.ERROR, "late")],
        [(StatusCode.ERROR, "first"), (StatusCode.ERROR, "second")],
        [(StatusCode.ERROR, "first"), (StatusCode.OK, None)],
        [(StatusCode.ERROR, "first"), (StatusCode.UNSET, None)],
        [(StatusCode.OK, "ignored")],
        [(StatusCode.ERROR, 7)],
        [(Status(StatusCode.ERROR, "in it"), "beside it")],
        [(Status(StatusCode.OK), None), (Status(StatusCode.ERROR, "late"), None)],
        [(Status(StatusCode.UNSET), None)],
        [("no status", None)],
    ]
    for steps in cases:
        span = tracer.start_span("status")
        for status, description in steps:
            span.set_status(status, description)
        span.end()


def nothing_happens_after_the_end(tracer: Any) -> None:
    span = tracer.start_span("ended")
    span.set_attribute("before", 1)
    span.end(1000)
    assert not span.is_recording()
    span.set_attribute("after", 1)
    span.set_attributes({"after": 1})
    span.add_event("after")
    span.add_link(REMOTE)
    span.record_exception(ValueError())
    span.set_status(StatusCode.ERROR)
    span.update_name("after")
    span.end(2000)


def times_and_names(tracer: Any) -> None:
    span = tracer.start_span("old name", start_time=123)
    assert span.is_recording()
    span.update_name("new name")
    span.end(456)


def parents(tracer: Any) -> None:
    with tracer.start_as_current_span("root"):
        with tracer.start_as_current_span("child"):
            tracer.start_span("grandchild").end()
        tracer.start_span("detached", context=Context()).end()
    tracer.start_span("of remote", context=in_context(NonRecordingSpan(REMOTE))).end()
    tracer.start_span("of invalid", context=in_context(trace.INVALID_SPAN)).end()
    span = tracer.start_span("explicit")
    tracer.start_span("child of explicit", context=in_context(span)).end()
    span.end()


def not_sampled_parents(tracer: Any) -> None:
    context = in_context(NonRecordingSpan(NOT_SAMPLED))
    with tracer.start_as_current_span("unsampled", context=context) as span:
        assert not span.is_recording()
        tracer.start_span("child of it").end()
        context_of_it = span.get_span_context()
        assert context_of_it.trace_state == NOT_SAMPLED.trace_state
        assert (context_of_it.trace_id, int(context_of_it.trace_flags)) == (NOT_SAMPLED.trace_id, 0)


def exceptions_leave_blocks(tracer: Any) -> None:
    with pytest.raises(ValueError), tracer.start_as_current_span("escapes"):
        raise ValueError("a reason")
    with pytest.raises(KeyboardInterrupt), tracer.start_as_current_span("is no error"):
        raise KeyboardInterrupt
    options = {"record_exception": False, "set_status_on_exception": False}
    with pytest.raises(ValueError), tracer.start_as_current_span("unrecorded", **options):
        raise ValueError("a reason")
    with pytest.raises(ValueError), tracer.start_span("as context manager"):
        raise ValueError("a reason")
    with pytest.raises(ValueError), tracer.start_span("quietly", **options):
        raise ValueError("a reason")
    with pytest.raises(ValueError), tracer.start_as_current_span("not ended", end_on_exit=False) as span:
        raise ValueError("a reason")
    assert span.is_recording()
    span.end()


class QualifiedError(Exception):
    """An exception whose name has a module."""


def recorded_exceptions(tracer: Any) -> None:
    span = tracer.start_span("recorded")
    try:
        try:
            dict.__getitem__({}, "missing")
        except KeyError as error:
            raise QualifiedError("outer") from error
    except QualifiedError as error:
        span.record_exception(error)
        span.record_exception(error, {"exception.message": "mine", "more": 1}, 42, escaped=True)
    span.record_exception(ValueError("never raised"))
    span.end()


def decorated(tracer: Any) -> None:
    @tracer.start_as_current_span("decorated")  # type: ignore[untyped-decorator]
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    @tracer.start_as_current_span("decorated coroutine")  # type: ignore[untyped-decorator]
    async def wait() -> str:
        await asyncio.sleep(0)
        tracer.start_span("inside").end()
        return "waited"

    assert add(1, 2) == add(1, b=2) == 3
    assert add.__name__ == "add"
    assert asyncio.run(wait()) == "waited"


def used_spans(tracer: Any) -> None:
    span = tracer.start_span("used")
    with trace.use_span(span, end_on_exit=True):
        assert trace.get_current_span() is span
        tracer.start_span("child").end()
    with pytest.raises(ValueError), trace.use_span(tracer.start_span("fails"), end_on_exit=True):
        raise ValueError("a reason")


CASES: list[Callable[[Any], None]] = [
    attributes_of_all_types,
    mutable_values_are_copied,
    events_and_links,
    kinds,
    statuses,
    nothing_happens_after_the_end,
    times_and_names,
    parents,
    not_sampled_parents,
    exceptions_leave_blocks,
    recorded_exceptions,
    decorated,
    used_spans,
]


def in_context(span: Any) -> Context:
    return set_span_in_context(span, Context())


@pytest.mark.parametrize("calls", CASES, ids=lambda calls: calls.__name__)
def test_spans_equal_those_of_upstream(calls: Callable[[Any], None], caplog: pytest.LogCaptureFixture) -> None:
    """Every field, in order, except what the clock says."""
    with caplog.at_level(logging.CRITICAL):
        upstream, lean = both(calls)
    assert list(all_facts(lean)) == list(all_facts(upstream))


def test_given_times_are_kept_and_taken_ones_are_in_order() -> None:
    """Start, event and end stand in the order in which they happened."""
    _, lean = both(times_and_names)
    assert (lean[0].start_time, lean[0].end_time) == (123, 456)
    _, lean = both(events_and_links)
    span = lean[0]
    assert span.start_time is not None and span.end_time is not None
    assert span.start_time <= span.events[0].timestamp <= span.end_time
    assert span.events[1].timestamp == 42


class Peculiar(Sampler):
    """Decides by the name, adds attributes and changes the trace state."""

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        links: Any = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        decision = {"drop": Decision.DROP, "record": Decision.RECORD_ONLY}.get(name, Decision.RECORD_AND_SAMPLE)
        return SamplingResult(decision, {"sampler": "peculiar", **(attributes or {})}, TraceState([("by", "sampler")]))

    def get_description(self) -> str:
        return "Peculiar"


def sampled_in_all_ways(tracer: Any) -> None:
    for name in ("drop", "record", "sample"):
        with tracer.start_as_current_span(name, attributes={"a": [1]}) as span:
            tracer.start_span(f"child of {name}").end()
            assert dict(span.get_span_context().trace_state) in ({}, {"by": "sampler"}, {"vendor": "x"})
    for parent in (REMOTE, NOT_SAMPLED):
        tracer.start_span("of remote", context=in_context(NonRecordingSpan(parent))).end()


SAMPLERS = [
    sampling.ALWAYS_ON,
    sampling.ALWAYS_OFF,
    sampling.DEFAULT_ON,
    sampling.DEFAULT_OFF,
    sampling.TraceIdRatioBased(0.5),
    sampling.ParentBasedTraceIdRatio(0.5),
    sampling.ParentBased(sampling.ALWAYS_ON, local_parent_sampled=sampling.ALWAYS_OFF),
    sampling.AlwaysRecordSampler(sampling.ALWAYS_OFF),
    Peculiar(),
]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.get_description()[:40])
@pytest.mark.parametrize("random_ids", [True, False], ids=["random", "not random"])
def test_samplers_decide_as_upstream(sampler: Sampler, random_ids: bool) -> None:
    """Decision, attributes, trace state and the random flag of every span that processors see."""
    upstream, lean = both(sampled_in_all_ways, sampler=sampler, random_ids=random_ids)
    assert list(all_facts(lean)) == list(all_facts(upstream))


def over_all_limits(tracer: Any) -> None:
    attributes = {f"key {number}": "x" * number for number in range(8)}
    links = [Link(SpanContext(1, number + 1, False), attributes) for number in range(5)]
    span = tracer.start_span("limits", attributes=attributes, links=links)
    span.set_attribute("key 6", "set again")
    span.set_attribute("key 0", "back again")
    span.set_attributes({"new": ["long text", 1], "deep": {"a": "long text"}})
    for number in range(6):
        span.add_event(f"event {number}", attributes)
        span.add_link(SpanContext(2, number + 1, True), {"link": "long text"})
    span.record_exception(ValueError("a long reason"))
    span.end()


@pytest.mark.parametrize(
    "limits",
    [
        RecordLimits(),
        RecordLimits(attributes=3, attribute_length=4, events=2, links=3, event_attributes=2, link_attributes=1),
        RecordLimits(attributes=0, attribute_length=0, events=0, links=0, event_attributes=0, link_attributes=0),
        RecordLimits(attributes=1, events=1, links=1, event_attributes=1, link_attributes=1),
    ],
    ids=["default", "small", "none", "one"],
)
def test_limits_cut_as_upstream(limits: RecordLimits, caplog: pytest.LogCaptureFixture) -> None:
    """The same keys survive in the same order, texts are cut alike, and the counts of what was dropped agree."""
    with caplog.at_level(logging.CRITICAL):
        upstream, lean = both(over_all_limits, limits=limits)
    assert list(all_facts(lean)) == list(all_facts(upstream))


class Nasty:
    def __str__(self) -> str:
        raise RuntimeError("no text")


class NastyMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no item")

    def __iter__(self) -> Any:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


def test_what_raises_upstream_does_not_reach_the_application() -> None:
    """Values without a text, cycles, mappings that raise, arguments of the wrong type."""
    from tests.sdk.pairs import lean_provider

    ended: list[Any] = []
    tracer = lean_provider(ended.append).get_tracer("t")
    cycle: list[Any] = [1]
    cycle.append(cycle)
    wide: Any = "x"
    for _ in range(60):
        wide = [wide, wide]
    hostile: Any = {"nasty": Nasty(), "list": [Nasty()], "cycle": cycle, "wide": wide, "mapping": NastyMapping()}
    attributes: Any
    for attributes in (hostile, NastyMapping(), [1, 2], 7, "text"):
        span = tracer.start_span("hostile", attributes=attributes)
        span.set_attributes(attributes)
        span.add_event("event", attributes)
        span.add_link(REMOTE, attributes)
        span.record_exception(ValueError(Nasty()), attributes)
        span.end()
    span = tracer.start_span("keys")
    span.set_attribute([], "unhashable")  # type: ignore[arg-type]
    span.set_attribute("nasty", Nasty())  # type: ignore[arg-type]
    span.end()
    assert len(ended) == 6
    assert isinstance(ended[0], Span)
