"""How long the thread of a request is held up when it hands a finished span over, by the clock on the wall."""

from __future__ import annotations

from itertools import repeat
from time import perf_counter
from typing import Any

from benchmarks.spread import percentile
from benchmarks.subject.units import SERVER_ATTRIBUTES

LONG = 0.001
"""Seconds that a request thread may wait for telemetry."""

_STEPS = 1500
"""Additions between two spans: some 60 µs of work, so that about 12,000 spans a second are made."""


def measure(count: int) -> dict[str, Any]:
    """Return microseconds of handing `count` spans over, ``p50_us`` and so on, and how many took `LONG` and more.

    The same of doing nothing (``idle_…``) is what the machine does to any thread.
    """
    from opentelemetry import trace

    tracer = trace.get_tracer("units")
    held, idle = [], []
    for _ in repeat(None, count):
        span = tracer.start_span("GET /api/assets/<id>", attributes=SERVER_ATTRIBUTES)
        _work()
        before = perf_counter()
        span.end()
        between = perf_counter()
        _nothing()
        idle.append(perf_counter() - between)
        held.append(between - before)
    return {**_told("", held), **_told("idle_", idle)}


def _told(prefix: str, taken: list[float]) -> dict[str, float]:
    ordered = sorted(taken)
    return {
        f"{prefix}p50_us": percentile(ordered, 0.5) * 1e6,
        f"{prefix}p999_us": percentile(ordered, 0.999) * 1e6,
        f"{prefix}longest_us": ordered[-1] * 1e6,
        f"{prefix}long": float(sum(seconds > LONG for seconds in ordered)),
    }


def _work() -> None:
    total = 0
    for number in range(_STEPS):
        total += number


def _nothing() -> None:
    """Take no time."""
