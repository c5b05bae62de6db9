"""The request log: one wide event for each request, through the standard library's logging.

Its logger is ``otel_forge.request``, so its lines are where the application's are: on the console, in files, in
telemetry with the trace id of the request. What is the same for all requests of a route with the same status is worked
out once. Nothing of the request's own text is in it: no path, no query, no header.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from typing import Any

import flask
from flask.signals import request_started
from opentelemetry import trace

from otel_forge.guard import guard
from otel_forge.instruments.bounded import Bounded
from otel_forge.instruments.core import scope_name
from otel_forge.instruments.http import Methods
from otel_forge.logs.record import FIELDS
from otel_forge.sdk.tally import Tally, TallyProcessor, count_lean_span
from otel_forge.sdk.tracer import LeanTracerProvider
from otel_forge.settings import RequestLogSettings, Settings
from otel_forge.variables import CLIENT_ADDRESSES, USER_AGENTS
from otel_forge.web.client_addresses import truncated, whole
from otel_forge.web.decisions import tightest_of
from otel_forge.web.serving import Finished, Served, current_tally, serve
from otel_forge.web.user_agents import user_agent_class

LOGGER = "otel_forge.request"
EVENT, STARTED = "otel_forge.request", "otel_forge.request.started"
NO_ROUTE = "(no route)"
_EXTENSION = "otel_forge_request_log"
_MOST_OUTCOMES = 2048
_LONGEST_AGENT = 256
_Key = tuple[str, str | None, str | None, type[BaseException] | None]


class RequestLog:
    """Writes a line for each request of an app: ``RequestLog(app)``, or ``init_app`` later.

    What is not given is as the settings say (``OTEL_FORGE_REQUEST_LOG_*``): `incoming` adds a line when a request
    arrives, `client_address` is truncated, whole or none, `user_agent` is class, whole or none. Raises ValueError for
    anything else.
    """

    def __init__(
        self,
        app: flask.Flask | None = None,
        *,
        incoming: bool | None = None,
        client_address: str | None = None,
        user_agent: str | None = None,
        settings: RequestLogSettings | None = None,
    ) -> None:
        settings = settings or Settings.from_env(os.environ).request_log
        self._incoming = settings.incoming if incoming is None else incoming
        self._client = _one_of("client_address", client_address or settings.client_address, CLIENT_ADDRESSES)
        self._agent = _one_of("user_agent", user_agent or settings.user_agent, USER_AGENTS)
        self._methods = Methods(os.environ)
        self._outcomes = Bounded(_MOST_OUTCOMES)
        self._logger: logging.Logger | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask) -> None:
        """Log the requests of `app` from now on; health probes are left out."""
        if _EXTENSION in app.extensions:
            return
        app.extensions[_EXTENSION] = self
        _count_client_spans()
        surround(app, self.write)
        if self._incoming:
            request_started.connect(self._arrived, app)

    def install(self) -> Callable[[], None]:
        """Log the requests of every app of the process from now on; return what stops it."""
        _count_client_spans()
        original = flask.Flask.wsgi_app

        @functools.wraps(original)
        def wsgi_app(app: flask.Flask, environ: dict[str, Any], start_response: Any) -> Any:
            return serve(app, functools.partial(original, app), environ, start_response, self.write)

        setattr(flask.Flask, "wsgi_app", wsgi_app)  # noqa: B010 - mypy forbids assigning to a method
        if self._incoming:
            request_started.connect(self._arrived)

        def stop() -> None:
            request_started.disconnect(self._arrived)
            if flask.Flask.wsgi_app is wsgi_app:
                setattr(flask.Flask, "wsgi_app", original)  # noqa: B010

        return stop

    def write(self, served: Served, seconds: float) -> None:
        """Write the line of a request that is over."""
        error = served.error
        environ = served.environ
        method = self._method(environ)
        key = (method, served.route, served.status, None if error is None else type(error))
        outcome: _Outcome = self._outcomes.get(key) or self._outcomes.keep(key, _Outcome(key))
        level = logging.WARNING if served.is_aborted else outcome.level
        logger = self._logger or self._begin()
        if not logger.isEnabledFor(level):
            return
        fields: dict[str, Any] = {**outcome.fields, "http.server.request.duration": round(seconds, 6)}
        size = environ.get("CONTENT_LENGTH")
        if size and size.isdecimal():
            fields["http.request.body.size"] = int(size)
        fields["http.response.body.size"] = served.sent
        tally = served.tally
        if tally is not None and (tally.queries or tally.calls):
            _add_tally(fields, tally)
        decided = tightest_of(environ)
        if decided is not None:
            fields.update(decided.attributes())
        self._add_client(fields, environ)
        if served.is_aborted:
            fields["otel_forge.request.aborted"] = True
        self._log(logger, level, f"{outcome.prefix} {_ended(served.is_aborted)}{_milliseconds(seconds)}", fields)

    def _arrived(self, app: flask.Flask, **_: Any) -> None:
        """Write the line of a request that has arrived, unless it is left out."""
        with guard("logging a request that arrives"):
            request = flask.request
            if "otel_forge.served" not in request.environ:
                return
            logger = self._logger or self._begin()
            if not logger.isEnabledFor(logging.INFO):
                return
            method, rule = self._method(request.environ), request.url_rule
            fields: dict[str, Any] = {"otel.event.name": STARTED, "http.request.method": method}
            if rule is not None:
                fields["http.route"] = rule.rule
            if request.content_length is not None:
                fields["http.request.body.size"] = request.content_length
            self._add_client(fields, request.environ)
            self._log(logger, logging.INFO, f"{method} {NO_ROUTE if rule is None else rule.rule} started", fields)

    def _method(self, environ: dict[str, Any]) -> str:
        method: str = environ["REQUEST_METHOD"]
        return method if method in self._methods.known else self._methods.normal(method)

    def _add_client(self, fields: dict[str, Any], environ: dict[str, Any]) -> None:
        """Add what is said of the client, as far as that is wanted."""
        address = environ.get("REMOTE_ADDR") if self._client != "none" else None
        if address:
            shown = truncated(address) if self._client == "truncated" else whole(address)
            if shown:
                fields["client.address"] = shown
        if self._agent == "none":
            return
        agent = environ.get("HTTP_USER_AGENT")
        fields["otel_forge.user_agent.class"] = user_agent_class(agent)
        if agent and self._agent == "whole":
            fields["user_agent.original"] = agent[:_LONGEST_AGENT]

    def _begin(self) -> logging.Logger:
        """Return the logger; it is made at the first request, after the application has configured logging."""
        logger = logging.getLogger(LOGGER)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)  # the root logger's default would keep all but failures back
        _count_client_spans()
        self._logger = logger
        return logger

    def _log(self, logger: logging.Logger, level: int, message: str, fields: dict[str, Any]) -> None:
        record = logger.makeRecord(LOGGER, level, __file__, 0, message, (), None, "write")
        record.__dict__[FIELDS] = fields
        logger.handle(record)


class _Outcome:
    """What the lines of all requests with the same method, route, status and error have in common."""

    __slots__ = ("fields", "level", "prefix")

    def __init__(self, key: _Key) -> None:
        method, route, status, error = key
        code = (status or "").partition(" ")[0]
        is_failure = code.startswith("5") or error is not None
        self.level = logging.WARNING if is_failure else logging.INFO
        self.prefix = f"{method} {route or NO_ROUTE} {code or 'failed'}"
        fields: dict[str, Any] = {"otel.event.name": EVENT, "http.request.method": method}
        if route:
            fields["http.route"] = route
        if code.isdecimal():
            fields["http.response.status_code"] = int(code)
        if is_failure:
            fields["error.type"] = code if error is None else error.__qualname__
        self.fields = fields


def surround(app: flask.Flask, finished: Finished | None) -> None:
    """Put ourselves around what `app` calls its WSGI application; without `finished` requests are only counted."""
    call = app.wsgi_app

    def wsgi_app(environ: dict[str, Any], start_response: Any) -> Any:
        return serve(app, call, environ, start_response, finished)

    setattr(app, "wsgi_app", wsgi_app)  # noqa: B010 - mypy forbids assigning to a method


def _add_tally(fields: dict[str, Any], tally: Tally) -> None:
    if tally.queries:
        fields["otel_forge.db.count"] = tally.queries
        fields["otel_forge.db.duration"] = round(tally.query_time / 1e9, 6)
    if tally.calls:
        fields["otel_forge.upstream.count"] = tally.calls
        fields["otel_forge.upstream.duration"] = round(tally.call_time / 1e9, 6)


def _ended(is_aborted: bool) -> str:
    return "aborted after " if is_aborted else ""


def _milliseconds(seconds: float) -> str:
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"


def _count_client_spans() -> None:
    """Have client spans of instrumentations that are not ours counted, too."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, LeanTracerProvider):
        provider.tell_of_clients(count_lean_span, besides=scope_name(""))
        return
    add: Any = getattr(provider, "add_span_processor", None)
    known = getattr(getattr(provider, "_active_span_processor", None), "_span_processors", ())
    if add is not None and not any(isinstance(processor, TallyProcessor) for processor in known):
        add(TallyProcessor(current_tally))


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{what}={value!r} is not one of {', '.join(allowed)}.")
    return value
