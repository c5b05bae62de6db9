"""The attributes of a server span: those that requests of one kind share, and those of the single request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_forge.instruments.bounded import Bounded
from otel_forge.instruments.core import BoundHistogram
from otel_forge.instruments.http import is_error, span_name, synthetic_type
from otel_forge.otlp.attributes import fixed_attributes

_STATUS_CODE = "http.response.status_code"


class Kind:
    """What all requests with the same method, route, status, scheme, protocol and server have in common.

    `fixed` are their attributes, encoded once; a kind that is not kept has them in `unshared` instead.
    """

    __slots__ = ("cell", "description", "fixed", "is_failure", "name", "unshared")

    def __init__(
        self, key: tuple[Any, ...], error: BaseException | None, duration: BoundHistogram, *, is_kept: bool
    ) -> None:
        method, route, status, scheme, protocol, host, port = key
        self.name = f"{span_name(method)} {route}" if route else span_name(method)
        self.is_failure = error is not None
        self.description: str | None = None
        measured: dict[str, Any] = {"http.request.method": method}
        _put(measured, "url.scheme", scheme)
        _put(measured, "network.protocol.version", _version(protocol))
        _put(measured, "http.route", route)
        self._add_status(measured, status)
        if error is not None:
            measured["error.type"] = type(error).__qualname__
        self.cell = duration.bind(measured)
        attributes = {**measured, **server_attributes(host, port)}
        self.fixed = fixed_attributes(attributes) if is_kept else None
        self.unshared = None if is_kept else attributes

    def _add_status(self, attributes: dict[str, Any], status: str | None) -> None:
        if status is None:
            return
        answer = response_attributes(status)
        attributes.update(answer)
        if "error.type" in answer:
            self.is_failure = True
        if _STATUS_CODE not in answer:
            self.description = f"Non-integer HTTP status: {answer['error.type']}"


def server_attributes(host: str | None, port: Any) -> dict[str, Any]:
    """Return where the request was sent to; a port that is no number is left out."""
    attributes: dict[str, Any] = {}
    _put(attributes, "server.address", host)
    _put(attributes, "server.port", _number(port))
    return attributes


def response_attributes(status: str) -> dict[str, Any]:
    """Return what the `status` line of a response says."""
    code = str(status).partition(" ")[0]
    try:
        number = int(code)
    except ValueError:
        return {"error.type": code}
    if is_error(number, server=True):
        return {_STATUS_CODE: number, "error.type": code}
    return {_STATUS_CODE: number}


def own_attributes(environ: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Return the attributes of the single request, of which any server sets a few."""
    get = environ.get
    attributes: dict[str, Any] = {}
    path = get("PATH_INFO")
    if path:
        attributes["url.path"] = path if path.isascii() else _decoded(path)
    query = get("QUERY_STRING")
    if query:
        attributes["url.query"] = query if query.isascii() else _decoded(query)
    client = get("REMOTE_HOST") or get("REMOTE_ADDR")
    if client:
        attributes["client.address"] = client
    port = get("REMOTE_PORT")
    if port:
        try:  # noqa: SIM105 - a context manager costs more than all the rest
            attributes["client.port"] = int(port)
        except ValueError:
            pass
    agent = get("HTTP_USER_AGENT")
    if agent:
        attributes["user_agent.original"] = agent
        if agent not in _people:
            _add_synthetic_type(attributes, agent)
    if environ["REQUEST_METHOD"] is not method:
        original = str(environ["REQUEST_METHOD"]).strip()
        if original != method:
            _put(attributes, "http.request.method_original", original)
    return attributes


def _add_synthetic_type(attributes: dict[str, Any], agent: str) -> None:
    kind = synthetic_type(agent)
    if kind is None:
        _people.keep(agent, True)
    else:
        attributes["user_agent.synthetic.type"] = kind


def request_attributes(environ: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Return all that is known when the request comes in, for a sampler or a processor to see."""
    attributes: dict[str, Any] = {"http.request.method": method}
    _put(attributes, "url.scheme", environ.get("wsgi.url_scheme"))
    _put(attributes, "network.protocol.version", _version(environ.get("SERVER_PROTOCOL")))
    attributes.update(server_attributes(environ.get("HTTP_HOST"), environ.get("SERVER_PORT")))
    attributes.update(own_attributes(environ, method))
    return attributes


_people = Bounded(512)  # user agents known not to be synthetic


def _put(attributes: dict[str, Any], key: str, value: Any) -> None:
    if value:
        attributes[key] = value


def _version(protocol: str | None) -> str | None:
    return protocol[5:] if protocol and protocol.upper().startswith("HTTP/") else protocol


def _number(text: Any) -> int | None:
    try:
        return int(text)
    except (TypeError, ValueError):
        return None


def _decoded(text: str) -> str:
    """Return the UTF-8 text that WSGI passes as if it were Latin-1 (PEP 3333)."""
    try:
        return text.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return text
