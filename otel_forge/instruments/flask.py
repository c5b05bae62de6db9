"""The lean instrumentation of Flask: one server span for each request, from the WSGI entry to the last byte.

It patches ``flask.Flask.__call__`` on the class, so every app is seen, whenever it was made and whatever
WSGI middleware sits in it; and ``wsgi_app``, which some hand to a server or to middleware by itself. At the
entry it reads the clock, finds the parent and makes the span; all the rest is looked at when the request is
over, when route and status are known. What is constant for a route (attributes, encoded once, and the
histogram's cell) is looked up in tables of limited size.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from time import time_ns
from typing import Any
from weakref import WeakKeyDictionary

import flask
from opentelemetry.context import Context
from opentelemetry.propagate import get_global_textmap
from opentelemetry.trace import INVALID_SPAN, SpanKind
from werkzeug.wsgi import get_current_url

from otel_forge.guard import guard
from otel_forge.health.paths import PROBES
from otel_forge.instruments import carrier, spans
from otel_forge.instruments.bounded import Bounded
from otel_forge.instruments.core import Core, scope
from otel_forge.instruments.http import (
    DURATION_BOUNDARIES,
    SCHEMA_URL,
    Methods,
    captured_headers,
    excluded_pattern,
    guarded,
    span_name,
)
from otel_forge.instruments.server_attributes import Kind, own_attributes, request_attributes, response_attributes
from otel_forge.instruments.wsgi_body import Body, end_with_file, is_file, is_ready
from otel_forge.metrics import traffic
from otel_forge.otlp.attributes import fixed_attributes
from otel_forge.sdk.current import SPAN_KEY, attach, current_context
from otel_forge.sdk.span import LeanSpan

_LIBRARY = "flask"
_MARK = "otel_forge.request"
_TAGS_KEY = "SQLCOMMENTER_ORM_TAGS_AND_VALUES"
_SERVER, _INTERNAL = SpanKind.SERVER, SpanKind.INTERNAL
_MOST_KINDS = 2048
_ASKED_ABOUT_EXCEPTIONS = ("_find_error_handler", "handle_user_exception")
_UPSTREAM_MARK = "_is_instrumented_by_opentelemetry"  # so that its instrument_app() leaves apps alone
_RESPONSE_PROPAGATORS = "opentelemetry.instrumentation.propagators"
_REQUEST_HOOK, _RESPONSE_HOOK = "a request hook for Flask", "a response hook for Flask"
_HOOKED = "preprocess_request"
_ALL_URLS = re.compile("")
_set = dict.__setitem__

Hook = Callable[..., Any]


class FlaskInstrument:
    """Instruments all Flask apps of the process. Options and variables are those of upstream's FlaskInstrumentor."""

    ADOPTED = ("instrument_app", "uninstrument_app")

    def __init__(
        self,
        *,
        request_hook: Hook | None = None,
        response_hook: Hook | None = None,
        excluded_urls: str | None = None,
        enable_commenter: bool = True,
        commenter_options: Mapping[str, bool] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._environ = environ
        self.request_hook: Hook | None = None
        self.response_hook: Hook | None = None
        self._excluded_of_app: WeakKeyDictionary[flask.Flask, re.Pattern[str] | None] = WeakKeyDictionary()
        self._core: Core | None = None
        self._restore: list[tuple[str, Any, Any]] = []
        self.adopt(
            request_hook=request_hook,
            response_hook=response_hook,
            excluded_urls=excluded_urls,
            enable_commenter=enable_commenter,
            commenter_options=commenter_options,
        )

    def adopt(
        self,
        *,
        request_hook: Hook | None = None,
        response_hook: Hook | None = None,
        excluded_urls: str | None = None,
        enable_commenter: bool = True,
        commenter_options: Mapping[str, bool] | None = None,
    ) -> None:
        """Take options over, from a program that calls upstream's instrumentor while this instrument is active.

        As there, hooks that were given stay, and the variables are read again.
        """
        environ = self._environ
        self.request_hook = guarded(request_hook, _REQUEST_HOOK) or self.request_hook
        self.response_hook = guarded(response_hook, _RESPONSE_HOOK) or self.response_hook
        self.methods = Methods(environ)
        self.known_methods = self.methods.known
        self.request_headers, self.response_headers = captured_headers(environ, "server")
        self.captures_headers = bool(self.request_headers or self.response_headers)
        self._excluded = excluded_pattern(environ, _LIBRARY, excluded_urls)
        self.may_exclude = self._excluded is not None or bool(self._excluded_of_app)
        self.base_context = Context({_TAGS_KEY: _Tags(commenter_options or {})} if enable_commenter else {})
        if self._restore:
            self._patch_for_hook()

    def instrument_app(
        self,
        app: flask.Flask,
        *,
        request_hook: Hook | None = None,
        response_hook: Hook | None = None,
        excluded_urls: str | None = None,
    ) -> None:
        """Take over options that hold for `app` alone; it is instrumented already."""
        self.request_hook = _for_app(app, guarded(request_hook, _REQUEST_HOOK), self.request_hook)
        self.response_hook = _for_app(app, guarded(response_hook, _RESPONSE_HOOK), self.response_hook)
        if excluded_urls is not None:
            self._excluded_of_app[app] = excluded_pattern(self._environ, _LIBRARY, excluded_urls)
        else:
            self._excluded_of_app.pop(app, None)
        self.may_exclude = self._excluded is not None or bool(self._excluded_of_app)
        if self._restore:
            self._patch_for_hook()

    def uninstrument_app(self, app: flask.Flask) -> None:
        """Make no more spans for `app`."""
        self._excluded_of_app[app] = _ALL_URLS
        self.may_exclude = True

    def instrument(self, core: Core) -> None:
        """Patch Flask; every request from now on is recorded in `core`."""
        if self._restore:
            return
        if core is not self._core:
            self._record_in(core)
        self._patch("__call__", self._calling(flask.Flask.__call__))
        self._patch("wsgi_app", self._calling(flask.Flask.wsgi_app))
        asked = next(name for name in _ASKED_ABOUT_EXCEPTIONS if hasattr(flask.Flask, name))
        self._patch(asked, _noting(getattr(flask.Flask, asked)))
        self._patch_for_hook()
        self._restore.append((_UPSTREAM_MARK, None, True))
        setattr(flask.Flask, _UPSTREAM_MARK, True)

    def _record_in(self, core: Core) -> None:
        """Open the tracer and the instruments of `core`; the same ones serve if recording is switched off and on."""
        self._core = core
        self.tracer = core.tracer(_LIBRARY, SCHEMA_URL)
        who = scope(_LIBRARY, SCHEMA_URL)
        self._duration = core.metrics.histogram(
            "http.server.request.duration", "s", "Duration of HTTP server requests.", who, DURATION_BOUNDARIES
        )
        self.w3c: Any = None
        self._active_requests = core.metrics.up_down_counter(
            "http.server.active_requests", "{request}", "Number of active HTTP server requests.", who
        )
        self.active = Bounded(_MOST_KINDS)
        self.kinds = Bounded(_MOST_KINDS)

    def uninstrument(self) -> None:
        """Put Flask back as it was, unless somebody else has patched it on top; then only stop recording."""
        for name, original, ours in reversed(self._restore):
            if vars(flask.Flask).get(name) is not ours:
                continue
            if original is None:
                delattr(flask.Flask, name)  # it is inherited
            else:
                setattr(flask.Flask, name, original)
        self._restore.clear()

    def _patch_for_hook(self) -> None:
        """Have Flask call the request hook, where there is one."""
        is_patched = any(name == _HOOKED for name, _, _ in self._restore)
        if self.request_hook is not None and not is_patched:
            self._patch(_HOOKED, _hooked(getattr(flask.Flask, _HOOKED), self))

    def _patch(self, name: str, ours: Any) -> None:
        functools.update_wrapper(ours, getattr(flask.Flask, name))
        self._restore.append((name, vars(flask.Flask).get(name), ours))
        setattr(flask.Flask, name, ours)

    def _calling(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return what stands in the place of ``Flask.__call__`` or ``Flask.wsgi_app``."""

        def call(app: flask.Flask, environ: dict[str, Any], start_response: Any) -> Any:
            if _MARK in environ or not self._restore:  # an app inside an app, or no longer wanted
                return original(app, environ, start_response)
            if environ.get("PATH_INFO") in PROBES:  # of health: they make no spans
                return original(app, environ, start_response)
            previous = current_context()
            try:
                request = _Request(self, app, environ, start_response, previous)
            except Exception:  # noqa: BLE001 - the request is served, recorded or not
                spans.complain("starting the span of a request")
                return original(app, environ, start_response)
            attach(request.context)
            try:
                body = original(app, environ, request.start_response)
            except BaseException as error:
                attach(previous)
                request.finish(error)
                raise
            if is_ready(body):
                attach(previous)
                request.finish()
                return body
            request.context = current_context()
            attach(previous)
            return request.handed_over(body)

        return call

    def bind_active(self, method: str, scheme: Any) -> Any:
        """Return the counter of requests that are under way with `method` and `scheme`."""
        attributes = {"http.request.method": method}
        if scheme:
            attributes["url.scheme"] = str(scheme)
        return self.active.keep((method, scheme), self._active_requests.bind(attributes))

    def _excludes(self, app: flask.Flask, environ: dict[str, Any]) -> bool:
        """Return whether the URL of the request to `app` is to be left out."""
        pattern = self._excluded_of_app.get(app, self._excluded)
        return pattern is not None and pattern.search(get_current_url(environ)) is not None

    def start(
        self,
        request: _Request,
        app: flask.Flask,
        environ: dict[str, Any],
        previous: Context,
        method: str,
        started: int,
    ) -> tuple[Any, Context]:
        """Start the span of a request that brings a context, or that a sampler or processor wants to see."""
        if self.may_exclude and self._excludes(app, environ):
            return None, previous
        parent = previous.get(SPAN_KEY)
        if parent is None or parent is INVALID_SPAN:
            kind, context = _SERVER, carrier.extract(environ)
        else:
            kind, context = _INTERNAL, previous
        self.w3c = carrier.w3c_propagator()
        name = span_name(method)
        if self.tracer.is_short:
            span = self.tracer.begin(name, context, kind, {}, request, started)
        else:
            attributes = request_attributes(environ, method)
            span = self.tracer.start_span(name, context, kind, attributes, start_time=started)
            if type(span) is LeanSpan:
                span.fixed = request
        return span, Context({**context, **self.base_context, SPAN_KEY: span})

    def kind_of(self, key: tuple[Any, ...], error: BaseException | None) -> Kind:
        """Return what all requests with the same `key` that end with the same `error` have in common."""
        full_key = key if error is None else (*key, type(error))
        known: Kind | None = self.kinds.get(full_key)
        if known is None:
            is_kept = not self.kinds.is_full
            known = Kind(key, error, self._duration, is_kept=is_kept)
            if is_kept:
                self.kinds[full_key] = known
        return known


class _Request:
    """One request on its way: what is known of it at the entry, and what to do when it is over.

    The path that every request takes is kept in few functions on purpose: in an application each call costs
    several times what a benchmark of it alone shows.
    """

    __slots__ = (
        "_active",
        "_environ",
        "_exception",
        "_headers",
        "_instrument",
        "_is_unhandled",
        "_method",
        "_route",
        "_start_response",
        "_started",
        "_status",
        "context",
        "span",
    )

    def __init__(
        self,
        instrument: FlaskInstrument,
        app: flask.Flask,
        environ: dict[str, Any],
        start_response: Any,
        previous: Context,
    ) -> None:
        self._started = started = time_ns()
        self._instrument = instrument
        self._environ: dict[str, Any] | None = environ
        self._start_response = start_response
        self._status: str | None = None
        self._route: str | None = None
        self._exception: BaseException | None = None
        method = environ["REQUEST_METHOD"]
        is_known = method in instrument.known_methods
        if not is_known:
            method = instrument.methods.normal(method)
        self._method = method
        scheme = environ.get("wsgi.url_scheme")
        self._active = active = instrument.active.get((method, scheme)) or instrument.bind_active(method, scheme)
        tracer = instrument.tracer
        if (
            is_known
            and "HTTP_TRACEPARENT" not in environ
            and "HTTP_BAGGAGE" not in environ
            and SPAN_KEY not in previous
            and tracer.is_short
            and get_global_textmap() is instrument.w3c
            and not instrument.may_exclude
        ):
            self.span = tracer.begin(method, carrier.NOTHING, _SERVER, {}, self, started)
            self.context = context = Context(instrument.base_context)
            _set(context, SPAN_KEY, self.span)
        else:
            self.span, self.context = instrument.start(self, app, environ, previous, method, started)
        active.add(1)
        environ[_MARK] = self

    def start_response(self, status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        """Note status and route on their way to the server."""
        self._status = status
        environ = self._environ
        if environ is not None and self.span is not None:
            rule = getattr(environ.get("werkzeug.request"), "url_rule", None)  # afterwards Flask takes it out
            if rule is None:
                self.note_route()
            else:
                self._route = rule.rule
            instrument = self._instrument
            if instrument.captures_headers:
                self._headers = headers
            if instrument.response_hook is not None or _RESPONSE_PROPAGATORS in sys.modules:
                self._show_response(status, headers)
        return self._start_response(status, headers, *rest)

    def _show_response(self, status: str, headers: list[tuple[str, str]]) -> None:
        module = sys.modules.get(_RESPONSE_PROPAGATORS)
        propagator = None if module is None else module.get_global_response_propagator()
        if propagator is not None:
            with guard("propagating the trace to the client"):
                propagator.inject(headers, setter=_HEADER_LIST)
        if self._instrument.response_hook is not None:
            self._instrument.response_hook(self.span, status, headers)

    @property
    def mapping(self) -> dict[str, Any]:
        """What the span shows by now: worked out when hooks, views or processors read its attributes, and only then."""
        environ = self._environ
        try:
            return {} if environ is None else self._shown(dict(environ))
        except Exception:  # noqa: BLE001 - whoever reads attributes does not expect an error
            spans.complain("telling the attributes of a request")
            return {}

    def _shown(self, environ: dict[str, Any]) -> dict[str, Any]:
        """Return what is known of the request, and of a response that began before the span was ended."""
        shown = request_attributes(environ, self._method)
        route = self._route or _matched_route(environ)
        if route:
            shown["http.route"] = route
        if self._instrument.captures_headers and self.span.kind is _SERVER:
            self._capture_headers(environ, shown)
        if self._status is not None and self.span.end_time is None:
            shown.update(response_attributes(self._status))
        return shown

    def note_route(self) -> None:
        """Take the route from Flask's own request: a middleware gave the app a copy of the environ, or none matched."""
        request = _flask_request()
        if request is not None and request.url_rule is not None:
            self._route = request.url_rule.rule

    def note_exception(self, error: BaseException, rule: Any, *, unhandled: bool) -> None:
        """Remember an exception that the app turns into a response, and the rule that had matched."""
        if self._exception is not error:
            self._forget_exception()
            self._exception = error
            spans.expect(error)
        self._is_unhandled = unhandled
        self._route = None if rule is None else rule.rule

    def handed_over(self, body: Any) -> Any:
        """Return the unfinished `body`, or one in its place, that says when it has been sent."""
        environ = self._environ
        if environ is not None and is_file(body, environ.get("wsgi.file_wrapper")):
            return end_with_file(body, self.finish)
        return Body(body, self)

    def finish(self, error: BaseException | None = None) -> None:
        """End the span and record the metrics; only the first call counts. Never raises."""
        environ = self._environ
        if environ is None:
            return
        self._environ = None
        try:
            ended = time_ns()
            environ.pop(_MARK, None)
            self._active.add(-1)
            span = self.span
            if span is None:
                return
            get = environ.get
            key = (
                self._method,
                self._route,
                self._status,
                get("wsgi.url_scheme"),
                get("SERVER_PROTOCOL"),
                get("HTTP_HOST"),
                get("SERVER_PORT"),
            )
            kind = self._instrument.kinds.get(key) if error is None else None
            if kind is None:
                kind = self._instrument.kind_of(key, error if isinstance(error, Exception) else None)
            traffic.count(kind.is_failure)
            seconds = (ended - self._started) / 1e9
            ids = span if type(span) is LeanSpan else span.get_span_context()
            kind.cell.record(
                seconds if seconds >= 0 else 0.0, ids.trace_id, ids.span_id, ids.trace_flags, ended
            )  # negative if the clock was set back
            if ids is span and span.end_time is None:  # recording, and not ended by the application
                self._describe(span, environ, kind, error, ended)
                span.end(ended)
            elif ids is span:
                span.fixed = fixed_attributes(self._shown(environ))
        except Exception:  # noqa: BLE001 - the response is worth more than its span
            spans.complain("ending the span of a request")
        finally:
            self._forget_exception()

    def _forget_exception(self) -> None:
        if self._exception is not None:
            spans.forget(self._exception)
            self._exception = None

    def _describe(
        self, span: LeanSpan, environ: dict[str, Any], kind: Kind, error: BaseException | None, ended: int
    ) -> None:
        """Give the span its name, its attributes and, where something went wrong, status and exception."""
        method = self._method
        own = own_attributes(environ, method)
        if self._instrument.captures_headers and span.kind is _SERVER:
            self._capture_headers(environ, own)
        if kind.unshared is not None:
            own.update(kind.unshared)
        if span.own:  # what the application has set stays
            own.update(span.own)
        span.own = own
        span.fixed = kind.fixed
        name = span.name
        if name is method or name == span_name(method):  # not renamed by the application
            span.name = kind.name
        if kind.is_failure:
            spans.mark_failed(span, kind.description)
            self._record(error if isinstance(error, Exception) else None, ended)

    def _record(self, error: BaseException | None, ended: int) -> None:
        """Add the exception that made the request fail, if there is one."""
        if error is not None:
            spans.record(self.span, error, ended)
        elif self._exception is not None:
            spans.record(self.span, self._exception, ended, describe=self._is_unhandled)

    def _capture_headers(self, environ: Mapping[str, Any], own: dict[str, Any]) -> None:
        instrument = self._instrument
        sent = ((name[5:].replace("_", "-"), value) for name, value in environ.items() if name[:5] == "HTTP_")
        own.update(instrument.request_headers.attributes(sent))
        own.update(instrument.response_headers.attributes(getattr(self, "_headers", ())))


class _Tags(Mapping[str, str]):
    """What an SQL commenter says of the request: looked up when a query asks, in whichever request that runs."""

    def __init__(self, options: Mapping[str, bool]) -> None:
        self._options = options
        self._framework = f"flask:{version('flask')}"

    def _current(self) -> dict[str, str]:
        if not flask.has_request_context():
            return {}
        rule = flask.request.url_rule
        found = {
            "framework": self._framework,
            "controller": flask.request.endpoint,
            "route": None if rule is None else rule.rule,
        }
        return {name: value for name, value in found.items() if value and self._options.get(name, True)}

    def __getitem__(self, name: str) -> str:
        return self._current()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._current())

    def __len__(self) -> int:
        return len(self._current())


class _HeaderList:
    """Appends to a list of headers, for response propagators."""

    def set(self, carrier: list[tuple[str, str]], key: str, value: str) -> None:
        """Add the header `key`."""
        carrier.append((key, value))


_HEADER_LIST = _HeaderList()


def _noting(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what stands in the place of ``Flask._find_error_handler``, which is asked about every exception.

    A wrapper of the public ``handle_user_exception`` does as well, and serves if there is no other; but it is a frame
    of ours in every traceback that the application logs.
    """

    def find_error_handler(app: flask.Flask, *arguments: Any) -> Any:
        for error in arguments:  # the exception is the first in some versions of Flask, the second in others
            if isinstance(error, BaseException):
                _note(error)
                break
        return original(app, *arguments)

    return find_error_handler


def _note(error: BaseException) -> None:
    """Let the request that Flask is at remember `error`, or the exception that an InternalServerError stands for."""
    served = _flask_request()
    request = None if served is None else served.environ.get(_MARK)
    if request is not None:
        unhandled = getattr(error, "original_exception", None)
        seen = error if unhandled is None else unhandled
        request.note_exception(seen, served.url_rule, unhandled=unhandled is not None)


def _flask_request() -> Any:
    """Return the request that Flask is at in this context, itself and not a proxy, or None."""
    try:
        return flask.request._get_current_object()  # type: ignore[attr-defined]
    except RuntimeError:
        return None


def _matched_route(environ: Mapping[str, Any]) -> str | None:
    """Return the route of the request that is being served with `environ`, if it has been found."""
    request = environ.get("werkzeug.request") or _flask_request()
    rule = getattr(request, "url_rule", None)
    return None if rule is None else rule.rule


def _hooked(original: Callable[..., Any], instrument: FlaskInstrument) -> Callable[..., Any]:
    """Return what stands in the place of ``Flask.preprocess_request``: the hook is called before the app's own."""

    def preprocess(app: flask.Flask, *args: Any) -> Any:
        environ = flask.request.environ
        request = environ.get(_MARK)
        if request is not None and request.span is not None and instrument.request_hook is not None:
            instrument.request_hook(request.span, environ)
        return original(app, *args)

    return preprocess


class _HookByApp:
    """Calls the hook of the app that serves the request; where it has none, the general one."""

    def __init__(self, general: Hook | None) -> None:
        self._general = general
        self.of_app: WeakKeyDictionary[flask.Flask, Hook] = WeakKeyDictionary()

    def __call__(self, *arguments: Any) -> None:
        app = flask.current_app._get_current_object() if flask.has_app_context() else None  # type: ignore[attr-defined]
        hook = self._general if app is None else self.of_app.get(app, self._general)
        if hook is not None:
            hook(*arguments)


def _for_app(app: flask.Flask, hook: Hook | None, current: Hook | None) -> Hook | None:
    """Return a hook that is `hook` for `app`, and `current` for all others."""
    if hook is None:
        return current
    by_app = current if isinstance(current, _HookByApp) else _HookByApp(current)
    by_app.of_app[app] = hook
    return by_app
