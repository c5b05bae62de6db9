"""The body of a response on its way to the client, and how to tell when it has been sent.

A body that is complete in memory needs no watching: no more of the application runs. One that is made while it
is sent gets a `Body` around it, which makes the request's span the current one for each piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Protocol

from opentelemetry.context import Context
from werkzeug.wsgi import ClosingIterator

from otel_forge.sdk.current import attach, current_context


class Unfinished(Protocol):
    """A request whose body is still being sent."""

    context: Context

    def finish(self, error: BaseException | None = None) -> None: ...


class Body:
    """Passes a body on. The request is over after the last piece, when the server closes, or when nobody wants more."""

    __slots__ = ("__weakref__", "_body", "_next", "_request")

    def __init__(self, body: Any, request: Unfinished) -> None:
        self._body = body
        self._request = request
        self._next: Callable[[], Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        request = self._request
        before = current_context()
        attach(request.context)
        try:
            if self._next is None:
                self._next = iter(self._body).__next__
            return self._next()
        except StopIteration:
            if not has_callbacks(self._body):
                request.finish()
            raise
        except BaseException as error:
            request.finish(error)
            raise
        finally:
            request.context = current_context()  # the generator may be inside a span of its own
            attach(before)

    def close(self) -> None:
        """Close the body and end the request; so does a server whose client has gone."""
        request = self._request
        before = current_context()
        attach(request.context)
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            request.finish(error)
            raise
        finally:
            attach(before)
            request.finish()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def __del__(self) -> None:
        self._request.finish()


def is_ready(body: Any) -> bool:
    """Return whether all of `body` is in memory and nothing of the application is left to run.

    The werkzeug response behind a body is found by the bound method that closes it.
    """
    kind = type(body)
    if kind is not ClosingIterator:
        return kind is list or kind is tuple
    try:
        response = body._callbacks[-1].__self__
        if response._on_close:
            return False
        content = response.response
        return type(content) is list or _is_of_exception(content)
    except (AttributeError, IndexError):
        return False


def _is_of_exception(content: Any) -> bool:
    """Return whether `content` is the body of an ``HTTPException`` that Flask has made a response of.

    werkzeug calls the exception as an application for that, looks at the first piece and chains it to the others
    (`werkzeug.test.run_wsgi_app`).
    """
    if type(content) is not ClosingIterator or type(content._next.args[0]) is not chain:  # type: ignore[attr-defined]
        return False
    inner = content._callbacks[-1].__self__  # type: ignore[attr-defined]
    return type(inner) is ClosingIterator and is_ready(inner)


def is_file(body: Any, wrapper: Any) -> bool:
    """Return whether `body` is a file that the server may send by itself, and must therefore see as it is."""
    if wrapper is None:
        return False
    return isinstance(body, wrapper) if isinstance(wrapper, type) else hasattr(body, "read")


def end_with_file(body: Any, finish: Callable[[], None]) -> Any:
    """Call `finish` when the file `body` is closed, or now if it does not let us know."""
    close = getattr(body, "close", None)

    def closing() -> None:
        try:
            if close is not None:
                close()
        finally:
            finish()

    try:
        body.close = closing
    except AttributeError:
        finish()
    return body


def has_callbacks(body: Any) -> bool:
    """Return whether the application wants to do something when the response is closed.

    `body` is werkzeug's, or stands for one and passes its attributes on.
    """
    try:
        return bool(body._callbacks[-1].__self__._on_close)
    except (AttributeError, LookupError, TypeError):
        return False
