"""How many requests this process has served of late, and how many of them failed: what alert rules ask.

There is a slot for each second of the last quarter of an hour, so a request costs one addition however many there are.
Health probes are no traffic, nor are requests whose URLs the settings leave out of telemetry.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import ceil
from threading import RLock
from typing import NamedTuple

from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard

LONGEST = 900
"""Seconds that are remembered."""


class Counts(NamedTuple):
    """Requests of a while, and those among them that ended with a server error (5xx, or an exception)."""

    requests: int
    errors: int


class Traffic:
    """Counts of requests by second; `first` is called at the first request of this process."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, first: Callable[[], object] = lambda: None
    ) -> None:
        self._clock = clock
        self._first = first
        self._begin_anew()
        on_fork_in_child(self._begin_anew)

    def _begin_anew(self) -> None:
        """Forget everything, as a forked child does: what its parent has served, the parent tells."""
        self._lock = RLock()  # a garbage collection in the midst of `count` may end another request
        self._seconds = [-1] * LONGEST
        self._requests = [0] * LONGEST
        self._errors = [0] * LONGEST
        self._total_requests = self._total_errors = 0

    def count(self, is_error: bool) -> None:
        """Count a request that has just been served."""
        second = int(self._clock())
        slot = second % LONGEST
        with self._lock:
            if self._seconds[slot] != second:
                self._seconds[slot] = second
                self._requests[slot] = self._errors[slot] = 0
            self._requests[slot] += 1
            self._total_requests += 1
            if is_error:
                self._errors[slot] += 1
                self._total_errors += 1
            is_first = self._total_requests == 1
        if is_first:
            self._first()

    def window(self, seconds: float) -> Counts:
        """Return the counts of the last `seconds`, the current one included; ValueError if so many are not kept."""
        if not 0 < seconds <= LONGEST:
            raise ValueError(f"seconds={seconds!r} is not a number above 0 and up to {LONGEST}.")
        with self._lock:
            now = int(self._clock())
            slots = [second % LONGEST for second in range(now - ceil(seconds) + 1, now + 1)]
            kept = [slot for slot in slots if now - LONGEST < self._seconds[slot] <= now]
            return Counts(sum(self._requests[slot] for slot in kept), sum(self._errors[slot] for slot in kept))

    def totals(self) -> Counts:
        """Return the counts of this process since it began."""
        with self._lock:
            return Counts(self._total_requests, self._total_errors)


_waiting: list[Callable[[], object]] = []
_is_serving = False


def when_serving(callback: Callable[[], object]) -> None:
    """Call `callback` as soon as this process serves requests, now if it does; and in each forked child that does.

    For what must begin in the workers of a server and not in the process that forks them.
    """
    _waiting.append(callback)
    if _is_serving:
        with guard("beginning to serve"):
            callback()


def serves() -> None:
    """Take note that this process serves requests, which the first one says at the latest. Never raises."""
    global _is_serving
    if not _is_serving:
        _is_serving = True
        for callback in list(_waiting):
            with guard("beginning to serve"):
                callback()


def _serves_not_yet() -> None:
    global _is_serving
    _is_serving = False


on_fork_in_child(_serves_not_yet)

_traffic = Traffic(first=serves)
count = _traffic.count
window = _traffic.window
totals = _traffic.totals
