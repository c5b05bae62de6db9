"""The error boundary of a Flask app: an unhandled error gives the user a clean answer, never the stack.

It is the app's handler of status 500 and lets Flask decide what is unhandled. So the app's own error handlers and
HTTP errors are as ever, an app in debug or with ``PROPAGATE_EXCEPTIONS`` raises as ever, and an error in the middle of
a streamed response, when status and headers are gone, ends the stream as ever.

Where our Flask instrument is not around a request, the boundary ends what `bind_context` has added in it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flask
from flask import Flask, Response, request_started
from flask.typing import ResponseReturnValue
from markupsafe import escape
from opentelemetry import trace
from opentelemetry.trace import format_trace_id
from werkzeug.exceptions import InternalServerError

from otel_forge.errortracking import sentry
from otel_forge.errortracking.capture import capture_error, mark_span
from otel_forge.guard import guard
from otel_forge.logs.context import context_fields, restore_context
from otel_forge.sdk import exceptions
from otel_forge.sdk.captured import captured

PROBLEM_JSON = "application/problem+json"
_STATUS = 500
_TITLE = "Something went wrong"
_DETAIL = "The request could not be completed because of an error on our side."
_OUR_INSTRUMENT = "otel_forge.request"
_RECORDED_BY_OTHERS = (_OUR_INSTRUMENT, "opentelemetry-flask.activation_key")
"""What our Flask instrument and upstream's put into the environ: both record an unhandled error as a request ends."""
_LOGGED_ID, _FIELDS_BEFORE = "otel_forge.incident", "otel_forge.log_fields"
"""What we put there: the incident id that is in the log, and the context fields of before the request."""
_COMPONENT = "flask"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1rem;
  color: #222; background: #fff }}
code {{ user-select: all }}
@media (prefers-color-scheme: dark) {{ body {{ color: #ddd; background: #181818 }} a {{ color: #8cf }} }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{detail}</p>
<p>If you report it, mention this number: <code>{incident}</code></p>
<p><a href="">Reload the page</a></p>
</main>
</body>
</html>
"""


@dataclass(frozen=True)
class Incident:
    """An unhandled error as a fallback sees it; `id` may be shown to users, `error` must not.

    The id is the trace id; without a trace it is a number that stands beside the error in the log.
    """

    id: str
    error: BaseException
    wants_html: bool
    title: str = _TITLE
    detail: str = _DETAIL
    status: int = _STATUS


Fallback = Callable[[Incident], ResponseReturnValue]


class ErrorBoundary:
    """Answers unhandled errors of an app: ``ErrorBoundary(app)``, or ``init_app`` later.

    `fallback` makes the answer in the place of the default page; what it returns is taken as a view's, with status 500
    unless it says another. A fallback that raises is captured, and the default page is sent.
    """

    def __init__(self, app: Flask | None = None, *, fallback: Fallback | None = None) -> None:
        self._fallback = fallback
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Become the app's handler of unhandled errors, unless it has one for status 500; each is logged once."""
        if not app.error_handler_spec[None][_STATUS]:
            app.register_error_handler(InternalServerError, self.answer)
        setattr(app, "log_exception", _logging_once(app))  # noqa: B010 - mypy forbids it otherwise
        request_started.connect(_note_fields, app)
        app.teardown_request(_restore_fields)

    def answer(self, error: InternalServerError) -> ResponseReturnValue:
        """Return the answer to an unhandled error; an ``abort(500)`` is the app's own word and stays."""
        original = error.original_exception
        if original is None:
            return error
        incident = Incident(_incident_id(original), original, wants_html())
        with guard("recording an unhandled error"):
            _record(original)
        return self._fallen_back(incident) or default_answer(incident)

    def _fallen_back(self, incident: Incident) -> Response | None:
        if self._fallback is None:
            return None
        try:
            made = self._fallback(incident)
            response = flask.current_app.make_response(made)
            says_status = isinstance(made, Response) or (isinstance(made, tuple) and isinstance(made[1], int))
            response.status_code = response.status_code if says_status else incident.status
        except Exception as error:  # noqa: BLE001 - the fallback is the application's own; the default page serves
            capture_error(error, component="error_boundary", incident=incident.id)
            return None
        return response


def default_answer(incident: Incident) -> Response:
    """Return the default page, or problem+json (RFC 9457) for clients that do not ask for HTML."""
    if incident.wants_html:
        words = {"title": incident.title, "detail": incident.detail, "incident": incident.id}
        text, kind = _PAGE.format(**{name: escape(word) for name, word in words.items()}), "text/html; charset=utf-8"
    else:
        problem = {
            "type": "about:blank",
            "title": "Internal Server Error",
            "status": incident.status,
            "detail": incident.detail,
            "incident_id": incident.id,
        }
        text, kind = json.dumps(problem) + "\n", PROBLEM_JSON
    return Response(text, incident.status, {"Cache-Control": "no-store"}, content_type=kind)


def _incident_id(error: BaseException) -> str:
    """Return the trace id; without a trace, a number of the same form that is in the log, too."""
    return _trace_id() or flask.request.environ.get(_LOGGED_ID) or _logged_number(error)


def _trace_id() -> str:
    context = trace.get_current_span().get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else ""


def _logged_number(error: BaseException) -> str:
    """Return a new number, and log what it is about: an error that was logged before, or in the app's own way."""
    number = uuid.uuid4().hex
    with guard("logging the number of an incident"):
        what = f"{type(error).__name__}: {exceptions.message(error)}"
        flask.current_app.logger.warning("Incident %s is about %s", number, what)
    return number


def wants_html() -> bool:
    """Return whether the client prefers HTML to JSON; one that takes anything gets JSON."""
    accepted = flask.request.accept_mimetypes
    html = max(accepted.quality("text/html"), accepted.quality("application/xhtml+xml"))
    as_json = max(accepted.quality("application/json"), accepted.quality(PROBLEM_JSON))
    return html > as_json


def _record(error: BaseException) -> None:
    """See to it that the error is on the span and in Sentry, where nobody else does that."""
    known = captured(error)
    if not any(key in flask.request.environ for key in _RECORDED_BY_OTHERS):
        mark_span(trace.get_current_span(), error, known, {})
    if not known.is_reported:  # Sentry's Flask integration, where it is on, has reported it by now
        known.event_id = sentry.report(error, _COMPONENT, {})
        known.is_reported = True


def _logging_once(app: Flask) -> Callable[[Any], None]:
    """Return the app's ``log_exception`` for errors that have not been logged."""
    log_exception = app.log_exception
    is_flasks_own = getattr(log_exception, "__func__", None) is Flask.log_exception

    def log_once(exc_info: Any) -> None:
        error = exc_info[1] if exc_info else None
        known = captured(error) if isinstance(error, BaseException) else None
        if known is None or not known.is_logged:
            log = log_exception if _trace_id() or not is_flasks_own else _log_with_number
            log(exc_info)
        if known is not None:
            known.is_logged = True

    return log_once


def _log_with_number(exc_info: Any) -> None:
    """Log an error as Flask does, and with it the number that the user is shown."""
    request = flask.request
    number = request.environ[_LOGGED_ID] = uuid.uuid4().hex
    flask.current_app.logger.error(
        "Exception on %s [%s] (incident %s)", request.path, request.method, number, exc_info=exc_info
    )


def _note_fields(app: Flask, **_: Any) -> None:
    """Note the context fields of before a request, unless our instrument ends those of the request."""
    environ = flask.request.environ
    if _OUR_INSTRUMENT not in environ:
        environ[_FIELDS_BEFORE] = context_fields()


def _restore_fields(_: BaseException | None) -> None:
    """End what was bound in a request: the next one on this thread is somebody else's."""
    before = flask.request.environ.pop(_FIELDS_BEFORE, None)
    if before is not None:
        restore_context(before)
