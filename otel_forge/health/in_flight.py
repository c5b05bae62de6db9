"""Which requests this process is working on: how many, since when, and whether any has been finished lately.

Only a process under ``otel-forge watch`` counts. It is done where a server handles a request, so that it covers all of
it, the streaming of the answer included, for every WSGI application and with nothing put around its answer.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from otel_forge.guard import guard
from otel_forge.health.waiting import kinds_of_waits
from otel_forge.import_hooks import when_imported

_HANDLERS = (
    ("gunicorn.workers.sync", "SyncWorker", "handle_request"),
    ("gunicorn.workers.gthread", "ThreadWorker", "handle_request"),
    ("gunicorn.workers.base_async", "AsyncWorker", "handle_request"),
    ("werkzeug.serving", "WSGIRequestHandler", "run_wsgi"),
)
_MOST_THREADS_ASKED = 64


@dataclass(frozen=True)
class Load:
    """The requests of a process at one moment; times in seconds of ``time.monotonic``."""

    in_flight: int = 0
    completed: int = 0
    oldest: float | None = None
    """When the oldest request in flight began."""
    newest: float | None = None
    """When the newest one began."""
    ended: float = 0.0
    """When a request last ended; before the first, when the counting began."""
    waits: tuple[str, ...] = ()
    """What the threads of the requests older than a second wait for, each word once."""


class InFlight:
    """Counts requests as they begin and end; from any thread, without a lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._keys = itertools.count()
        self._ends = itertools.count(1)
        self._running: dict[int, tuple[float, int, int]] = {}
        self._completed = 0
        self._ended = clock()

    def begin(self) -> int:
        """Count a request that begins in this thread; return what `end` wants."""
        key = next(self._keys)
        now = self._clock()
        self._running[key] = (now, threading.get_ident(), threading.get_native_id())
        return key

    def end(self, key: int) -> None:
        """Count the end of a request."""
        self._running.pop(key, None)
        self._completed = next(self._ends)
        self._ended = self._clock()

    def load(self, ask: Callable[[Mapping[int, int]], Iterable[str]] = kinds_of_waits) -> Load:
        """Return how things stand; `ask` tells what threads wait for."""
        now, running = self._clock(), list(self._running.values())
        old = [(thread, native) for began, thread, native in running if now - began > 1.0]
        return Load(
            in_flight=len(running),
            completed=self._completed,
            oldest=min((began for began, *_ in running), default=None),
            newest=max((began for began, *_ in running), default=None),
            ended=self._ended,
            waits=tuple(sorted(ask(dict(old[:_MOST_THREADS_ASKED])))) if old else (),
        )


def count_requests(begin: Callable[[], int], end: Callable[[int], None]) -> None:
    """Have gunicorn's workers and werkzeug's server call `begin` and `end` around each request."""
    for module, owner, method in _HANDLERS:
        when_imported(module, functools.partial(_count, owner=owner, method=method, begin=begin, end=end))


def _count(
    module: ModuleType, *, owner: str, method: str, begin: Callable[[], int], end: Callable[[int], None]
) -> None:
    with guard(f"counting the requests of {module.__name__}"):
        server = getattr(module, owner)
        original = getattr(server, method)

        @functools.wraps(original)
        def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
            key = begin()
            try:
                return original(self, *args, **kwargs)
            finally:
                end(key)

        setattr(server, method, counted)


def when_worker_starts(started: Callable[[int], object]) -> None:
    """Call `started` in each worker of gunicorn, before it loads the application, with how many requests it can take.

    That is 0 where it is no fixed number (asynchronous workers). Not in one that is about to become another user
    (``--user``): it could say once that it lives, and never again.
    """

    def join(module: ModuleType) -> None:
        with guard("joining gunicorn's workers"):
            original = module.Worker.init_process

            @functools.wraps(original)
            def init_process(self: Any) -> Any:
                with guard("starting the heartbeat"):
                    if self.cfg.uid == os.geteuid():
                        started(capacity_of(self))
                return original(self)

            module.Worker.init_process = init_process

    when_imported("gunicorn.workers.base", join)


def capacity_of(worker: Any) -> int:
    """Return how many requests a worker of gunicorn works on at the same time; 0 if that is no fixed number."""
    kinds = {kind.__name__ for kind in type(worker).__mro__}
    if "ThreadWorker" in kinds:
        return max(1, int(worker.cfg.threads))
    return 1 if "SyncWorker" in kinds else 0
