"""`watch_event_loop`: how late an asyncio event loop is with its timers, which is how long everything in it waits."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics

from otel_forge.guard import guard
from otel_forge.metrics.refusals import SCOPE

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

LAG = "otel_forge.event_loop.lag"
BOUNDARIES = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_lag: Any = metrics.get_meter(SCOPE).create_histogram(
    LAG, "s", "How late the event loop is with its timers.", explicit_bucket_boundaries_advisory=BOUNDARIES
)
_watched: weakref.WeakSet[Any] = weakref.WeakSet()


def watch_event_loop(loop: AbstractEventLoop | None = None, *, interval: float = 0.5) -> None:
    """Measure from now on, every `interval` seconds, how late timers of `loop` are; by default of the running loop.

    To be called on the thread of the loop, once in a process: a second call for the same loop changes nothing. It ends
    with the loop, and costs it a timer. Raises RuntimeError if no loop is given and none is running, and ValueError for
    an interval that is not above 0.
    """
    from asyncio import get_running_loop

    if not interval > 0:
        raise ValueError(f"interval={interval!r} is not a number of seconds above 0.")
    watched = loop or get_running_loop()
    if watched not in _watched:
        _watched.add(watched)
        _Timer(watched, interval).start()


class _Timer:
    """A timer of the loop that begins anew each time it fires."""

    def __init__(self, loop: AbstractEventLoop, interval: float) -> None:
        self._loop = loop
        self._interval = interval

    def start(self) -> None:
        self._due = self._loop.time() + self._interval
        self._loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        with guard("measuring the lag of the event loop"):
            _lag.record(max(self._loop.time() - self._due, 0.0))
        self.start()
