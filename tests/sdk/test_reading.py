"""What instrumentations and processors of others read of a live span: the same as of upstream's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from tests.sdk.pairs import RESOURCE, CountingIds, lean_provider

ELSEWHERE = SpanContext(1, 2, is_remote=True)


def spans(*, ended: bool) -> list[Any]:
    """Return a child span with everything on it, of the lean provider and of upstream's."""
    found = []
    providers: list[Any] = [
        lean_provider(id_generator=CountingIds()),
        TracerProvider(resource=RESOURCE, id_generator=CountingIds(), shutdown_on_exit=False),
    ]
    for provider in providers:
        tracer = provider.get_tracer("reading", "1.0")
        with tracer.start_as_current_span("parent"):
            span = tracer.start_span(
                "child",
                kind=SpanKind.CLIENT,
                attributes={"a": 1},
                links=[Link(ELSEWHERE, {"of": "link"})],
                start_time=5,
            )
            span.add_event("event", {"of": "event"}, 6)
            span.set_status(Status(StatusCode.ERROR, "failed"))
            if ended:
                span.end(7)
        found.append(span)
    return found


NAMES = (
    "name",
    "kind",
    "start_time",
    "end_time",
    "parent",
    "resource",
    "instrumentation_scope",
    "context",
    "dropped_attributes",
    "dropped_events",
    "dropped_links",
)


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_plain_properties_are_those_of_upstream(name: str, ended: bool) -> None:
    """While the span is open and afterwards."""
    ours, theirs = spans(ended=ended)
    assert getattr(ours, name) == getattr(theirs, name)


def test_attributes_and_status_are_those_of_upstream() -> None:
    """Attributes as a mapping, the status as the API's object."""
    ours, theirs = spans(ended=False)
    assert dict(ours.attributes) == dict(theirs.attributes) == {"a": 1}
    assert (ours.status.status_code, ours.status.description) == (theirs.status.status_code, theirs.status.description)
    assert ours.status.is_ok is theirs.status.is_ok is False


def test_events_and_links_have_the_names_of_upstream() -> None:
    """Each with its own attributes."""
    for span in spans(ended=False):
        (event,), (link,) = span.events, span.links
        assert (event.name, event.timestamp, dict(event.attributes)) == ("event", 6, {"of": "event"})
        assert (link.context, dict(link.attributes)) == (ELSEWHERE, {"of": "link"})


def test_a_span_without_events_and_links_has_empty_ones() -> None:
    """They can be looped over."""
    span: Any = lean_provider().get_tracer("reading").start_span("bare")
    assert (list(span.events), list(span.links)) == ([], [])


def test_json_is_that_of_upstream() -> None:
    """The text, not just the data."""
    ours, theirs = spans(ended=True)
    assert ours.to_json() == theirs.to_json()
    assert json.loads(ours.to_json(indent=None)) == json.loads(theirs.to_json())


def test_the_current_span_is_the_recording_one() -> None:
    """An instrumentation that asks for it can read all of that."""
    tracer = lean_provider().get_tracer("reading")
    with tracer.start_as_current_span("current") as span:
        assert trace.get_current_span() is span
        assert isinstance(span, trace.Span) and span.is_recording()
