"""Several things at once, within a time; also where gevent has put greenlets in the place of threads.

There a wait for a thread's end, or for what a true thread sets, may not be noticed before its time is over. So what is
waited for is an event, in slices.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

SLICE = 0.05
"""Seconds that are waited at a time."""


def wait(event: threading.Event, deadline: float, clock: Callable[[], float] = time.monotonic) -> bool:
    """Wait until `event` is set or `deadline` (of the clock) has come; return whether it is set."""
    while not event.is_set() and (left := deadline - clock()) > 0:
        event.wait(min(left, SLICE))
    return event.is_set()


def all_at_once(actions: Sequence[Callable[[], bool]], timeout: float) -> bool:
    """Run `actions` in threads; return whether all of them returned True within `timeout` seconds.

    Where no thread can be had any more, as at the end of newer interpreters, they run one after the other.
    """
    deadline = time.monotonic() + timeout
    running = [_Running(action) for action in actions]
    ended = [wait(one.done, deadline) for one in running]
    return all(ended) and all(one.result for one in running)


class _Running:
    """An action on its way."""

    def __init__(self, action: Callable[[], bool]) -> None:
        self.done = threading.Event()
        self.result = False
        self._action = action
        try:
            threading.Thread(target=self._run, name="otel-forge-parallel", daemon=True).start()
        except RuntimeError:
            self._run()

    def _run(self) -> None:
        try:
            self.result = self._action()
        finally:
            self.done.set()
