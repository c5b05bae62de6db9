"""How instruments make spans: short where the core allows it, by the API where somebody wants to be asked or told."""

from __future__ import annotations

from typing import Any

from opentelemetry import context as context_api
from opentelemetry.context import Context

from otel_forge.guard import guard
from otel_forge.sdk import captured, exceptions
from otel_forge.sdk.span import ERROR, OK, LeanSpan

SUPPRESSED_KEYS: tuple[str, str] = (
    getattr(context_api, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation"),
    "suppress_instrumentation",
)
"""A context that holds one of these with a true value wants no instrumentation (the second is the old name)."""

SUPPRESSED_HTTP_KEY: str = getattr(context_api, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", "suppress_http_instrumentation")
_SUPPRESSED, _SUPPRESSED_ONCE = SUPPRESSED_KEYS


def is_suppressed(context: Context) -> bool:
    """Return whether `context` wants no instrumentation."""
    return bool(context.get(_SUPPRESSED) or context.get(_SUPPRESSED_ONCE))


def complete(span: LeanSpan, fixed: Any, own: dict[str, Any]) -> None:
    """Give `span` the instrument's attributes, as if they had been set first: what the application set stays."""
    if span.own:
        own.update(span.own)
    span.own = own
    span.fixed = fixed


def mark_failed(span: LeanSpan, description: str | None = None) -> None:
    """Set the status to ERROR unless the application has said OK."""
    if span.status_code != OK:
        span.status_code = ERROR
        span.status_description = description


def record(span: LeanSpan, error: BaseException, time: int, *, describe: bool = True) -> None:
    """Add the event of `error`, and the status as a block that it leaves would set it."""
    if not captured.is_recorded(error, span.span_id):
        attributes = description_of(error)
        attributes["exception.escaped"] = "False"
        span._append_event("exception", attributes, time)
        span._unsettled = True
    if describe:
        mark_failed(span, f"{type(error).__name__}: {exceptions.message(error)}")


def complain(action: str) -> None:
    """Say the exception that is being handled, as `guard` does; a block of `guard` would cost every request."""
    with guard(action):
        raise


_expected: dict[int, Any] = {}
"""By identity, exceptions that will be recorded on a span when their request ends, and what has been said of them."""


def expect(error: BaseException) -> None:
    """Announce that `error` will be recorded later; the caller keeps it alive until it calls `forget`."""
    _expected[id(error)] = None


def forget(error: BaseException) -> None:
    """Take back `expect`."""
    _expected.pop(id(error), None)


def description_of(error: BaseException) -> dict[str, Any]:
    """Return the attributes that describe `error`.

    The log record and the span of a failed request describe the same exception: its summary is made once, and its
    stack trace formatted once.
    """
    key, traceback = id(error), error.__traceback__
    if key not in _expected:
        return exceptions.exception_attributes(error)
    known = _expected[key]
    if known is None or known[0] is not traceback:
        known = _expected[key] = traceback, exceptions.exception_attributes(error)
    return dict(known[1])
