"""What HTTP servers and clients have in common: methods, status codes, headers to capture, URLs to leave out, hooks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from otel_forge.guard import guard
from otel_forge.instruments.bounded import Bounded
from otel_forge.notices import notice
from otel_forge.parsing import NAMES

SCHEMA_URL = "https://opentelemetry.io/schemas/1.21.0"
DURATION_BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
OTHER = "_OTHER"

_KNOWN_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY")
_SYNTHETIC_AGENTS = (("alwayson", "test"), ("googlebot", "bot"), ("bingbot", "bot"))
_MOST_NAMES = 256


class Methods:
    """Request methods as the conventions want them: known ones as they are, any other as ``_OTHER``."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._all = bool(environ.get("OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS"))
        self.known: dict[str, str] = {method: method for method in _KNOWN_METHODS}
        """What needs no looking into: read it with ``get`` before calling `normal`."""

    def normal(self, method: str) -> str:
        """Return `method` as ``http.request.method`` has it."""
        upper = method.upper()
        return upper if self._all or upper in self.known else OTHER


def span_name(method: str) -> str:
    """Return what a span of the normalized `method` is called."""
    return "HTTP" if method == OTHER else method


class Headers:
    """Which headers of one direction become attributes, and whose values must not be seen."""

    def __init__(self, direction: str, captured: Iterable[str], sanitized: Iterable[str]) -> None:
        self._prefix = f"http.{direction}.header."
        self._captured = _pattern(captured)
        self._sanitized = _pattern(sanitized)
        self._attributes = Bounded(_MOST_NAMES)

    def __bool__(self) -> bool:
        return self._captured is not None

    def attributes(self, headers: Iterable[tuple[str, Any]]) -> dict[str, tuple[str, ...]]:
        """Return the attributes of those `headers` that are to be captured; a name that repeats is joined by commas."""
        found: dict[str, tuple[str, ...]] = {}
        for name, value in headers:
            attribute = self._attribute(name)
            if attribute is None:
                continue
            key, is_hidden = attribute
            if is_hidden:
                found[key] = ("[REDACTED]",)
            elif key in found:
                found[key] = (f"{found[key][0]},{_text(value)}",)
            else:
                found[key] = (_text(value),)
        return found

    def _attribute(self, name: str) -> tuple[str, bool] | None:
        """Return the attribute's key and whether the value is hidden; None for a header that is not captured."""
        try:
            known: tuple[str, bool] | None = self._attributes[name]
        except KeyError:
            known = self._attributes.keep(name, self._work_out(name))
        return known

    def _work_out(self, name: str) -> tuple[str, bool] | None:
        if self._captured is None or not self._captured.fullmatch(name):
            return None
        is_hidden = self._sanitized is not None and self._sanitized.search(name) is not None
        return self._prefix + name.lower().replace("-", "_"), is_hidden


def captured_headers(environ: Mapping[str, str], side: str) -> tuple[Headers, Headers]:
    """Return what of requests and responses is captured on the `side` "server" or "client"."""
    sanitized = _names(environ, "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS")
    variable = f"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_{side.upper()}_"
    return (
        Headers("request", _names(environ, f"{variable}REQUEST"), sanitized),
        Headers("response", _names(environ, f"{variable}RESPONSE"), sanitized),
    )


def excluded_pattern(environ: Mapping[str, str], library: str, given: str | None = None) -> re.Pattern[str] | None:
    """Return the pattern of URLs to leave out: `given`, else the library's variable, else the general one."""
    text = given
    if text is None:
        own = environ.get(f"OTEL_PYTHON_{library.upper()}_EXCLUDED_URLS")
        text = environ.get("OTEL_PYTHON_EXCLUDED_URLS", "") if own is None else own
    return _pattern(NAMES(text) if text else (), 0)


def guarded(hook: Callable[..., Any] | None, what: str) -> Callable[..., None] | None:
    """Return `hook` so that what it raises costs only itself; None for what cannot be called."""
    if hook is None or not callable(hook):
        return None
    called: Callable[..., Any] = hook

    def call(*args: Any) -> None:
        with guard(what):
            called(*args)

    return call


def synthetic_type(agent: str) -> str | None:
    """Return what kind of machine calls itself `agent`, as upstream sees it: test, bot or None."""
    lower = agent.lower()
    return next((kind for word, kind in _SYNTHETIC_AGENTS if word in lower), None)


def is_error(status: int, *, server: bool) -> bool:
    """Return whether a status code stands for a failed span; for servers the client's own mistakes do not."""
    return status < 100 or status >= (500 if server else 400)


def _names(environ: Mapping[str, str], variable: str) -> tuple[str, ...]:
    names: tuple[str, ...] = NAMES(environ.get(variable, ""))
    return names


def _pattern(expressions: Iterable[str], flags: int = re.IGNORECASE) -> re.Pattern[str] | None:
    """Return one pattern of all `expressions` that are regular expressions; the others are said and left out.

    As upstream joins them, one that has a comma in it is whole again.
    """
    expressions = tuple(expressions)
    try:
        return re.compile("|".join(expressions), flags) if expressions else None
    except re.error:
        pass
    usable = []
    for expression in expressions:
        try:
            re.compile(expression)
            usable.append(expression)
        except re.error as error:
            notice(f"{expression!r} is not a regular expression ({error}) and is left out.")
    return re.compile("|".join(usable), flags) if usable else None


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
