"""The one thread that looks after checks and draining, and whose turns are the heartbeat that liveness goes by."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from otel_forge.guard import guard
from otel_forge.health import draining
from otel_forge.health.attempts import start_thread

TURN = 0.5
"""Seconds between two turns at the most."""
LOST_AFTER = 30.0
"""Seconds without a turn after which the process says of itself that it is dead: sixty turns are missing then."""
_A_CHANCE = 0.002
_UNTIL_IT_MAY = 0.05


class Background:
    """Calls `advance` with the time (of `clock`) whenever it asked for that, and at least every half second.

    Started in the process that serves, by its first request or probe; a forked child starts its own.
    """

    def __init__(self, advance: Callable[[float], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._advance = advance
        self._clock = clock
        self._may_begin: Callable[[], bool] = lambda: True
        self.forget()

    def forget(self) -> None:
        """Be as new: after a fork, when the thread is gone."""
        self.is_started = False
        """Whether there is a thread in this process."""
        self._ring: threading.Event | None = None
        self._turned = 0.0
        self._has_turned = False
        self._starting = threading.Lock()

    def stop(self) -> None:
        """End the thread; it can be started anew."""
        ring = self._ring
        self.forget()
        if ring is not None:
            ring.set()

    @property
    def is_alive(self) -> bool:
        """Whether the thread is there and turns: False before it was started, and when it is stuck or gone."""
        return self._has_turned and self._clock() - self._turned < LOST_AFTER

    def start(self, may_begin: Callable[[], bool] = lambda: True, before: Callable[[], object] = lambda: None) -> None:
        """Start the thread unless there is one; nothing is checked before `may_begin` says so.

        `before` is called first, by one of many threads that start it at the same time. Raises RuntimeError if the
        process can have no more threads.
        """
        if not self._starting.acquire(blocking=False):
            return
        try:
            if not self.is_started:
                before()
                self._may_begin = may_begin
                self._ring = threading.Event()  # made here: under gevent it has to be made after the patching
                start_thread(self._run, "otel-forge health")
                self.is_started = True
        finally:
            self._starting.release()

    def wake(self) -> None:
        """Have the thread take a turn now; not for signal handlers, as it takes a lock."""
        if self._ring is not None:
            self._ring.set()

    def is_lost(self) -> bool:
        """Return whether the thread has stopped turning, which only happens in a process that can't be helped.

        A process that was stopped, or in which no other thread had its turn for long, is given a chance to take one.
        """
        if not self._has_turned or self.is_alive:
            return False
        time.sleep(_A_CHANCE)
        return not self.is_alive

    def _run(self) -> None:
        ring, pid = self._ring, os.getpid()
        while ring is not None and ring is self._ring and pid == os.getpid():
            ring.clear()
            pause = TURN
            with guard("looking after health checks"):
                pause = self._turn()
            ring.wait(pause)

    def _turn(self) -> float:
        """Take a turn; return how long the next one has time, in seconds."""
        now = self._clock()
        self._turned, self._has_turned = now, True
        following = draining.advance(now)
        if not self._may_begin():
            return _UNTIL_IT_MAY
        following = min(following, self._advance(now))
        return min(max(following - self._clock(), 0.0), TURN)
