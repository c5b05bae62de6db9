"""A fault proxy: stands between a program and an OTLP receiver, and can be made to fail in all the ways networks do.

    with FaultProxy(receiver.url) as proxy:   # programs send to proxy.url
        proxy.be(black_hole)
        proxy.be(healthy)

A fault is a function of one exchange; `refuse` and `no_accept` concern the port itself. What passes is counted.
"""

from __future__ import annotations

import gzip
import http.client
import socket
import ssl
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from email.utils import formatdate
from threading import Event, Lock, Thread
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tests.numbered import NUMBER, Number
from tests.otlp_receiver import attributes, decoded

_RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"
_ANSWERS: Mapping[str, Any] = {"/v1/traces": ExportTraceServiceResponse, "/v1/logs": ExportLogsServiceResponse}


class Broken(Exception):
    """The connection ended, by either side."""


class Exchange:
    """One request; its head has been read, its body has not."""

    def __init__(self, connection: socket.socket, proxy: FaultProxy, head: bytes, read: bytes) -> None:
        self.connection = connection
        self.proxy = proxy
        first, *lines = head.decode("latin-1").split("\r\n")
        self.path = first.split(" ")[1]
        pairs = (line.partition(":") for line in lines)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self.length = int(self.headers.get("content-length", 0))
        self._read = read

    @property
    def signal(self) -> str:
        """``traces``, ``metrics`` or ``logs``."""
        return self.path.removeprefix("/v1/")

    @property
    def ending(self) -> Event:
        """Set when the proxy ends."""
        return self.proxy.ending

    @property
    def body(self) -> bytes:
        """The body as it was sent, read when first asked for."""
        self.read(self.length)
        return self._read

    @property
    def message(self) -> bytes:
        """The body, decompressed."""
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body

    def read(self, length: int) -> None:
        """Read at least the first `length` bytes of the body."""
        while len(self._read) < length:
            part = self.connection.recv(min(65536, self.length - len(self._read)))
            if not part:
                raise Broken
            self._read += part

    def forward(self, message: bytes | None = None) -> tuple[int, bytes]:
        """Hand the request, or `message` in its place, on to the receiver; return its status and the answer's body."""
        return self.proxy.forward(self, self.message if message is None else message)

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Answer, and keep the connection."""
        self.connection.sendall(_answer(status, body, headers or {}))

    def reset(self) -> None:
        """Break the connection off."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        raise Broken


Fault = Callable[[Exchange], None]


def healthy(exchange: Exchange) -> None:
    """Pass the request on, and the answer back."""
    status, body = exchange.forward()
    exchange.answer(status, body)


def refuse(exchange: Exchange) -> None:
    """Nobody listens; open connections are broken off (the port sees to it)."""
    exchange.reset()


def no_accept(exchange: Exchange) -> None:
    """The queue of connections that wait to be accepted is full: connecting hangs (the port sees to it)."""
    exchange.reset()


def black_hole(exchange: Exchange) -> None:
    """Take the request and never answer."""
    _ = exchange.body
    exchange.ending.wait(3600)
    raise Broken


def reset_in_body(exchange: Exchange) -> None:
    """Break off when half of the body has come."""
    exchange.read(exchange.length // 2)
    exchange.reset()


def reset_after_forwarding(exchange: Exchange) -> None:
    """Deliver, and break off before the answer: the sender cannot know, and has to send again."""
    exchange.forward()
    exchange.reset()


def slow_reader(exchange: Exchange) -> None:
    """Take one byte of the request a second."""
    for length in range(1, exchange.length + 1):
        if exchange.ending.wait(1):
            raise Broken
        exchange.read(length)
    healthy(exchange)


def slow_answer(exchange: Exchange) -> None:
    """Send one byte of the answer a second; the request is not delivered."""
    _ = exchange.body
    for byte in _answer(200, b"", {"X-Padding": "x" * 100}):
        if exchange.ending.wait(1):
            raise Broken
        exchange.connection.sendall(bytes([byte]))


def redirect(exchange: Exchange) -> None:
    """Point somewhere else."""
    _ = exchange.body
    exchange.answer(307, headers={"Location": "http://elsewhere.invalid/v1/traces"})


def speaks_tls(exchange: Exchange) -> None:
    """Answer plain HTTP with a TLS alert, as a TLS port does."""
    exchange.connection.sendall(b"\x15\x03\x03\x00\x02\x02\x16")
    raise Broken


def untrusted(exchange: Exchange) -> None:
    """Show a certificate that nobody signed, where the proxy speaks TLS."""
    exchange.reset()


def unavailable(exchange: Exchange) -> None:
    """Say 503, with nothing more."""
    _ = exchange.body
    exchange.answer(503)


def bad_request(exchange: Exchange) -> None:
    """Say 400: what was sent will never be taken."""
    exchange.proxy.refused[exchange.signal].update(numbers_in(exchange.path, exchange.message))
    exchange.answer(400)


def throttled(seconds: float, *, as_date: bool = False) -> Fault:
    """Say 429 with a Retry-After of so many seconds, in figures or as a date."""

    def throttle(exchange: Exchange) -> None:
        _ = exchange.body
        after = formatdate(time.time() + seconds, usegmt=True) if as_date else f"{seconds:.0f}"
        exchange.answer(429, headers={"Retry-After": after})

    return throttle


def slow(seconds: float) -> Fault:
    """Take so many seconds for every request."""

    def wait(exchange: Exchange) -> None:
        exchange.ending.wait(seconds)
        healthy(exchange)

    return wait


def rejecting(items: int) -> Fault:
    """Take each request but for its first `items` records: a partial success."""

    def reject(exchange: Exchange) -> None:
        if exchange.path not in _ANSWERS:
            return healthy(exchange)
        kept, rejected = _without_first(exchange.path, exchange.message, items)
        exchange.proxy.refused[exchange.signal].update(rejected)
        exchange.forward(kept)
        answer = _ANSWERS[exchange.path]()
        field = "rejected_spans" if exchange.path == "/v1/traces" else "rejected_log_records"
        setattr(answer.partial_success, field, len(rejected))
        answer.partial_success.error_message = "the first ones are not wanted"
        return exchange.answer(200, answer.SerializeToString())

    return reject


def limited_to(size: int) -> Fault:
    """Say 413 to requests of more than `size` bytes, and take the others."""

    def limit(exchange: Exchange) -> None:
        if len(exchange.message) > size:
            exchange.answer(413)
        else:
            healthy(exchange)

    return limit


class FaultProxy:
    """Listens on a loopback port of its own, which stays its own while it refuses.

    `met` counts the requests that each fault has seen, `forwarded` those that the receiver took; `refused` has the
    numbers of records that were turned away for good, by signal. With `tls` (good and untrusted contexts) it speaks
    TLS. Headers named in `passing` are handed on.
    """

    def __init__(
        self, target: str, *, tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None, passing: Sequence[str] = ()
    ) -> None:
        self._target = urllib.parse.urlsplit(target)
        self._passing = passing
        self._tls = tls
        self.ending = Event()
        self.met: Counter[Fault] = Counter()
        self.forwarded: Counter[str] = Counter()
        self.refused: dict[str, Counter[Number]] = {"traces": Counter(), "metrics": Counter(), "logs": Counter()}
        self._fault: Fault = healthy
        self._lock = Lock()
        self._connections: set[socket.socket] = set()
        self._idle: set[socket.socket] = set()
        self._holder = _bound(0)
        self.port: int = self._holder.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._listener: socket.socket | None = None
        self._queue: list[socket.socket] = []

    def __enter__(self) -> FaultProxy:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self._close()
        self._holder.close()

    @property
    def fault(self) -> Fault:
        """The fault of this moment."""
        return self._fault

    def be(self, fault: Fault) -> None:
        """Behave like `fault` from the next request on."""
        before, self._fault = self._fault, fault
        concerns_port = {before, fault} & {refuse, no_accept, untrusted}
        if concerns_port and before is not fault:
            self._close()
            if fault is no_accept:
                self._fill_queue()
            elif fault is not refuse:
                self._open()

    def forward(self, exchange: Exchange, message: bytes) -> tuple[int, bytes]:
        """Hand a message on to the receiver."""
        receiver = http.client.HTTPConnection(str(self._target.hostname), self._target.port, timeout=30)
        try:
            headers = {name: exchange.headers[name] for name in self._passing if name in exchange.headers}
            headers["Content-Type"] = "application/x-protobuf"
            receiver.request("POST", exchange.path, message, headers)
            answer = receiver.getresponse()
            status, body = answer.status, answer.read()
        finally:
            receiver.close()
        with self._lock:
            self.forwarded[exchange.path] += status == 200
        return status, body

    def _open(self) -> None:
        self._listener = listener = _bound(self.port)
        listener.listen(128)
        Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _fill_queue(self) -> None:
        """Listen without ever accepting; connections of our own take up what room the queue has."""
        self._listener = _bound(self.port)
        self._listener.listen(0)
        for _ in range(3):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", self.port))
            self._queue.append(waiting)

    def _close(self) -> None:
        """Listen no more and break connections off: idle ones now, others when their request is done with."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            self._listener.close()
            self._listener = None
        for waiting in self._queue:
            waiting.close()
        self._queue.clear()
        with self._lock:
            self._connections.clear()
            idle = list(self._idle)
        for connection in idle:
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections.add(connection)
            Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        connection = raw
        try:
            if self._tls is not None:
                good, bad = self._tls
                if self._fault is untrusted:
                    self.met[untrusted] += 1
                connection = (bad if self._fault is untrusted else good).wrap_socket(raw, server_side=True)
            while raw in self._connections and (exchange := self._next(raw, connection)) is not None:
                fault = self._fault
                with self._lock:
                    self.met[fault] += 1
                fault(exchange)
        except (OSError, Broken, http.client.HTTPException):
            pass
        finally:
            with self._lock:
                self._connections.discard(raw)
                self._idle.discard(raw)
            connection.close()

    def _next(self, raw: socket.socket, connection: socket.socket) -> Exchange | None:
        read = b""
        with self._lock:
            self._idle.add(raw)
        while b"\r\n\r\n" not in read:
            part = connection.recv(65536)
            if not part:
                return None
            read += part
            with self._lock:
                self._idle.discard(raw)
        head, _, rest = read.partition(b"\r\n\r\n")
        return Exchange(connection, self, head, rest)


def _bound(port: int) -> socket.socket:
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", port))
    return found


def _answer(status: int, body: bytes, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {http.client.responses[status]}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def numbers_in(path: str, message: bytes) -> list[Number]:
    """Return the numbers of the spans or log records in a request; none of metrics."""
    return [number for group in _groups(path, decoded(path, message)) for number in map(_number, group)]


def _number(record: Any) -> Number:
    number: Number = attributes(record.attributes).get(NUMBER, "")
    return number


def _groups(path: str, message: Any) -> list[Any]:
    """Return the lists of records in a decoded request."""
    if path == "/v1/traces":
        return [scope.spans for one in message.resource_spans for scope in one.scope_spans]
    if path == "/v1/logs":
        return [scope.log_records for one in message.resource_logs for scope in one.scope_logs]
    return []


def _without_first(path: str, message: bytes, items: int) -> tuple[bytes, list[Number]]:
    request = decoded(path, message)
    rejected: list[Number] = []
    for group in _groups(path, request):
        while group and len(rejected) < items:
            rejected.append(_number(group[0]))
            del group[0]
    return request.SerializeToString(), rejected
