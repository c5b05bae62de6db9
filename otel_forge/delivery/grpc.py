"""The sender over gRPC: the same bytes, outcomes and manners as over HTTP, on grpcio (the extra `grpc`).

The channel belongs to the process that made it: a forked child makes its own and never touches the parent's, whose
threads it has not got. A fork in the very moment of a call is grpcio's weak spot (with 1.85, two of 180 such children
crashed in it; none when no call was in flight): servers that fork from a busy parent do better with HTTP. After a
failure of the transport the channel is given up, so that the next request connects anew instead of waiting for
grpcio's own back-off, which grows to two minutes.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from otel_forge.delivery.answers import Outcome, Verdict, fields_of, partial_success
from otel_forge.delivery.patience import SLICE, CutShort, DeadlinePassed, Patience, nothing
from otel_forge.delivery.sender import in_words
from otel_forge.settings import OtlpSettings, Signal
from otel_forge.version import VERSION

METHODS: Mapping[Signal, str] = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
TEMPORARY = frozenset(("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"))
"""Codes after which OTLP has the client try again (specification: OTLP/gRPC, retryable response codes)."""

_TRANSPORT = frozenset(("CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE", "UNKNOWN"))
_RETRY_INFO = b"type.googleapis.com/google.rpc.RetryInfo"
_TOO_LARGE = re.compile(r"larger than max|exceeds maximum size", re.IGNORECASE)
_CUT_OFF = re.compile(r"stream removed|socket closed|connection reset|broken pipe", re.IGNORECASE)
_NAME = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[ -~]*")
_KNOWN: Mapping[str, str] = {
    "Connection refused": "connection refused",
    "errors resolving": "name resolution failed",
    "DNS resolution": "name resolution failed",
    "CERTIFICATE_VERIFY_FAILED": "certificate not trusted",
    "WRONG_VERSION_NUMBER": "the other side does not speak TLS",
    "Connection reset": "connection reset",
    "Network is unreachable": "network unreachable",
}
_abandoned: list[Any] = []
"""Channels of the parent: a finalizer that closes one in the child would wait for threads that are not there."""


class GrpcSender:
    """Sends requests of one signal to its endpoint; used by one thread."""

    def __init__(
        self,
        otlp: OtlpSettings,
        signal: Signal,
        *,
        at_a_time: float = SLICE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(otlp.endpoint)
        self._target = parts.netloc.rpartition("@")[2] or otlp.endpoint
        self.address = f"{parts.scheme}://{self._target}" if parts.netloc else otlp.endpoint
        self._is_plain = parts.scheme != "https" and (parts.scheme == "http" or otlp.insecure)
        self._otlp = otlp
        self._method = METHODS[signal]
        self._metadata = _metadata(otlp.headers)
        self._at_a_time = at_a_time
        self._clock = clock
        self._channel: Any = None
        self._call: Any = None
        self._pid = 0

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
        seconds = self._otlp.timeout if timeout is None else min(timeout, self._otlp.timeout)
        patience = Patience(self._clock() + seconds, idle, clock=self._clock, at_a_time=self._at_a_time)
        metadata = (*self._metadata, ("idempotency-key", ",".join(ids))) if ids else self._metadata
        try:
            outcome, code = self._outcome(self._answer(body, metadata, patience))
        except Exception as error:  # noqa: BLE001 - whatever happened, the data is still here
            self.close()
            return Outcome(Verdict.LATER, in_words(error))
        if code in _TRANSPORT:
            self.close()
        return outcome

    def close(self) -> None:
        """Close the channel; the next request opens another."""
        channel, self._channel, self._call = self._channel, None, None
        if channel is None:
            return
        if self._pid == os.getpid():
            channel.close()
        else:
            _abandoned.append(channel)

    def _answer(self, body: bytes, metadata: Sequence[tuple[str, str]], patience: Patience) -> Any:
        """Return the finished call; raises DeadlinePassed, of which CutShort is one, when there is no time left."""
        if self._channel is None or self._pid != os.getpid():
            self.close()
            self._open()
        done = Event()
        call = self._call(body, timeout=patience.left(), metadata=metadata)
        call.add_done_callback(lambda finished: done.set())
        try:
            patience.set(done)
        except (CutShort, DeadlinePassed):
            call.cancel()
            raise
        return call

    def _open(self) -> None:
        grpc: Any = import_module("grpc")  # an extra, and slow to import

        compression = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}.get(self._otlp.compression)
        options = [
            ("grpc.primary_user_agent", f"otel-forge/{VERSION} (OTLP-Exporter-Python)"),
            ("grpc.use_local_subchannel_pool", 1),  # or a new channel inherits the back-off of the old
        ]
        if self._is_plain:
            self._channel = grpc.insecure_channel(self._target, options, compression)
        else:
            self._channel = grpc.secure_channel(self._target, _credentials(grpc, self._otlp), options, compression)
        self._pid = os.getpid()
        self._call = self._channel.unary_unary(self._method).future

    def _outcome(self, call: Any) -> tuple[Outcome, str]:
        code: str = call.code().name
        if code == "OK":
            rejected, message = partial_success(call.result())
            return Outcome(Verdict.DELIVERED, message, rejected=rejected), code
        return outcome_of(code, call.details() or "", retry_delay(call.trailing_metadata() or ())), code


def outcome_of(code: str, details: str, delay: float | None = None) -> Outcome:
    """Return what a status other than OK means; `delay` in seconds is what the other side asks for, if it does."""
    reason = _reason(code, details)
    if code == "RESOURCE_EXHAUSTED" and _TOO_LARGE.search(details):
        return Outcome(Verdict.TOO_LARGE, reason)
    is_temporary = code in TEMPORARY or (code == "RESOURCE_EXHAUSTED" and delay is not None)
    if is_temporary or (code == "UNKNOWN" and _CUT_OFF.search(details)):
        return Outcome(Verdict.LATER, reason, retry_after=delay)
    return Outcome(Verdict.REFUSED, reason)


def _reason(code: str, details: str) -> str:
    if code == "DEADLINE_EXCEEDED":
        return "timed out"
    for sign, words in _KNOWN.items():
        if code == "UNAVAILABLE" and sign in details:
            return words
    first = details.splitlines()[0][:120] if details else ""
    return f"gRPC {code}: {first}" if first else f"gRPC {code}"


def retry_delay(metadata: Sequence[tuple[str, Any]]) -> float | None:
    """Return the seconds that a RetryInfo among the details of a status asks for; None if there is none.

    A google.rpc.Status has its details in field 3, each of them type (1) and value (2); a RetryInfo has its delay in
    field 1, which is seconds (1) and nanoseconds (2). Anything that can't be read counts as not there.
    """
    for key, value in metadata:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                return _delay_of(value)
            except (IndexError, ValueError, TypeError):
                return None
    return None


def _delay_of(status: bytes) -> float | None:
    for number, detail in fields_of(status):
        found = dict(fields_of(_as_bytes(detail))) if number == 3 else {}
        if found.get(1) == _RETRY_INFO:
            duration = dict(fields_of(_as_bytes(dict(fields_of(_as_bytes(found.get(2, b"")))).get(1, b""))))
            seconds, nanos = duration.get(1, 0), duration.get(2, 0)
            if isinstance(seconds, int) and isinstance(nanos, int) and seconds < 1 << 62 and nanos < 1_000_000_000:
                return seconds + nanos / 1e9
            return 0.0
    return None


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number in place of a message")
    return value


def _metadata(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return headers as gRPC takes them: lower case, ASCII; what it would raise on, or sets itself, is left out."""
    lowered = [(name.strip().lower(), value.strip()) for name, value in headers.items()]
    return tuple(
        (name, value)
        for name, value in lowered
        if _NAME.fullmatch(name) and _VALUE.fullmatch(value) and not name.startswith("grpc-") and name[-4:] != "-bin"
    )


def _credentials(grpc: Any, otlp: OtlpSettings) -> Any:
    """Return how the server is checked and who we say we are; raises OSError if a file cannot be used."""

    def read(path: str | None) -> bytes | None:
        return Path(path).read_bytes() if path else None

    return grpc.ssl_channel_credentials(
        root_certificates=read(otlp.certificate),
        private_key=read(otlp.client_key),
        certificate_chain=read(otlp.client_certificate),
    )
