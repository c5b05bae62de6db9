"""`capture_error`: what the application calls when it has caught something that somebody should look at."""

from __future__ import annotations

import logging
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, StatusCode

from otel_forge.errortracking import sentry
from otel_forge.guard import guard
from otel_forge.sdk import exceptions
from otel_forge.sdk.captured import Captured, captured

DEFAULT_COMPONENT = "unknown"


def capture_error(err: BaseException, /, component: str = DEFAULT_COMPONENT, **context: Any) -> str | None:
    """Record `err` on the current span, log it, and report it to Sentry where that is configured.

    `component` names the logger and is a tag in Sentry; `context` becomes fields of the log record, attributes of the
    span's event and extra data in Sentry. Whatever happens to the exception afterwards, it is logged and reported once,
    and capturing it again changes nothing. Returns the id of the Sentry event, or None if there is none. Never raises.
    """
    with guard("capturing an error"):
        error = err if isinstance(err, BaseException) else RuntimeError(str(err))
        known = captured(error)
        mark_span(trace.get_current_span(), error, known, {"component": component, **context})
        if not known.is_reported:
            with guard("reporting an error to Sentry"):
                known.event_id = sentry.report(error, component, context)
            known.is_reported = True
        if not known.is_logged:
            known.is_logged = True
            _log(error, component, context)
        return known.event_id
    return None


def mark_span(span: Span, error: BaseException, known: Captured, context: dict[str, Any]) -> None:
    """Give `span` the event of `error` and the status ERROR, unless it has them."""
    span_id = span.get_span_context().span_id
    if not span.is_recording() or span_id in known.span_ids:
        return
    known.span_ids.add(span_id)
    span.record_exception(error, attributes={key: _plain(value) for key, value in context.items()})
    span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {exceptions.message(error)}")


def _plain(value: Any) -> str | bool | int | float:
    """Return `value` as an attribute; what is no plain value is shown, if it can be."""
    if isinstance(value, (str, bool, int, float)):
        return value
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - the application's own __repr__
        return f"<{type(value).__name__}>"


def _log(error: BaseException, component: str, context: dict[str, Any]) -> None:
    """Log `error` under the name of the component; fields travel as those of `otel_forge.logs` do."""
    text = f"{type(error).__name__}: {exceptions.message(error)}"
    exc_info = (type(error), error, error.__traceback__)
    fields = {"otel_forge_fields": dict(context)} if context else {}
    logging.getLogger(component or DEFAULT_COMPONENT).error("%s", text, exc_info=exc_info, extra=fields)
