"""The delivery thread of one signal: started when first needed, woken by a bell, gone in a forked child.

The bell is a lock used as a flag: ringing it never waits, so a request thread or a signal handler may.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock, Thread

from otel_forge.delivery.fork import on_fork_in_child
from otel_forge.guard import guard


class Flush:
    """Somebody waits, until `deadline`, for everything to be delivered."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.done = Event()
        self.succeeded = False


class Worker:
    """Calls `work` in a thread of its own every `interval` seconds and whenever the bell rings.

    ``work(deadline)`` gathers and delivers; a deadline means that somebody waits for it, and that everything is to be
    tried until then. It returns whether nothing is left. `pause` gives the seconds to wait at the most instead of
    `interval`, where that is less and more than nothing.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[float | None], bool],
        interval: float,
        *,
        pause: Callable[[], float] = lambda: 0.0,
        prepare: Callable[[], None] = lambda: None,
        finish: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._work = work
        self._interval = interval
        self._pause = pause
        self._prepare = prepare
        self._finish = finish
        self._clock = clock
        self._renew()
        on_fork_in_child(self._renew)

    def _renew(self) -> None:
        """Be as new; in a forked child the thread does not exist and its locks may be held for ever."""
        self._gate = Lock()
        self._bell = Lock()
        self._bell.acquire()
        self._rung = False
        self._thread: Thread | None = None
        self._flushes: list[Flush] = []
        self._closing = False

    def start(self) -> bool:
        """Start the thread, unless it runs or all is over; return whether it runs. Never raises."""
        with self._gate:
            if self._thread is None and not self._closing:
                self._launch()
            return self._thread is not None

    def _launch(self) -> None:
        thread = Thread(target=self._run, name=f"otel-forge-{self._name}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread can be had, or the interpreter is going down: the next record tries again
            return
        self._thread = thread

    def ring(self) -> None:
        """Wake the thread; costs nearly nothing when it is awake already."""
        if self._rung:
            return
        self._rung = True
        with suppress(RuntimeError):  # rung by two at once
            self._bell.release()

    def flush(self, timeout: float) -> bool:
        """Have everything delivered within `timeout` seconds; return whether it was."""
        request = Flush(self._clock() + timeout)
        self._flushes.append(request)
        self.start()
        self.ring()
        request.done.wait(timeout)
        return request.succeeded

    def close(self, timeout: float) -> bool:
        """Deliver what is left within `timeout` seconds and end the thread; return whether all was delivered.

        With a timeout of 0 nothing is tried, and nobody waits for the thread.
        """
        request = Flush(self._clock() + timeout)
        with self._gate:
            if self._closing:
                return False
            if timeout > 0:
                self._flushes.append(request)
                if self._thread is None:
                    self._launch()
            self._closing = True
        self.ring()
        if timeout > 0:
            request.done.wait(timeout)
        return request.succeeded

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for a flush that has not begun."""
        return bool(self._flushes)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closing

    def _run(self) -> None:
        with guard(f"preparing the {self._name} thread"):
            self._prepare()
        bell = self._bell
        while bell is self._bell:
            bell.acquire(timeout=min(self._interval, self._pause() or self._interval))
            self._rung = False
            self._round()
            if self._closing and not self._flushes:
                break
        with guard(f"ending the {self._name} thread"):
            self._finish()

    def _round(self) -> None:
        flushes = []
        while self._flushes:
            flushes.append(self._flushes.pop(0))
        succeeded = False
        with guard(f"delivering {self._name}"):
            succeeded = self._work(max(flush.deadline for flush in flushes) if flushes else None)
        for flush in flushes:
            flush.succeeded = succeeded
            flush.done.set()
