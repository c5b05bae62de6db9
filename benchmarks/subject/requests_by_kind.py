"""The requests: what each kind asks for, and what telemetry of it must arrive."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

ASSETS = 1000
DISTINCT = "units.distinct"
"""The counter that is given distinct attribute sets; points of others, which not all variants have, are not counted."""
_BODY = b'{"name": "a better name", "size": 4711}'
_HEADERS = {
    "HTTP_HOST": "127.0.0.1:8000",
    "HTTP_USER_AGENT": "benchmark/1.0",
    "HTTP_ACCEPT": "application/json",
    "HTTP_CONNECTION": "keep-alive",
}


@dataclass(frozen=True)
class Implied:
    """What one request must leave at the receiver: spans, log records and counts of the duration histogram."""

    spans: int
    logs: int
    durations: int = 1


@dataclass(frozen=True)
class Kind:
    """One kind of request; `path` takes an identifier, `is_logged` asks for the app with a request log."""

    method: str
    path: str
    status: int
    implied: Implied
    body: bytes = b""
    is_logged: bool = False


KINDS = {
    "asset": Kind("GET", "/api/assets/{}", 200, Implied(spans=2, logs=1)),
    "post": Kind("POST", "/api/assets/{}", 201, Implied(spans=4, logs=1), _BODY),
    "upstream": Kind("GET", "/api/preview/{}", 200, Implied(spans=2, logs=0)),
    "logged": Kind("GET", "/api/assets/{}", 200, Implied(spans=2, logs=2), is_logged=True),
    "error": Kind("GET", "/api/broken/{}", 500, Implied(spans=1, logs=1)),
}


def kind_named(name: str) -> Kind:
    """Return the kind of that name; ``scale-10-3`` is one with ten spans of three attributes each."""
    if name in KINDS:
        return KINDS[name]
    _, spans, attributes = name.split("-")
    return Kind("GET", f"/scale/{spans}/{attributes}", 200, Implied(spans=1 + int(spans), logs=0))


def wsgi_environ(kind: Kind, number: int) -> dict[str, Any]:
    """Return what a WSGI server would hand over for the `number`-th request of this kind."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": kind.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": kind.path.format(1 + number % ASSETS),
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "40000",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(kind.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **_HEADERS,
    }
    if kind.body:
        environ["CONTENT_TYPE"] = "application/json"
        environ["CONTENT_LENGTH"] = str(len(kind.body))
    return environ


def raw_request(kind: Kind, number: int) -> bytes:
    """Return the same request as the bytes that a client sends on a connection it keeps."""
    head = (
        f"{kind.method} {kind.path.format(1 + number % ASSETS)} HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
        "User-Agent: benchmark/1.0\r\nAccept: application/json\r\n"
    )
    if kind.body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(kind.body)}\r\n"
    return f"{head}\r\n".encode() + kind.body
