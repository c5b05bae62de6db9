"""Unit costs: single operations through the OpenTelemetry API, on whichever pipeline this process runs.

Each is told as what the calling thread pays, and as what the whole process pays until the data has left it.
Encoding is measured directly, on the encoder that the pipeline uses.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import repeat
from typing import Any

from benchmarks.subject import encoding
from benchmarks.subject.flushing import flush
from benchmarks.subject.requests_by_kind import DISTINCT

_DISTINCT = "distinct sets"
Operation = Callable[[], Any]

SERVER_ATTRIBUTES: dict[str, Any] = {
    "http.request.method": "GET",
    "url.scheme": "http",
    "url.path": "/api/assets/17",
    "server.address": "127.0.0.1",
    "server.port": 8000,
    "client.address": "127.0.0.1",
    "network.peer.address": "127.0.0.1",
    "network.peer.port": 40000,
    "network.protocol.version": "1.1",
    "user_agent.original": "benchmark/1.0",
    "http.route": "/api/assets/<int:key>",
    "http.response.status_code": 200,
    "app.tenant": "first",
}


def measure(name: str, count: int) -> dict[str, Any]:
    """Return microseconds for one operation of that name: ``thread_us`` and, until exported, ``all_us``."""
    if name.startswith("encode"):
        thread_us, all_us = encoding.measure(name, count)
        return {"thread_us": thread_us, "all_us": all_us}
    operation = _OPERATIONS[name]()
    if name == _DISTINCT:
        thread_us, all_us = _timed(operation, count)
        return {"thread_us": thread_us, "all_us": all_us}
    for _ in repeat(None, min(count // 10 + 1, 200)):
        operation()
    flush()
    thread_us, all_us = _timed(operation, count)
    idle, _ = _timed(_nothing, count)
    return {"thread_us": thread_us - idle, "all_us": all_us - idle}


def available() -> list[str]:
    """Return the operations that can be measured in this process."""
    if find_spec("opentelemetry") is None:
        return ["log"]
    return [*_OPERATIONS, *encoding.available()]


def _timed(operation: Operation, count: int) -> tuple[float, float]:
    gc.collect()
    process, thread = time.process_time(), time.thread_time()
    for _ in repeat(None, count):
        operation()
    thread_us = (time.thread_time() - thread) / count * 1e6
    flush()
    return thread_us, (time.process_time() - process) / count * 1e6


def _nothing() -> None:
    """Cost what calling anything costs."""


def _span() -> Operation:
    from opentelemetry import trace

    tracer = trace.get_tracer("units")
    return lambda: tracer.start_span("GET /api/assets/<id>", attributes=SERVER_ATTRIBUTES).end()


def _span_set_one_by_one() -> Operation:
    from opentelemetry import trace

    tracer = trace.get_tracer("units")
    pairs = list(SERVER_ATTRIBUTES.items())

    def operation() -> None:
        span = tracer.start_span("GET /api/assets/<id>")
        for name, value in pairs:
            span.set_attribute(name, value)
        span.end()

    return operation


def _span_as_context() -> Operation:
    from opentelemetry import trace

    tracer = trace.get_tracer("units")

    def operation() -> None:
        with tracer.start_as_current_span("SELECT"):
            pass

    return operation


def _histogram(attributes: int) -> Operation:
    from opentelemetry import metrics

    histogram = metrics.get_meter("units").create_histogram(f"units.duration.{attributes}", unit="s")
    some = dict(list(SERVER_ATTRIBUTES.items())[:attributes])
    return lambda: histogram.record(0.012, some)


def _distinct_sets() -> Operation:
    from opentelemetry import metrics

    counter = metrics.get_meter("units").create_counter(DISTINCT)
    numbers = iter(range(10**9))
    return lambda: counter.add(1, {"app.user": next(numbers), "app.tenant": "first"})


def _log() -> Operation:
    logger = logging.getLogger("units")
    return lambda: logger.info("asset %s was read", 17)


_OPERATIONS: dict[str, Callable[[], Operation]] = {
    "span": _span,
    "span, 13 set_attribute": _span_set_one_by_one,
    "span as context": _span_as_context,
    "histogram, 3 attributes": lambda: _histogram(3),
    "histogram, 9 attributes": lambda: _histogram(9),
    "log": _log,
    _DISTINCT: _distinct_sets,
}
