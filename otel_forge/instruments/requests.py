"""The lean instrumentation of requests: a client span for each call of ``Session.send``, redirects included."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from time import time_ns
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind
from requests.models import PreparedRequest, Response
from requests.sessions import Session
from requests.structures import CaseInsensitiveDict

from otel_forge.instruments import carrier, spans
from otel_forge.instruments.bounded import Bounded
from otel_forge.instruments.core import BoundHistogram, Core, scope
from otel_forge.instruments.http import (
    DURATION_BOUNDARIES,
    SCHEMA_URL,
    Methods,
    captured_headers,
    excluded_pattern,
    guarded,
    is_error,
    span_name,
    synthetic_type,
)
from otel_forge.metrics.rate_limits import count_upstream_exceeded
from otel_forge.otlp.attributes import FixedAttributes, fixed_attributes
from otel_forge.sdk.current import SPAN_KEY, attach, current_context
from otel_forge.sdk.span import LeanSpan
from otel_forge.sdk.tally import TALLY_KEY

_LIBRARY = "requests"
_CLIENT = SpanKind.CLIENT
_TOO_MANY_REQUESTS = 429
_MOST_OUTCOMES = 1024
_set = dict.__setitem__
_SECRET_PARAMETERS = ("AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature")

Hook = Callable[..., Any]


class RequestsInstrument:
    """Instruments all sessions of the process. Options and variables are those of upstream's RequestsInstrumentor."""

    def __init__(
        self,
        *,
        request_hook: Hook | None = None,
        response_hook: Hook | None = None,
        excluded_urls: str | None = None,
        duration_histogram_boundaries: Sequence[float] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._environ = environ
        self._boundaries = duration_histogram_boundaries or DURATION_BOUNDARIES
        self.adopt(request_hook=request_hook, response_hook=response_hook, excluded_urls=excluded_urls)
        self._core: Core | None = None
        self._original: Any = None
        self._ours: Any = None

    def adopt(
        self,
        *,
        request_hook: Hook | None = None,
        response_hook: Hook | None = None,
        excluded_urls: str | None = None,
    ) -> None:
        """Take options over, from a program that calls upstream's instrumentor while this instrument is active.

        As there, hooks that are not given any more are gone, and the variables are read again.
        """
        self.request_hook = guarded(request_hook, "a request hook for requests")
        self.response_hook = guarded(response_hook, "a response hook for requests")
        self._excluded = excluded_pattern(self._environ, _LIBRARY, excluded_urls)
        self.methods = Methods(self._environ)
        self.request_headers, self.response_headers = captured_headers(self._environ, "client")

    def instrument(self, core: Core) -> None:
        """Patch ``Session.send``; every call from now on is recorded in `core`."""
        if self._original is not None:
            return
        if core is not self._core:
            self._record_in(core)
        self._original = Session.send
        self._ours = self._sending(self._original)
        setattr(Session, "send", self._ours)  # noqa: B010 - mypy forbids assigning to a method

    def _record_in(self, core: Core) -> None:
        """Open the tracer and the instrument of `core`; the same ones serve if recording is switched off and on."""
        self._core = core
        self.tracer = core.tracer(_LIBRARY, SCHEMA_URL)
        self._duration = core.metrics.histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            scope(_LIBRARY, SCHEMA_URL),
            self._boundaries,
        )
        self._outcomes = Bounded(_MOST_OUTCOMES)

    def uninstrument(self) -> None:
        """Put ``Session.send`` back, unless somebody else has patched it on top; then only stop recording."""
        if self._original is not None and vars(Session).get("send") is self._ours:
            setattr(Session, "send", self._original)  # noqa: B010
        self._original = None

    def _sending(self, original: Callable[..., Response]) -> Callable[..., Response]:
        """Return what stands in the place of ``Session.send``."""

        @functools.wraps(original)
        def send(session: Session, request: PreparedRequest, **kwargs: Any) -> Response:
            before = current_context()
            if self._leaves_alone(request, before):
                return original(session, request, **kwargs)
            try:
                call = _Call(self, request, before)
            except Exception:  # noqa: BLE001 - the request is sent, recorded or not
                spans.complain("starting the span of an outgoing request")
                return original(session, request, **kwargs)
            attach(call.context)
            try:
                response = original(session, request, **kwargs)
            except BaseException as error:
                attach(before)
                call.finish(getattr(error, "response", None), error)
                raise
            attach(before)
            call.finish(response, None)
            return response

        send.opentelemetry_instrumentation_requests_applied = True  # type: ignore[attr-defined]  # upstream's mark
        return send

    def _leaves_alone(self, request: PreparedRequest, context: Context) -> bool:
        if self._original is None or spans.is_suppressed(context) or context.get(spans.SUPPRESSED_HTTP_KEY):
            return True
        return self._excluded is not None and self._excluded.search(str(request.url)) is not None

    def start(self, request: PreparedRequest, method: str, url: str, context: Context, started: int) -> Any:
        """Start the span of `request` for a sampler or processor that wants to see all there is to see."""
        outcome = self.outcome((method, server_of(url), None, None, None))
        attributes = {**outcome.attributes, **self.own_attributes(request, method, url)}
        return self.tracer.start_span(span_name(method), context, _CLIENT, attributes, start_time=started)

    def own_attributes(self, request: PreparedRequest, method: str, url: str) -> dict[str, Any]:
        """Return the attributes of the single call."""
        attributes: dict[str, Any] = {"url.full": redacted(url)}
        agent = request.headers.get("User-Agent")
        if agent:
            agent = agent.decode("latin-1") if isinstance(agent, bytes) else str(agent)
            attributes["user_agent.original"] = agent
            kind = synthetic_type(agent)
            if kind:
                attributes["user_agent.synthetic.type"] = kind
        if request.method is not method:
            original = (request.method or "").strip()
            if original and original != method:
                attributes["http.request.method_original"] = original
        if self.request_headers:
            attributes.update(self.request_headers.attributes(request.headers.items()))
        return attributes

    def outcome(self, key: tuple[str, str, Any, Any, str | None]) -> Outcome:
        """Return what all calls with this method, server, status, HTTP version and error have in common."""
        known: Outcome | None = self._outcomes.get(key)
        return known or self._outcomes.keep(key, Outcome(*key, self._duration))


def server_of(url: str) -> str:
    """Return scheme and server of `url`."""
    end = url.find("/", url.find("://") + 3)
    return url if end < 0 else url[:end]


class Outcome:
    """What calls with the same method, server and result have in common."""

    __slots__ = ("attributes", "cell", "fixed", "is_failure")

    def __init__(
        self,
        method: str,
        server: str,
        status: Any,
        version: int | None,
        error: str | None,
        duration: BoundHistogram,
    ) -> None:
        measured: dict[str, Any] = {"http.request.method": method}
        peer: dict[str, Any] = {}
        try:
            parts = urlsplit(server)
            if parts.hostname:
                measured["server.address"] = peer["network.peer.address"] = parts.hostname
            if parts.port:
                measured["server.port"] = peer["network.peer.port"] = parts.port
        except ValueError:
            pass  # the port, or the whole, is none; requests itself will say so
        self.is_failure = status is not None and is_error(status, server=False)
        if status is not None:
            measured["http.response.status_code"] = status
        if version:
            measured["network.protocol.version"] = "1.1" if version == 11 else "1.0"
        if error or self.is_failure:
            measured["error.type"] = error or str(status)
        self.attributes = {**measured, **peer}
        self.fixed: FixedAttributes = fixed_attributes(self.attributes)
        self.cell = duration.bind(measured)


class _Call:
    """One call of ``Session.send`` on its way, its span started and its context written into the headers."""

    __slots__ = ("_instrument", "_method", "_outcome", "_request", "_response", "_span", "_started", "_url", "context")

    def __init__(self, instrument: RequestsInstrument, request: PreparedRequest, before: Context) -> None:
        self._instrument = instrument
        self._request = request
        self._outcome: Outcome | None = None
        if request.headers is None:
            request.headers = CaseInsensitiveDict()
        method = request.method or ""
        if method not in instrument.methods.known:
            method = instrument.methods.normal(method.strip())
        self._method = method
        self._url = url = str(request.url)
        self._started = started = time_ns()
        tracer = instrument.tracer
        if tracer.is_short:
            span = tracer.begin(span_name(method), before, _CLIENT, {}, self, started)
        else:
            span = instrument.start(request, method, url, before, started)
            if type(span) is LeanSpan:
                span.fixed = self
        self._span = span
        self.context = context = Context(before)
        _set(context, SPAN_KEY, span)
        if instrument.request_hook is not None:
            attach(context)
            instrument.request_hook(span, request)
            attach(before)
        carrier.inject(span, context, request.headers)
        _set(context, spans.SUPPRESSED_HTTP_KEY, True)

    @property
    def mapping(self) -> dict[str, Any]:
        """What the span shows by now: worked out when hooks or processors read its attributes, and only then."""
        try:
            return self._shown()
        except Exception:  # noqa: BLE001 - whoever reads attributes does not expect an error
            spans.complain("telling the attributes of an outgoing request")
            return {}

    def _shown(self) -> dict[str, Any]:
        instrument, method, url = self._instrument, self._method, self._url
        outcome = self._outcome or instrument.outcome((method, server_of(url), None, None, None))
        shown = {**outcome.attributes, **instrument.own_attributes(self._request, method, url)}
        if self._outcome is not None and isinstance(self._response, Response) and instrument.response_headers:
            shown.update(instrument.response_headers.attributes(self._response.headers.items()))
        return shown

    def finish(self, response: Any, error: BaseException | None) -> None:
        """End the span and record the duration. Never raises."""
        try:
            self._finish(response, error, time_ns())
        except Exception:  # noqa: BLE001 - the response is worth more than its span
            spans.complain("ending the span of an outgoing request")

    def _finish(self, response: Any, error: BaseException | None, ended: int) -> None:
        instrument, request, span, method, url = self._instrument, self._request, self._span, self._method, self._url
        answered = isinstance(response, Response)
        status, version = (response.status_code, getattr(response.raw, "version", None)) if answered else (None, None)
        failure = type(error).__qualname__ if isinstance(error, Exception) else None
        outcome = instrument.outcome((method, server_of(url), status, version, failure))
        ids = span if type(span) is LeanSpan else span.get_span_context()
        seconds = (ended - self._started) / 1e9
        outcome.cell.record(seconds if seconds > 0 else 0.0, ids.trace_id, ids.span_id, ids.trace_flags, ended)
        tally: Any = self.context.get(TALLY_KEY)
        if tally is not None:
            tally.add_call(ended - self._started)
        if status == _TOO_MANY_REQUESTS:
            count_upstream_exceeded(outcome.attributes.get("server.address"))
        if answered and instrument.response_hook is not None:
            self._outcome, self._response = outcome, response
            instrument.response_hook(span, request, response)
        if ids is not span:
            return
        if span.end_time is not None:
            span.fixed = fixed_attributes(self._shown())
            return
        own = instrument.own_attributes(request, method, url)
        if answered and instrument.response_headers:
            own.update(instrument.response_headers.attributes(response.headers.items()))
        spans.complete(span, outcome.fixed, own)
        if outcome.is_failure:
            spans.mark_failed(span)
        if isinstance(error, Exception):
            spans.record(span, error, ended)
        span.end(ended)


def redacted(url: str) -> str:
    """Return `url` without credentials and without the values of parameters that are known to be secret."""
    if "@" not in url and not ("?" in url and _may_hold_secrets(url)):
        return url
    try:
        given = parts = urlsplit(url)
        if parts.scheme and parts.netloc and "@" in parts.netloc:
            parts = parts._replace(netloc="REDACTED:REDACTED@" + parts.netloc.rpartition("@")[2])
        fields = parse_qs(parts.query) if parts.query else {}
        secret = [name for name in _SECRET_PARAMETERS if name in fields]
        if secret:
            fields.update(dict.fromkeys(secret, ["REDACTED"]))
            parts = parts._replace(query=urlencode(fields, doseq=True))
        return url if parts is given else parts.geturl()
    except ValueError:
        return url


def _may_hold_secrets(url: str) -> bool:
    return "%" in url or any(name in url for name in _SECRET_PARAMETERS)
