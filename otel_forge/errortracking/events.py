"""What happens to a Sentry event before it leaves: filters of the application, ours, the link to the trace, redaction.

Nothing here imports sentry-sdk: an event is a dictionary, and a hint says which exception it is about. The order is
that of `Gate.before_send`: the application's own functions see the whole event first; redaction comes last, so that
nothing they add slips by.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from opentelemetry import trace
from opentelemetry.trace import SpanContext, format_span_id, format_trace_id

from otel_forge.errortracking.network import is_network_error
from otel_forge.guard import guard
from otel_forge.sdk.captured import captured, find

Event = dict[str, Any]
Hint = Mapping[str, Any]
BeforeSend = Callable[[Event, Any], "Event | None"]

EVENT_ID_ATTRIBUTE = "sentry.event_id"
_RATIO_BITS = (1 << 64) - 1
_IDS = frozenset({"trace_id", "span_id", "parent_span_id", "timestamp", "type", "level"})
_OF_SDK = frozenset({"modules", "sdk", "event_id", "timestamp", "platform", "level"})
_RENAMED = {"http.query": "url.query", "http.fragment": "url.query"}
_PROBE = "…"
_DEEPEST = 64


class Redactor(Protocol):
    """What is needed of a redaction policy."""

    def text(self, text: str) -> str: ...

    def value(self, key: str, value: Any) -> Any: ...


_filters: list[BeforeSend] = []


def add_filter(function: BeforeSend) -> BeforeSend:
    """Ask `function(event, hint)` about every event before it goes to Sentry: it returns the event, or None to drop it.

    Filters are asked in the order of their addition, before ours. Usable as a decorator.
    """
    _filters.append(function)
    return function


class Gate:
    """Decides about the events of one Sentry client, and asks `policy` for what redacts them.

    `before` is a ``before_send`` that the client had of its own. `drops_network_errors` and `sample_rate` hold for
    clients that we made; `owns_trace` is False where the application lets Sentry trace.
    """

    def __init__(
        self,
        policy: Callable[[], Redactor],
        *,
        before: BeforeSend | None = None,
        sampler: Callable[[Event, Any], float] | None = None,
        sample_rate: float = 1.0,
        drops_network_errors: bool = False,
        owns_trace: bool = True,
    ) -> None:
        self._policy = policy
        self._before = before
        self._sampler = sampler
        self._sample_rate = sample_rate
        self._drops_network_errors = drops_network_errors
        self._owns_trace = owns_trace

    def before_send(self, event: Event, hint: Any) -> Event | None:
        """Return the event as it may leave, or None."""
        error = _error_of(hint)
        if error is not None and _is_repeated(error):
            return None
        self._link(event)
        asked = [self._before, *_filters] if self._before else _filters
        current = event
        for function in asked:
            kept = function(current, hint)
            if kept is None:
                return None
            current = kept
        if self._drops_network_errors and is_network_error(error, current):
            return None
        return self._redacted(current)

    def redacted(self, event: Event, hint: Any) -> Event | None:
        """Return an event of another kind than errors (a transaction, a log) without secrets, or None."""
        return self._redacted(event)

    def sample(self, event: Event, hint: Any) -> float:
        """Return 1 for an event that is sent, which is noted on span and exception, and 0 for one that is not."""
        rate = self._sampler(event, hint) if self._sampler else self._sample_rate
        context = trace.get_current_span().get_span_context()
        if not _is_chosen(rate, context):
            return 0.0
        with guard("noting the id of a Sentry event"):
            event_id, error = event.get("event_id"), _error_of(hint)
            if event_id:
                trace.get_current_span().set_attribute(EVENT_ID_ATTRIBUTE, event_id)
            if error is not None:
                known = captured(error)
                known.is_reported, known.event_id = True, event_id
        return 1.0

    def _link(self, event: Event) -> None:
        """Let the event carry the ids of the current OpenTelemetry span, and no others."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return
        ids = {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}
        name = "trace" if self._owns_trace else "opentelemetry"
        event.setdefault("contexts", {})[name] = ids

    def _redacted(self, event: Event) -> Event | None:
        """Return `event` without secrets; one that cannot be read to the end is not sent."""
        with guard("redacting a Sentry event"):
            cleaned: Event = _Redaction(self._policy()).of(event)
            return cleaned
        return None


def _error_of(hint: Any) -> BaseException | None:
    exc_info = hint.get("exc_info") if isinstance(hint, dict) else None
    error = exc_info[1] if isinstance(exc_info, tuple) and len(exc_info) > 1 else None
    return error if isinstance(error, BaseException) else None


def _is_repeated(error: BaseException) -> bool:
    """Return whether `error` was reported before: its log line and the frameworks it passes through report it again."""
    known = find(error)
    return known is not None and known.is_reported


def _is_chosen(rate: float, context: SpanContext) -> bool:
    """Return whether an error is in the share `rate`: the traces that a ratio sampler keeps keep their errors."""
    if rate >= 1.0:
        return True
    if context.is_valid:
        return (context.trace_id & _RATIO_BITS) < round(rate * (1 << 64))
    return random.random() < rate  # noqa: S311 - a share, not a secret


class _Redaction:
    """One way through an event; what stands under a key is judged by that key, as in any other sink."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def of(self, event: Event) -> Event:
        """Return `event` without secrets."""
        cleaned = {key: item if key in _OF_SDK else self._entry(key, item, 0) for key, item in event.items()}
        request = event.get("request")
        if isinstance(request, dict):
            cleaned["request"] = {**cleaned["request"], **self._renamed(request)}
        return cleaned

    def _renamed(self, request: Event) -> Event:
        """Return those parts of a request that go by names of their own in OpenTelemetry, and rules of their own."""
        parts: Event = {}
        if isinstance(request.get("query_string"), str):
            parts["query_string"] = self._redactor.value("url.query", request["query_string"])
        headers = request.get("headers")
        if isinstance(headers, dict):
            parts["headers"] = {
                name: self._redactor.value(f"http.request.header.{name.lower()}", value)
                for name, value in headers.items()
            }
        return parts

    def _walk(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):  # a member of a list under a key that names no secret
            return self._redactor.text(value)
        if depth > _DEEPEST:
            return "…"
        if isinstance(value, dict):
            is_query = (
                value.get("category") == "query"
            )  # a breadcrumb of a database call, whose message is the statement
            names = {"message": "db.query.text"} if is_query else _RENAMED
            return {key: self._entry(names.get(key, key), item, depth) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._member(item, depth) for item in value]
        return value

    def _entry(self, key: Any, value: Any, depth: int) -> Any:
        if not isinstance(key, str) or (key in _IDS and isinstance(value, str)):
            return value
        if not isinstance(value, (dict, list, tuple)):
            return self._redactor.value(key, value)
        verdict = self._redactor.value(key, _PROBE)
        return self._walk(value, depth + 1) if verdict == _PROBE else verdict

    def _member(self, item: Any, depth: int) -> Any:
        """Return a list's member; one that is a key and a value, as Sentry writes headers and tags, as such."""
        if isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str):
            return [item[0], self._entry(item[0], item[1], depth + 1)]
        return self._walk(item, depth + 1)
