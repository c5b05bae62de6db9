"""Requests as they are served: when each began and ended, its status, its route, and the bytes that it sent.

This sits around ``Flask.wsgi_app`` and looks, without changing anything: a body that is complete in memory is passed on
as it is, a streamed one by an iterator that counts, a file as the file that the server may send by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import flask
from opentelemetry.context import Context

from otel_forge.health.paths import is_probe
from otel_forge.instruments import spans
from otel_forge.instruments.wsgi_body import end_with_file, has_callbacks, is_file, is_ready
from otel_forge.metrics import traffic
from otel_forge.sdk.current import attach, current_context
from otel_forge.sdk.tally import TALLY_KEY, Tally

_MARK = "otel_forge.served"
_OUR_INSTRUMENT = "otel_forge.request"
_SERVER_ERROR = "5"
_WITHOUT_BODY = ("1", "204", "304")
_set = dict.__setitem__

Finished = Callable[["Served", float], None]
"""What is told of a request that is over, and of its duration in seconds."""


class Served:
    """One request.

    `status` is the status line, None where the app raised; `length` is what the response's ``Content-Length`` says;
    `sent` the bytes that were handed to the server; `is_aborted` whether it stopped asking before the end. `context` is
    that of the request, in which its span is the current one.
    """

    __slots__ = (
        "_finished",
        "_is_counted_by_others",
        "_start_response",
        "_started",
        "app",
        "context",
        "environ",
        "error",
        "is_aborted",
        "is_over",
        "length",
        "route",
        "sent",
        "status",
        "tally",
    )

    def __init__(
        self, app: flask.Flask, environ: dict[str, Any], start_response: Any, finished: Finished | None
    ) -> None:
        self._started = perf_counter()
        self.app = app
        self.environ = environ
        self._start_response = start_response
        self._finished = finished
        self._is_counted_by_others = _OUR_INSTRUMENT in environ
        self.is_over = False
        self.status: str | None = None
        self.route: str | None = None
        self.length: int | None = None
        self.sent = 0
        self.error: BaseException | None = None
        self.is_aborted = False
        self.context = current_context()
        self.tally: Tally | None = None
        environ[_MARK] = self

    def start_response(self, status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        """Note what is known when the response begins."""
        self.status = status
        self.context = current_context()
        if _OUR_INSTRUMENT in self.environ:  # inside of us, where a server was given `app.wsgi_app`
            self._is_counted_by_others = True
        try:
            request = self.environ.get("werkzeug.request") or _flask_request()  # afterwards Flask takes it out
            rule = getattr(request, "url_rule", None)
            self.route = None if rule is None else rule.rule
            for name, value in headers:
                if len(name) == 14 and name.lower() == "content-length" and value.isdecimal():
                    self.length = int(value)
        except Exception:  # noqa: BLE001 - what the application sends is between it and the server
            spans.complain("looking at the headers of a response")
        return self._start_response(status, headers, *rest)

    def handed_over(self, body: Any) -> Any:
        """Return `body`, or what stands for it, and see to it that the request is over when it has been sent."""
        try:
            return self._watched(body)
        except Exception:  # noqa: BLE001 - likewise
            spans.complain("looking at the body of a response")
            self.finish()
            return body

    def _watched(self, body: Any) -> Any:
        if is_ready(body):
            self.sent = sum(map(len, body)) if type(body) in (list, tuple) else self._length_of(body)
            self.finish()
            return body
        if is_file(body, self.environ.get("wsgi.file_wrapper")):
            self.sent = self.length or 0
            return end_with_file(body, self.finish)
        return _Counted(body, self)

    def _length_of(self, body: Any) -> int:
        """Return the bytes of a complete body, which nearly always has said them."""
        if self.environ["REQUEST_METHOD"] == "HEAD" or (self.status or "").startswith(_WITHOUT_BODY):
            return 0
        if self.length is not None:
            return self.length
        content = body._callbacks[-1].__self__.response
        return sum(map(len, content)) if type(content) is list else 0

    def finish(self, error: BaseException | None = None) -> None:
        """Tell that the request is over; only the first call counts. Never raises."""
        if self.is_over:
            return
        self.is_over = True
        seconds = perf_counter() - self._started
        self.environ.pop(_MARK, None)
        self.error = error
        try:
            if not self._is_counted_by_others:
                traffic.count(self.is_failure)
            if self._finished is not None:
                self._tell(self._finished, seconds)
        except Exception:  # noqa: BLE001 - the response is worth more than what is said of it
            spans.complain("looking at a request that is over")

    @property
    def is_failure(self) -> bool:
        """Whether it ended with a server error or an exception."""
        return isinstance(self.error, Exception) or (self.status is not None and self.status[:1] == _SERVER_ERROR)

    def _tell(self, finished: Finished, seconds: float) -> None:
        """Call `finished` where the request's span is the current one."""
        if self.status is None and self.error is not None:
            self.route = _matched(self.app, self.environ)
        before = current_context()
        if before is self.context:
            finished(self, seconds)
            return
        attach(self.context)
        try:
            finished(self, seconds)
        finally:
            attach(before)


def serve(
    app: flask.Flask,
    call: Callable[[dict[str, Any], Any], Any],
    environ: dict[str, Any],
    start_response: Any,
    finished: Finished | None,
) -> Any:
    """Have `call`, the WSGI application of `app`, answer a request, and tell `finished` when it is over.

    Health probes are passed through, and so is a request that is looked at already.
    """
    if _MARK in environ or is_probe(environ.get("PATH_INFO", "")):
        return call(environ, start_response)
    try:
        served = Served(app, environ, start_response, finished)
        before = None if finished is None else _open_tally(served)
    except Exception:  # noqa: BLE001 - the request is served, looked at or not
        spans.complain("looking at a request")
        return call(environ, start_response)
    try:
        body = call(environ, served.start_response)
    except BaseException as error:
        if before is not None:
            attach(before)
        served.finish(error)
        raise
    if before is not None:
        attach(before)
    return served.handed_over(body)


def _open_tally(served: Served) -> Context | None:
    """Put a tally into the request's context; return what to attach again if that had to be made for it.

    The context that our own instrument has made for the request is the request's alone, and takes the tally as it is:
    what the application attaches on top goes on, into a streamed body, too.
    """
    served.tally = tally = Tally()
    before = served.context
    request = served.environ.get(_OUR_INSTRUMENT)
    if request is not None and request.span is not None and request.context is before:
        _set(before, TALLY_KEY, tally)
        return None
    attach(Context({**before, TALLY_KEY: tally}))
    return before


def current_tally() -> Tally | None:
    """Return the tally of the request that is served in this thread, or whose context has come here."""
    tally = current_context().get(TALLY_KEY)
    if isinstance(tally, Tally):
        return tally
    request = _flask_request()
    served = None if request is None else request.environ.get(_MARK)
    return served.tally if isinstance(served, Served) else None


class _Counted:
    """Passes a streamed body on and counts its bytes. The request is over after the last piece, or at the close."""

    __slots__ = ("_body", "_is_whole", "_next", "_served")

    def __init__(self, body: Any, served: Served) -> None:
        self._body = body
        self._served = served
        self._next: Callable[[], Any] | None = None
        self._is_whole = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            if self._next is None:
                self._next = iter(self._body).__next__
            piece = self._next()
        except StopIteration:
            self._is_whole = True
            if not has_callbacks(self._body):
                self._served.finish()
            raise
        except BaseException as error:
            self._served.finish(error)
            raise
        try:  # noqa: SIM105 - a context manager for each piece costs more than all the rest
            self._served.sent += len(piece)
        except TypeError:
            pass  # no bytes: the server will say so
        return piece

    def close(self) -> None:
        """Close the body; a server that does so before the end has lost its client."""
        served = self._served
        is_short = served.length is None or served.sent < served.length
        served.is_aborted = not served.is_over and not self._is_whole and is_short
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            served.finish(error)
            raise
        served.finish()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)


def _flask_request() -> Any:
    """Return the request that Flask is at in this context, itself and not a proxy, or None."""
    return flask.request._get_current_object() if flask.has_request_context() else None  # type: ignore[attr-defined]


def _matched(app: flask.Flask, environ: dict[str, Any]) -> str | None:
    """Return the route of a request whose view let an exception out, which Flask has forgotten by then."""
    try:
        rule, _ = app.url_map.bind_to_environ(environ).match(return_rule=True)
    except Exception:  # noqa: BLE001 - no route, or a host that no route is for
        return None
    return str(rule.rule)
