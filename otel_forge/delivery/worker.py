"""The delivery thread of one signal: started when first needed, woken by a bell, gone in a forked child.

The bell is a lock used as a flag: ringing it never waits, so a request thread or a signal handler may.

gevent may replace threads by greenlets after this module was imported, and even after a `Worker` was made. So the bell
is made where the thread is, from what ``threading`` offers then: a greenlet that waits for a true lock would stop all
others. For the same reason nobody ever waits for the gate, behind which the thread is started.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from otel_forge.delivery.parallel import wait
from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard

_LONGEST_PAUSE = 3600.0
"""Seconds; a lock can't be waited for much longer than that at a time."""

SAVING_TIME = 0.3
"""Of the seconds for closing, those kept for writing what could not be sent; at most a third of them."""


class Flush:
    """Somebody waits, until `deadline`, for everything to be delivered."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.done = threading.Event()
        self.succeeded = False


class Worker:
    """Calls `work` in a thread of its own after each `pause` and whenever the bell rings.

    ``work(deadline)`` gathers and delivers; a deadline means that somebody waits for it, and that everything is to be
    tried until then. It returns whether nothing is left. ``pause()`` gives the seconds until there is something to do;
    None if only the bell can tell.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[float | None], bool],
        pause: Callable[[], float | None],
        *,
        prepare: Callable[[], None] = lambda: None,
        finish: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._work = work
        self._pause = pause
        self._prepare = prepare
        self._finish = finish
        self._clock = clock
        self._renew()
        on_fork_in_child(self._renew)

    def _renew(self) -> None:
        """Be as new; in a forked child the thread does not exist and its locks may be held for ever."""
        self._gate = threading.Lock()
        self._end_gate = threading.Lock()
        self._bell = threading.Lock()
        self._rung = False
        self._thread: threading.Thread | None = None
        self._flushes: list[Flush] = []
        self._ended = threading.Event()
        self.send_by: float | None = None
        """Until when (of the clock) requests may take at the end, so that time is left to write; None before."""

    def start(self) -> bool:
        """Start the thread, unless it runs or all is over; return whether it runs. Never raises, never waits."""
        if self._thread is None and not self.is_closed:
            self._launch()
        return self._thread is not None

    def rouse(self) -> bool:
        """Start the thread or wake it; return whether it runs. Never raises, never waits."""
        if self._thread is None:
            return self.start()
        self.ring()
        return True

    def _launch(self) -> None:
        if not self._gate.acquire(blocking=False):
            return  # somebody else does it
        try:
            if self._thread is None:
                self._bell = threading.Lock()  # rung: there is something to do
                self._rung = True
                thread = threading.Thread(target=self._run, name=f"otel-forge-{self._name}", daemon=True)
                thread.start()
                self._thread = thread
        except RuntimeError:  # no thread can be had, or the interpreter is going down: the next record tries again
            pass
        finally:
            self._gate.release()

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
        wait(request.done, request.deadline, self._clock)
        return request.succeeded

    def close(self, timeout: float, *, launch: bool = True) -> bool:
        """Deliver what is left within `timeout` seconds and end the thread; return whether all was delivered.

        A thread that never started does so now, unless `launch` is False.
        """
        if not self._end_gate.acquire(blocking=False):
            return False
        request = Flush(self._clock() + timeout)
        self._flushes.append(request)
        self.send_by = request.deadline - min(SAVING_TIME, timeout / 3)
        if self._thread is None and launch:
            self._launch()
        if self._thread is not None:
            self.ring()
            wait(self._ended, request.deadline, self._clock)
        elif launch:  # no thread can be had any more
            self._end()
        return request.succeeded

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for a flush that has not begun."""
        return bool(self._flushes)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self.send_by is not None

    def _run(self) -> None:
        with guard(f"preparing the {self._name} thread"):
            self._prepare()
        bell = self._bell
        while bell is self._bell and not self.is_closed:
            pause = self._pause()
            bell.acquire(timeout=-1 if pause is None else min(pause, _LONGEST_PAUSE))
            self._rung = False
            if not self.is_closed:
                self._round()
        if bell is self._bell:
            self._end()

    def _end(self) -> None:
        self._round()
        with guard(f"ending the {self._name} thread"):
            self._finish()
        self._ended.set()

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
