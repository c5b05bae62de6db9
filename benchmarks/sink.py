"""The receiver: a process that takes OTLP over HTTP and gRPC, keeps the bodies, and counts them when asked.

Nothing is decoded while a variant is being measured. Which variant sent a request stands in a header.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import grpc  # type: ignore[import-untyped]

from benchmarks.arrivals import Counter
from benchmarks.subject import control
from benchmarks.variants import HEADER

Body = tuple[str, str, bytes]
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
_OK_JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_GRPC_SIGNALS = {"TraceService": "traces", "MetricsService": "metrics", "LogsService": "logs"}


class Kept:
    """The bodies that arrived, by variant."""

    def __init__(self) -> None:
        self._bodies: dict[str, list[Body]] = defaultdict(list)
        self._counters: dict[str, Counter] = defaultdict(Counter)
        self._lock = threading.Lock()

    def add(self, variant: str, body: Body) -> None:
        """Keep a body."""
        with self._lock:
            self._bodies[variant].append(body)

    def counted(self, variant: str) -> dict[str, int]:
        """Return the counts of what `variant` sent since it was last asked about, and forget the bodies."""
        with self._lock:
            bodies = self._bodies.pop(variant, [])
        return asdict(self._counters[variant].count(bodies))


class Receiver(asyncio.Protocol):
    """One HTTP connection, kept alive: as little work for each request as can be."""

    def __init__(self, keep: Callable[[str, Body], None]) -> None:
        self._keep = keep
        self._read = bytearray()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._read[:end]).decode("latin-1")
            target, headers = parsed_head(head)
            body, begins = self._body(headers, end + 4)
            if body is None:
                return
            del self._read[:begins]
            variant, signal = route(target, headers)
            if body and signal:
                self._keep(variant, (signal, headers.get("content-encoding", ""), body))
            self._transport.write(_OK if signal in ("traces", "metrics", "logs") else _OK_JSON)

    def _body(self, headers: dict[str, str], begins: int) -> tuple[bytes | None, int]:
        """Return the body and where the next request begins; None while it has not arrived."""
        if headers.get("transfer-encoding", "") == "chunked":
            return _dechunked(self._read, begins)
        length = int(headers.get("content-length", 0))
        if len(self._read) < begins + length:
            if headers.get("expect", "") == "100-continue" and len(self._read) == begins:
                self._transport.write(_CONTINUE)
            return None, begins
        return bytes(self._read[begins : begins + length]), begins + length


def parsed_head(head: str) -> tuple[str, dict[str, str]]:
    """Return the target of a request and its headers, names in lower case."""
    first, *lines = head.split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first.split(" ")[1], {name.strip().lower(): value.strip() for name, _, value in pairs}


def route(target: str, headers: dict[str, str]) -> tuple[str, str]:
    """Return which variant sent a request and which signal it carries; "" for a signal that is not counted."""
    path = target.partition("?")[0]
    if path.startswith("/v0."):
        return "ddtrace", "ddtrace" if path.endswith("/traces") else ""
    if path.endswith("/envelope/"):
        return "sentry", "sentry"
    return headers.get(HEADER, ""), path.removeprefix("/v1/") if path.startswith("/v1/") else ""


def _dechunked(read: bytearray, begins: int) -> tuple[bytes | None, int]:
    body = bytearray()
    while (end := read.find(b"\r\n", begins)) >= 0:
        size = int(read[begins:end].split(b";")[0], 16)
        begins = end + 2
        if len(read) < begins + size + 2:
            return None, begins
        body += read[begins : begins + size]
        begins += size + 2
        if size == 0:
            return bytes(body), begins
    return None, begins


class GrpcService(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Takes every OTLP call as bytes."""

    def __init__(self, keep: Callable[[str, Body], None]) -> None:
        self._keep = keep

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler:
        """Return what takes this call."""
        signal = _GRPC_SIGNALS.get(handler_call_details.method.split("/")[1].rsplit(".", 1)[-1], "")
        variant = dict(handler_call_details.invocation_metadata).get(HEADER, "")

        def take(body: bytes, _: grpc.ServicerContext) -> bytes:
            self._keep(variant, (signal, "", body))
            return b""

        return grpc.unary_unary_rpc_method_handler(take)


class Sink:
    """Both servers, and the answers to the harness."""

    def __init__(self) -> None:
        self._kept = Kept()
        self._loop = asyncio.new_event_loop()
        server = self._loop.run_until_complete(
            self._loop.create_server(lambda: Receiver(self._kept.add), "127.0.0.1", 0)
        )
        self._http_port = server.sockets[0].getsockname()[1]
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._grpc = grpc.server(ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", 64 << 20)])
        self._grpc.add_generic_rpc_handlers((GrpcService(self._kept.add),))
        self._grpc_port = self._grpc.add_insecure_port("127.0.0.1:0")
        self._grpc.start()

    def handle(self, command: dict[str, Any]) -> dict[str, Any]:
        """Answer ``addresses`` or ``counted`` (of a ``variant``)."""
        if command["do"] == "addresses":
            return {"http": f"http://127.0.0.1:{self._http_port}", "grpc": f"http://127.0.0.1:{self._grpc_port}"}
        return self._kept.counted(command["variant"])


if __name__ == "__main__":
    control.serve(Sink().handle)
