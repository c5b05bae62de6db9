"""Waiting for the other side: never longer than agreed, and with turns for other work in between.

The delivery thread also empties the ring and writes what is held up. While it waits for a socket, for a lookup
or for a time that the back end named, it calls `idle` at least every `SLICE` seconds, so that a back end which
hangs never makes the ring overflow.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from threading import Event
from typing import Any

SLICE = 0.1
"""Seconds that are waited at a time."""


class DeadlinePassed(TimeoutError):
    """The time for a request is over."""


class CutShort(DeadlinePassed):
    """The process ends; `idle` raises it to have a request given up before its time."""


def nothing() -> None:
    """Have nothing to do meanwhile."""


class Patience:
    """Waits until `deadline` (of the clock) at the most."""

    __slots__ = ("_clock", "_deadline", "_idle", "_next_turn", "_slice")

    def __init__(
        self,
        deadline: float,
        idle: Callable[[], object] = nothing,
        *,
        clock: Callable[[], float] = time.monotonic,
        at_a_time: float = SLICE,
    ) -> None:
        self._deadline = deadline
        self._idle = idle
        self._clock = clock
        self._slice = at_a_time
        self._next_turn = clock() + at_a_time

    def left(self) -> float:
        """Return the seconds left; raises DeadlinePassed if there are none."""
        left = self._deadline - self._clock()
        if left <= 0:
            raise DeadlinePassed("timed out")
        return left

    def share(self, parts: int) -> Patience:
        """Return the patience for the first of `parts` tries: what is left, divided by them."""
        deadline = self._clock() + self.left() / parts
        return Patience(deadline, self._idle, clock=self._clock, at_a_time=self._slice)

    def readable(self, connection: Any) -> None:
        """Wait until something can be read; raises DeadlinePassed."""
        self._wait(lambda seconds: ready(connection, seconds, reading=True))

    def writable(self, connection: Any) -> None:
        """Wait until something can be written, or a connection is established or has failed; raises DeadlinePassed."""
        self._wait(lambda seconds: ready(connection, seconds, writing=True))

    def either(self, connection: Any) -> bool:
        """Wait until something can be written or read; return whether it is to be read. Raises DeadlinePassed."""
        self._wait(lambda seconds: ready(connection, seconds, reading=True, writing=True))
        return ready(connection, 0, reading=True)

    def set(self, event: Event) -> None:
        """Wait until `event` is set; raises DeadlinePassed."""
        self._wait(event.wait)

    def _wait(self, is_ready: Callable[[float], bool]) -> None:
        while not is_ready(self._until_turn()):
            pass

    def _until_turn(self) -> float:
        """Return how long to wait before others have a turn; if that is now, they have it. Raises DeadlinePassed."""
        left = self.left()
        now = self._deadline - left
        if now >= self._next_turn:
            self._idle()
            left = self.left()
            self._next_turn = self._deadline - left + self._slice
            return min(left, self._slice)
        return min(left, self._next_turn - now)


def ready(connection: Any, seconds: float, *, reading: bool = False, writing: bool = False) -> bool:
    """Wait up to `seconds` for a socket to be ready, or broken; return whether it is.

    ``select`` knows no descriptors beyond 1023 and serves only where there is no ``poll``.
    """
    if not hasattr(select, "poll"):
        found = select.select([connection] if reading else [], [connection] if writing else [], [connection], seconds)
        return any(found)
    poll = select.poll()  # looked up at each call: gevent puts its own in place
    poll.register(connection, (select.POLLIN if reading else 0) | (select.POLLOUT if writing else 0))
    return bool(poll.poll(seconds * 1000))
