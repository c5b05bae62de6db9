"""An OTLP/HTTP receiver for tests: keeps what arrives, decoded, and can be made to misbehave."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from typing import Any, Self

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_MESSAGES: dict[str, Any] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}


@dataclass
class Received:
    """Decoded requests by signal, in order of arrival."""

    requests: dict[str, list[Any]] = field(default_factory=lambda: {"traces": [], "metrics": [], "logs": []})

    def spans(self) -> list[Any]:
        return [
            span
            for request in self.requests["traces"]
            for of_resource in request.resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]

    def logs(self) -> list[Any]:
        return [
            record
            for request in self.requests["logs"]
            for of_resource in request.resource_logs
            for of_scope in of_resource.scope_logs
            for record in of_scope.log_records
        ]

    def metrics(self) -> dict[str, Any]:
        """Return the last state of each metric by name."""
        return {
            metric.name: metric
            for request in self.requests["metrics"]
            for of_resource in request.resource_metrics
            for of_scope in of_resource.scope_metrics
            for metric in of_scope.metrics
        }

    def resources(self) -> list[dict[str, Any]]:
        """Return the attributes of every resource that spans came with."""
        return [
            attributes(of_resource.resource.attributes)
            for request in self.requests["traces"]
            for of_resource in request.resource_spans
        ]


def attributes(pairs: Any) -> dict[str, Any]:
    """Return OTLP key/value pairs as a dictionary of plain values."""
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in pairs}


class OtlpReceiver:
    """Listens on a free loopback port. `behaviour` says how it answers: ok, 503, black_hole or trickle."""

    def __init__(self, behaviour: str = "ok") -> None:
        self.behaviour = behaviour
        self.received = Received()
        self._changed = Condition()
        self._ending = Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler_class())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, condition: Callable[[Received], Any], timeout: float = 20.0) -> Any:
        """Return what `condition` says of the received data as soon as that is true; fail after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not (result := condition(self.received)):
                if not self._changed.wait(deadline - time.monotonic()):
                    counts = {signal: len(requests) for signal, requests in self.received.requests.items()}
                    raise AssertionError(f"did not arrive within {timeout} s; requests so far: {counts}")
            return result

    def keep(self, path: str, body: bytes) -> None:
        request = decoded(path, body)
        with self._changed:
            self.received.requests[path.removeprefix("/v1/")].append(request)
            self._changed.notify_all()

    def _handler_class(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                answers = {"ok": self._accept, "503": self._refuse, "black_hole": self._hang, "trickle": self._trickle}
                answers[receiver.behaviour](body)

            def _accept(self, body: bytes) -> None:
                receiver.keep(self.path, body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def _refuse(self, body: bytes) -> None:
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def _hang(self, body: bytes) -> None:
                receiver._ending.wait(60)

            def _trickle(self, body: bytes) -> None:
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n" + b"x" * 60:
                    if receiver._ending.wait(1):
                        return
                    try:
                        self.wfile.write(bytes([byte]))
                    except OSError:
                        return

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


def decoded(path: str, body: bytes) -> Any:
    """Return the request that was posted to `path`, as a protobuf message."""
    request = _MESSAGES[path]()
    request.ParseFromString(body)
    return request


def refused_url() -> str:
    """Return an address of this machine that nothing listens on."""
    return f"http://127.0.0.1:{free_port()}"


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def points(metric: Any) -> Iterator[Any]:
    """Yield the data points of a decoded metric, whatever its kind."""
    return iter(getattr(metric, str(metric.WhichOneof("data"))).data_points)
