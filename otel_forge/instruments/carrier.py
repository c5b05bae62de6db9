"""Trace context into and out of headers, the short way where the propagators are W3C's.

The composite propagator of the default setting costs about nine microseconds for a request that brings
nothing along. Its result is known without asking when the headers it reads are not there, and plain
enough when ``traceparent`` is as everybody writes it; whatever is unusual goes to the propagators.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

from opentelemetry import baggage, propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import NonRecordingSpan, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otel_forge.sdk.current import SPAN_KEY
from otel_forge.sdk.span import LeanSpan, make_span_context

NOTHING = Context()

_BAGGAGE_KEY = next(iter(baggage.set_baggage("key", "value", Context())))
_TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})").fullmatch
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_LONGEST_STATE = 512

_NONE = object()
_known: Any = None
_known_is_w3c = False


class EnvironGetter(Getter[Mapping[str, Any]]):
    """Reads headers out of a WSGI environ."""

    def get(self, carrier: Mapping[str, Any], key: str) -> list[str] | None:
        """Return the header `key` as a list of one text, or None."""
        value = carrier.get("HTTP_" + key.upper().replace("-", "_"))
        return None if value is None else [value]

    def keys(self, carrier: Mapping[str, Any]) -> list[str]:
        """Return the names of all headers."""
        return [name[5:].lower().replace("_", "-") for name in carrier if name.startswith("HTTP_")]


_getter = EnvironGetter()


def extract(environ: Mapping[str, Any]) -> Context:
    """Return the context that the headers of a request bring along."""
    if not is_w3c():
        return propagate.extract(environ, getter=_getter)
    parent = environ.get("HTTP_TRACEPARENT")
    if "HTTP_BAGGAGE" in environ:
        return propagate.extract(environ, getter=_getter)
    if parent is None:
        return NOTHING
    found = _TRACEPARENT(parent)
    state = environ.get("HTTP_TRACESTATE")
    if found is None or (state is not None and len(state) > _LONGEST_STATE):
        return propagate.extract(environ, getter=_getter)
    trace_id, span_id, flags = found.groups()
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return NOTHING
    trace_state = None if state is None else TraceState.from_header([state])
    remote = make_span_context(int(trace_id, 16), int(span_id, 16), True, int(flags, 16), trace_state)
    return Context({SPAN_KEY: NonRecordingSpan(remote)})


def inject(span: Any, context: Context, headers: MutableMapping[str, str]) -> None:
    """Write `context`, whose current span is `span`, into the headers of an outgoing request."""
    if type(span) is not LeanSpan or span.trace_state or _BAGGAGE_KEY in context or not is_w3c():
        propagate.inject(headers, context=context)
        return
    headers["traceparent"] = f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


def w3c_propagator() -> Any:
    """Return the global propagator if it is W3C's, and otherwise something that no propagator is."""
    return _known if is_w3c() else _NONE


def is_w3c() -> bool:
    """Return whether the global propagator is trace context and baggage, in this order; remembered for each object."""
    global _known, _known_is_w3c
    current = propagate.get_global_textmap()
    if current is not _known:
        parts = getattr(current, "_propagators", ()) if type(current) is CompositePropagator else ()
        _known_is_w3c = [type(part) for part in parts] == [TraceContextTextMapPropagator, W3CBaggagePropagator]
        _known = current
    return _known_is_w3c
