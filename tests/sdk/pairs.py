"""The same calls on the lean provider and on upstream's, and what their processors see."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Sampler
from opentelemetry.trace import SpanContext

from otel_forge.sdk.limits import RecordLimits
from otel_forge.sdk.tracer import LeanTracerProvider

FRAME_OF_UPSTREAM = re.compile(r'  File "[^"]*/site-packages/opentelemetry/[^"]*".*\n(?:    .*\n)*')
RESOURCE = Resource({"service.name": "pairs"})


class CountingIds(IdGenerator):
    """Ids that count up, so that two providers draw the same."""

    def __init__(self, random: bool = True) -> None:
        self._next = 0
        self._is_random = random

    def generate_span_id(self) -> int:
        self._next += 1
        return self._next

    def generate_trace_id(self) -> int:
        self._next += 1
        return self._next << 64 | self._next

    def is_trace_id_random(self) -> bool:
        return self._is_random


class Watching(SpanProcessor):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.started: list[Any] = []
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.started.append(span)

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)


def lean_provider(sink: Callable[[Any], object] = lambda span: None, **options: Any) -> LeanTracerProvider:
    return LeanTracerProvider(sink, RESOURCE, **options)


def both(
    calls: Callable[[Any], object],
    *,
    sampler: Sampler = DEFAULT_ON,
    limits: RecordLimits | None = None,
    random_ids: bool = True,
) -> tuple[list[ReadableSpan], list[ReadableSpan]]:
    """Return the spans that upstream and lean processors saw end while `calls` used a tracer of theirs."""
    limits = limits or RecordLimits()
    upstream = TracerProvider(
        resource=RESOURCE,
        sampler=sampler,
        id_generator=CountingIds(random_ids),
        span_limits=limits.as_upstream(),
        shutdown_on_exit=False,
    )
    lean = lean_provider(sampler=sampler, id_generator=CountingIds(random_ids), limits=limits)
    seen = []
    for provider in (upstream, lean):
        watching = Watching()
        provider.add_span_processor(watching)
        calls(provider.get_tracer("pairs", "1.0", "https://schema", {"scope": "attribute"}))
        seen.append(watching.ended)
    return seen[0], seen[1]


def facts(span: ReadableSpan) -> dict[str, Any]:
    """Return everything about a span but the times that it took from the clock."""
    return {
        "name": span.name,
        "context": context_facts(span.context),
        "parent": context_facts(span.parent),
        "kind": span.kind,
        "attributes": list((span.attributes or {}).items()),
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "events": [
            (event.name, without_frames_of_upstream(event.attributes), getattr(event, "dropped_attributes", 0))
            for event in span.events
        ],
        "links": [(context_facts(link.context), dict(link.attributes or {})) for link in span.links],
        "status": (span.status.status_code, span.status.description),
        "scope": span.instrumentation_scope,
        "resource": span.resource,
    }


def without_frames_of_upstream(attributes: Any) -> dict[str, Any]:
    """Return `attributes` with a stack trace that does not go through upstream's own context managers."""
    kept = dict(attributes or {})
    if "exception.stacktrace" in kept:
        kept["exception.stacktrace"] = FRAME_OF_UPSTREAM.sub("", kept["exception.stacktrace"])
    return kept


def context_facts(context: SpanContext | None) -> tuple[Any, ...] | None:
    if context is None:
        return None
    return (
        context.trace_id,
        context.span_id,
        context.is_remote,
        int(context.trace_flags),
        dict(context.trace_state),
        context.is_valid,
    )


def all_facts(spans: Sequence[ReadableSpan]) -> Iterator[dict[str, Any]]:
    return (facts(span) for span in spans)
