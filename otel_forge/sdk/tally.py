"""What a request spends on its database and on other services, counted as these calls end.

The tally of a request lies in its context, so it goes wherever the context goes: into threads, executors and tasks. Our
own instruments add to it themselves, sampled or not; spans of other instrumentations add themselves as they end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import RLock
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from otel_forge.guard import guard
from otel_forge.sdk.current import current_context

if TYPE_CHECKING:
    from otel_forge.sdk.span import LeanSpan

TALLY_KEY = "otel_forge.tally"
"""Under which a context holds the tally of its request, if somebody wants one."""

_DATABASE = ("db.system.name", "db.system")
_UPSTREAM = ("http.request.method", "http.method", "rpc.system")
_CLIENT = SpanKind.CLIENT


class Tally:
    """Calls of one request: how many, and how long they took together (nanoseconds)."""

    __slots__ = ("_lock", "call_time", "calls", "queries", "query_time")

    def __init__(self) -> None:
        self.queries = self.query_time = self.calls = self.call_time = 0
        self._lock = RLock()

    def add_query(self, nanoseconds: int) -> None:
        """Count a statement."""
        with self._lock:
            self.queries += 1
            self.query_time += nanoseconds

    def add_call(self, nanoseconds: int) -> None:
        """Count a call of another service."""
        with self._lock:
            self.calls += 1
            self.call_time += nanoseconds

    def add(self, attributes: Mapping[str, Any], nanoseconds: int) -> None:
        """Count a client span by what its attributes say it is."""
        if any(key in attributes for key in _DATABASE):
            self.add_query(nanoseconds)
        elif any(key in attributes for key in _UPSTREAM):
            self.add_call(nanoseconds)


def count_lean_span(span: LeanSpan) -> None:
    """Add a span of another instrumentation that has just ended to the tally of the request that is served here."""
    tally = current_context().get(TALLY_KEY)
    if isinstance(tally, Tally) and span.end_time is not None:
        with guard("counting a call for the request log"):
            tally.add(span.attributes, span.end_time - span.start_time)


class TallyProcessor:
    """Does the same as a processor of upstream's provider; `find` returns the tally of the request that is served.

    The context alone does not tell: upstream's instrumentation of Flask begins each request with a context of its own.
    """

    def __init__(self, find: Callable[[], Tally | None]) -> None:
        self._find = find

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Do nothing."""

    def _on_ending(self, span: Any) -> None:
        """Do nothing."""

    def on_end(self, span: Any) -> None:
        """Count `span` if it is a client's, and a request is being served here."""
        if span.kind is not _CLIENT:
            return
        with guard("counting a call for the request log"):
            tally = self._find()
            if tally is not None:
                tally.add(span.attributes or {}, span.end_time - span.start_time)

    def shutdown(self) -> None:
        """Do nothing."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Return that nothing is left."""
        return True
