"""Stand-ins for Prometheus, Loki and Tempo that keep what a Collector delivers to them."""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from tests.otlp_receiver import OtlpReceiver

grpc: Any = importlib.import_module("grpc")  # carries no types


class Stores(OtlpReceiver):
    """One OTLP/HTTP server where Prometheus and Loki stand, below their path prefixes, and gRPC for Tempo."""

    def __init__(self, behaviour: str = "ok") -> None:
        super().__init__(behaviour)
        self.grpc_server = grpc.server(ThreadPoolExecutor(2))
        self.tempo = f"127.0.0.1:{self.grpc_server.add_insecure_port('127.0.0.1:0')}"
        self.paths: set[str] = set()
        servicer: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
        servicer(_Traces(self), self.grpc_server)

    def __enter__(self) -> Stores:
        super().__enter__()
        self.grpc_server.start()
        return self

    def __exit__(self, *details: object) -> None:
        self.grpc_server.stop(0)
        super().__exit__(*details)

    def environ(self) -> dict[str, str]:
        """Return the variables that point a Collector here."""
        return {"FORGE_PROMETHEUS_URL": self.url, "FORGE_LOKI_URL": self.url, "FORGE_TEMPO_ENDPOINT": self.tempo}

    def keep(self, path: str, body: bytes) -> None:
        """Keep a request under its signal, and remember the path it came by."""
        self.paths.add(path)
        super().keep("/v1/" + path.rpartition("/")[2], body)


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def Export(self, request: Any, context: Any) -> Any:
        if self._stores.behaviour != "ok":
            context.abort(grpc.StatusCode.UNAVAILABLE, "the test says so")
        self._stores.keep("/v1/traces", request.SerializeToString())
        return trace_service_pb2.ExportTraceServiceResponse()


def send_traces(address: str, request: Any) -> None:
    """Send a trace request over gRPC to an address such as 127.0.0.1:4317."""
    stub: Any = trace_service_pb2_grpc.TraceServiceStub
    with grpc.insecure_channel(address) as channel:
        stub(channel).Export(request, timeout=10)
