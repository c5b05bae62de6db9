"""Answers 429 of other services: counted by the host that gave them, whether or not the trace is sampled."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import requests
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_forge.metrics import rate_limits
from otel_forge.metrics.rate_limits import UPSTREAM_EXCEEDED, Counters
from tests.instruments.conftest import Kept
from tests.instruments.conftest import Start as Start
from tests.instruments.conftest import kept as kept
from tests.instruments.conftest import start as start


class Busy(BaseHTTPRequestHandler):
    """A service that has had enough, except of /well."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/well" else 429)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def busy() -> Iterator[str]:
    """The address of that service."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("options", [{}, {"sampler": ALWAYS_OFF}], ids=["sampled", "not sampled"])
def test_an_answer_429_is_counted_by_host(
    start: Start, kept: Kept, busy: str, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """And no other answer is; the host is all that is said of it."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    counters = Counters(provider.get_meter("test"))
    monkeypatch.setattr(rate_limits, "counters", lambda: counters)
    start("requests", kept.core(**options))
    for path in ("/well", "/a?key=geheim", "/b"):
        requests.get(busy + path, timeout=5)
    data = reader.get_metrics_data()
    assert data is not None
    [metric] = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
    [point] = metric.data.data_points
    assert (metric.name, metric.unit) == (UPSTREAM_EXCEEDED, "{response}")
    assert (point.value, dict(point.attributes or {})) == (2, {"server.address": "127.0.0.1"})  # type: ignore[union-attr]
    provider.shutdown()
