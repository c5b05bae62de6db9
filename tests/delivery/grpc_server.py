"""A real gRPC server (grpcio) in this process that answers raw requests by a script, and keeps what it received."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

Behaviour = Callable[[Any, Event], bytes]
"""Answers one request, given its context and an event that is set when the server ends."""


@dataclass
class Received:
    """One request."""

    method: str
    body: bytes
    metadata: dict[str, Any]
    peer: str


@dataclass
class Served:
    """The server's address, and its requests so far."""

    address: str
    requests: list[Received] = field(default_factory=list)


def taken(context: Any, ending: Event) -> bytes:
    """Take everything."""
    return b""


def partly_taken(rejected: int, message: str) -> Behaviour:
    """Take all but some."""
    answer = ExportTraceServiceResponse(
        partial_success=ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
    )
    return lambda context, ending: answer.SerializeToString()


def hang(context: Any, ending: Event) -> bytes:
    """Never answer."""
    ending.wait(60)
    return b""


def fails(code: str, details: str = "", *, wait: float | None = None) -> Behaviour:
    """Fail with `code`; with `wait` a RetryInfo says how long to wait, among other details."""

    def answer(context: Any, ending: Event) -> bytes:
        if wait is not None:
            status = Status(code=8, message=details)
            status.details.add().Pack(ErrorInfo(reason="quota"))
            status.details.add().Pack(RetryInfo(retry_delay=_duration(wait)))
            status.details.add().Pack(ErrorInfo(reason="quota"))
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode[code], details)
        raise AssertionError("abort raises")

    return answer


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration


@contextmanager
def serving(
    *behaviours: Behaviour, credentials: Any = None, address: str = "127.0.0.1:0", max_size: int = 4 * 1024 * 1024
) -> Iterator[Served]:
    """Serve on a free port; the n-th request gets the n-th behaviour, and the last one stays."""
    ending = Event()
    served = Served("")

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
        def service(self, details: Any) -> Any:
            def answer(body: bytes, context: Any) -> bytes:
                metadata = dict(context.invocation_metadata())
                served.requests.append(Received(details.method, body, metadata, context.peer()))
                return behaviours[min(len(served.requests), len(behaviours)) - 1](context, ending)

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(
        ThreadPoolExecutor(4),
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", max_size)],
    )
    server.add_generic_rpc_handlers((Handler(),))
    add = server.add_insecure_port if credentials is None else server.add_secure_port
    port = add(*([address] if credentials is None else [address, credentials]))
    scheme = "http" if credentials is None else "https"
    served.address = f"{scheme}://{address.rpartition(':')[0]}:{port}"
    server.start()
    try:
        yield served
    finally:
        ending.set()
        server.stop(0).wait()
