"""SIGTERM: readiness falls at once, and after that everything goes its usual way.

Our handler stands in front of the one that is there, gunicorn's, another server's or that of our own exit, and calls
it: at once, unless ``OTEL_FORGE_HEALTH_DRAIN`` gives load balancers time to notice. During that time the process goes
on taking requests: whoever was sent here by a balancer that does not know yet is served. Then the signal is sent again,
and meets the other handler. Further SIGTERMs from outside meanwhile change nothing.

A worker of gunicorn gets SIGTERM also where its master only replaces it (SIGHUP, SIGTTOU). The master still listens
then, and other workers serve: such a worker does not drain.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import wraps
from types import FrameType, ModuleType
from typing import Any

from otel_forge.guard import guard
from otel_forge.health import draining
from otel_forge.health.in_flight import InFlight, count_requests
from otel_forge.import_hooks import when_imported

REASON = "SIGTERM"
_GUNICORN_WORKER = "gunicorn.workers.base"
_LIMIT = 30.0
"""Seconds that a server without a graceful end of its own may take to finish requests, beyond the drain."""


class Termination:
    """Puts draining before whatever SIGTERM does in this process.

    `seconds` is for how long requests are still taken after the signal, `is_watched` whether the background loop
    turns and will call `advance`; otherwise nothing waits. `worker_started` is called in each worker of gunicorn, with
    the worker, before it loads the application or while it does.
    """

    def __init__(
        self,
        seconds: float,
        *,
        is_watched: Callable[[], bool],
        worker_started: Callable[[Any], object] = lambda worker: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._is_watched = is_watched
        self._worker_started = worker_started
        self._clock = clock
        self._previous: Any = None
        self._worker: Any = None
        self._requests: InFlight | None = None
        self._due: float | None = None
        self._is_over = False

    def install(self) -> None:
        """Take SIGTERM in this process, and in each worker that gunicorn forks from it."""
        with guard("looking out for SIGTERM"):
            draining.watch(self.advance)
            self._join(_worker_here())
            when_imported(_GUNICORN_WORKER, self._join_workers)

    def uninstall(self) -> None:
        """Look out for nothing any more, and put back the handler that was there."""
        draining.unwatch(self.advance)
        if signal.getsignal(signal.SIGTERM) == self._on_sigterm:
            signal.signal(signal.SIGTERM, self._previous)

    def _join_workers(self, module: ModuleType) -> None:
        termination = self
        with guard("joining gunicorn's workers"):
            original = module.Worker.init_signals

            @wraps(original)
            def init_signals(worker: Any) -> Any:
                done = original(worker)
                with guard("joining a gunicorn worker"):
                    termination._join(worker)
                return done

            module.Worker.init_signals = init_signals

    def _join(self, worker: Any) -> None:
        self._worker, self._due, self._is_over = worker, None, False
        if worker is not None:
            self._worker_started(worker)
        if threading.current_thread() is threading.main_thread():
            self._chain()

    def _chain(self) -> None:
        """Put our handler in front of the one that is there."""
        previous: Any = signal.getsignal(signal.SIGTERM)
        if previous == self._on_sigterm or previous in (None, signal.SIG_IGN) or _is_of_master(previous):
            return
        if previous == signal.SIG_DFL and not self._seconds:
            return  # the process is gone before anybody could ask
        self._previous = previous
        signal.signal(signal.SIGTERM, self._on_sigterm)
        if self._worker is not None:
            signal.siginterrupt(signal.SIGTERM, False)  # as gunicorn has it
        elif self._seconds and _GUNICORN_WORKER not in sys.modules:
            self._count_requests()

    def _count_requests(self) -> None:
        """Know what is under way, for a server that would not finish it by itself."""
        self._requests = requests = InFlight()
        count_requests(requests.begin, requests.end)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        """Begin to drain; no lock is taken here, as the thread that is interrupted may hold it."""
        if self._is_over or self._is_replaced():
            self._pass_on(number, frame)
            return
        draining.drain(REASON, clock=self._clock)
        begun = draining.current()
        if self._due is None:
            self._due = (begun.since if begun else self._clock()) + self._limited()
        if self._clock() >= self._due or not self._is_watched():
            self._pass_on(number, frame)

    def advance(self, now: float) -> float:
        """Send the signal again when it is time; return when that will be. For the background loop."""
        due = self._due
        if due is None or self._is_over:
            return float("inf")
        if now < due:
            return due
        if self._requests is not None and self._requests.load(ask=lambda thread: "").in_flight and now < due + _LIMIT:
            return now + 0.05
        self._is_over = True
        os.kill(os.getpid(), signal.SIGTERM)
        return float("inf")

    def _limited(self) -> float:
        """Return how long to drain: gunicorn kills what takes longer than its graceful timeout."""
        limit = getattr(getattr(self._worker, "cfg", None), "graceful_timeout", None)
        return self._seconds if limit is None else min(self._seconds, limit / 2)

    def _is_replaced(self) -> bool:
        """Return whether this is a worker whose master goes on listening."""
        if self._worker is None:
            return False
        try:
            return _holds(os.getppid(), self._worker.sockets)
        except Exception:  # noqa: BLE001 - without /proc; then it drains, which does no harm
            return False

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._is_over = True
        if callable(self._previous):
            self._previous(number, frame)
            return
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


_installed: Termination | None = None


def install(
    seconds: float, *, is_watched: Callable[[], bool], worker_started: Callable[[Any], object] = lambda worker: None
) -> None:
    """Put draining before SIGTERM in this process, once; see `Termination`."""
    global _installed
    if _installed is None:
        _installed = Termination(seconds, is_watched=is_watched, worker_started=worker_started)
        _installed.install()


def _worker_here() -> Any:
    """Return the worker of gunicorn that this process is, or None; gunicorn's handler is a method of it."""
    module = sys.modules.get(_GUNICORN_WORKER)
    owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return owner if module is not None and isinstance(owner, module.Worker) else None


def _is_of_master(handler: Any) -> bool:
    """Return whether `handler` is that of gunicorn's master, which serves nothing by itself."""
    return type(getattr(handler, "__self__", None)).__module__.startswith("gunicorn.arbiter")


def _holds(pid: int, sockets: Any) -> bool:
    """Return whether the process `pid` has one of `sockets` open (proc(5)). Raises OSError where that can't be seen."""
    wanted = {f"socket:[{os.fstat(listening.fileno()).st_ino}]" for listening in sockets}
    folder = f"/proc/{pid}/fd"
    return any(_target(f"{folder}/{name}") in wanted for name in os.listdir(folder))  # noqa: PTH208


def _target(link: str) -> str:
    try:
        return os.readlink(link)  # noqa: PTH115
    except OSError:  # closed meanwhile
        return ""
