"""The sender: one request to the back end, and what came of it. It never raises and never logs.

It says what a failure was in a few words, without addresses of objects, and leaves it to its caller when to
try again.
"""

from __future__ import annotations

import os
import re
import socket
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException, RemoteDisconnected
from typing import TYPE_CHECKING, Any

from otel_forge.delivery.answers import Outcome, Verdict, outcome_of
from otel_forge.delivery.connection import Connection, Target
from otel_forge.delivery.lookup import Lookup
from otel_forge.delivery.patience import SLICE, CutShort, Patience, nothing
from otel_forge.settings import OtlpSettings
from otel_forge.version import VERSION

if TYPE_CHECKING:
    import ssl

_LINE_BREAKS = re.compile(r"[\r\n\0]")
_SET_BY_US = {
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "transfer-encoding",
}


class Sender:
    """Sends requests of one signal to its endpoint; used by one thread."""

    def __init__(
        self,
        otlp: OtlpSettings,
        *,
        proxies: Mapping[str, str] | None = None,
        lookup: Lookup | None = None,
        at_a_time: float = SLICE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        target = Target.of(otlp.endpoint, *(proxies_of_environment() if proxies is None else (proxies, _never)))
        self.address = target.address
        self._connection = Connection(target, lambda: tls_context(otlp), lookup=lookup)
        self._headers = _headers(otlp)
        self._compress = _COMPRESSIONS.get(otlp.compression)
        self._timeout = otlp.timeout
        self._at_a_time = at_a_time
        self._clock = clock

    def send(
        self,
        body: bytes,
        timeout: float | None = None,
        *,
        ids: Sequence[str] = (),
        idle: Callable[[], object] = nothing,
    ) -> Outcome:
        """Send one serialized request within the settings' timeout, or `timeout` seconds if that is less.

        `ids` are those of the batches in it, by which the other side can tell what it has already; `idle` is called
        again and again while there is nothing to do but wait.
        """
        deadline = self._clock() + (self._timeout if timeout is None else min(timeout, self._timeout))
        patience = Patience(deadline, idle, clock=self._clock, at_a_time=self._at_a_time)
        headers = {**self._headers, "Idempotency-Key": ",".join(ids)} if ids else self._headers
        try:
            data = body if self._compress is None else self._compress(body)
            answer = self._connection.post(headers, data, patience)
            return outcome_of(answer.status, answer.phrase, answer.headers, answer.body)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001 - whatever happened, the data is still here
            self._connection.close()
            return Outcome(Verdict.LATER, in_words(error))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _headers(otlp: OtlpSettings) -> dict[str, str]:
    own = {_LINE_BREAKS.sub(" ", name): _LINE_BREAKS.sub(" ", value) for name, value in otlp.headers.items()}
    headers = {name: value for name, value in own.items() if name.lower() not in _SET_BY_US}
    if "user-agent" not in map(str.lower, headers):
        headers["User-Agent"] = f"otel-forge/{VERSION} (OTLP-Exporter-Python)"
    headers["Content-Type"] = "application/x-protobuf"
    if otlp.compression in _COMPRESSIONS:
        headers["Content-Encoding"] = otlp.compression
    return headers


_COMPRESSIONS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: _compressed(body, 16 + zlib.MAX_WBITS),
    "deflate": lambda body: _compressed(body, zlib.MAX_WBITS),
}


def _compressed(body: bytes, form: int) -> bytes:
    """Compress at level 1: five times as fast as the default level, and hardly larger."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, form)
    return compressor.compress(body) + compressor.flush()


def proxies_of_environment() -> tuple[Mapping[str, str], Callable[[str], bool]]:
    """Return the proxies that the environment names, by scheme, and which hosts it says are reached directly."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return {}, _never
    import urllib.request  # slow to import

    functions: Any = urllib.request  # those for the variables alone are not in the type stubs
    found = functions.getproxies_environment()
    return found, lambda host: bool(functions.proxy_bypass_environment(host, found))


def _never(host: str) -> bool:
    return False


def tls_context(otlp: OtlpSettings) -> ssl.SSLContext:
    """Return how the server is checked and who we say we are; raises OSError if a file cannot be used."""
    import ssl  # plain HTTP, the usual case, does without

    context = ssl.create_default_context(cafile=otlp.certificate)
    if otlp.client_certificate:
        context.load_cert_chain(otlp.client_certificate, otlp.client_key)
    return context


def in_words(error: Exception) -> str:
    """Return what went wrong in a few words."""
    if isinstance(error, CutShort):
        return "no time left at exit"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, RemoteDisconnected):
        return "connection closed by the other side"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "connection reset"
    if isinstance(error, socket.gaierror):
        return "unknown host" if error.errno == socket.EAI_NONAME else "name resolution failed"
    text = str(error)
    for sign, words in _KNOWN.items():
        if sign in text:
            return words
    if isinstance(error, HTTPException):
        return "the other side does not speak HTTP"
    return text.splitlines()[0][:120] if text else type(error).__name__


_KNOWN: Mapping[str, str] = {
    "CERTIFICATE_VERIFY_FAILED": "certificate not trusted",
    "WRONG_VERSION_NUMBER": "the other side does not speak TLS",
    "No route to host": "no route to host",
    "Network is unreachable": "network unreachable",
}
