"""What gunicorn knows of itself: its workers, what each has done, its threads, and who waits to be accepted.

There are no conventions for it, so the names are ours. The master tells of the workers and of the listening sockets,
which they share; each worker tells of itself. Both are remembered when gunicorn makes them, and looked at when metrics
are collected; nothing that gunicorn does is changed, and what a version of it does not have is not told.
"""

from __future__ import annotations

import functools
import os
import socket
import struct
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

from otel_forge.guard import guard
from otel_forge.import_hooks import when_imported
from otel_forge.metrics.runtime import Seen, Series

_QUEUE = struct.Struct("=II")
_QUEUE_AT = 24
"""Where ``struct tcp_info`` has tcpi_unacked and tcpi_sacked: of a listening socket, connections and room for them."""

_STATE = "otel_forge.gunicorn.thread.state"
_IDLE_CONNECTIONS = ("keepalived_conns", "pending_conns", "_keep")
"""Where a gthread worker keeps connections that no thread serves; the last is gunicorn 23's."""

_ours: dict[str, weakref.ref[Any]] = {}
"""The arbiter and the worker that were made last, in this process or in the one that it was forked from."""


def watch(meter: Any, arbiter_module: ModuleType) -> None:
    """Have gunicorn's state collected with the metrics of `meter`; the module is ``gunicorn.arbiter``."""
    _remember(arbiter_module.Arbiter, "arbiter")
    when_imported("gunicorn.workers.base", _watch_workers)
    for series in SERIES:
        series.register(meter)


def _watch_workers(module: ModuleType) -> None:
    with guard("watching gunicorn's workers"):
        _remember(module.Worker, "worker")


def _remember(kind: Any, what: str) -> None:
    """Remember the objects of the class `kind` as they are made."""
    make = kind.__init__

    @functools.wraps(make)
    def remembering(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        _ours[what] = weakref.ref(self)

    kind.__init__ = remembering


def _arbiter() -> Any:
    """Return gunicorn's arbiter if this process is its master, else None."""
    return _of_this_process("arbiter")


def _worker() -> Any:
    """Return gunicorn's worker if this process is one, else None."""
    return _of_this_process("worker")


def _of_this_process(what: str) -> Any:
    found = _ours[what]() if what in _ours else None
    return found if getattr(found, "pid", None) == os.getpid() else None


def _of(owner: Callable[[], Any], read: Callable[[Any], float | None]) -> Callable[[], Seen]:
    """Return what reads a number of the arbiter or worker; nothing where there is none, or a version without it."""

    def seen() -> Seen:
        found = owner()
        try:
            number = None if found is None else read(found)
        except AttributeError:
            return []
        return [] if number is None else [(number, {})]

    return seen


def _threads() -> Seen:
    """Return the threads of a gthread worker that serve a connection, and those that could."""
    worker, waiting = _worker(), _queued()
    if waiting is None:
        return []
    idle_connections = sum(len(getattr(worker, name, ())) for name in _IDLE_CONNECTIONS)
    threads = worker.cfg.threads
    busy = min(max(worker.nr_conns - idle_connections - waiting, 0), threads)
    return [(busy, {_STATE: "busy"}), (threads - busy, {_STATE: "idle"})]


def _queued() -> int | None:
    """Return the connections of a gthread worker that wait for a thread; None if this is no such worker."""
    queue = getattr(getattr(_worker(), "tpool", None), "_work_queue", None)
    return None if queue is None else int(queue.qsize())


def _backlog() -> Seen:
    return [(waiting, attributes) for waiting, _, attributes in _accept_queues()]


def _backlog_limit() -> Seen:
    return [(room, attributes) for _, room, attributes in _accept_queues()]


def _accept_queues() -> Iterator[tuple[int, int, dict[str, str | int]]]:
    """Yield connections that wait to be accepted, room for them, and the address, for each socket that is ours to tell.

    With ``--reuse-port`` each worker has a socket of its own, else the master's are everybody's. Linux tells it of TCP.
    """
    for listener in _listeners():
        try:
            queue = accept_queue(listener)
            address, port, *_ = listener.getsockname() if queue else ("", 0)
        except AttributeError:  # closed at this moment
            continue
        if queue is not None:
            yield *queue, {"server.address": address, "server.port": port}


def _listeners() -> Iterable[Any]:
    arbiter, worker = _arbiter(), _worker()
    if arbiter is not None:
        return list(arbiter.LISTENERS)
    return list(worker.sockets) if worker is not None and worker.cfg.reuse_port else ()


def accept_queue(listener: Any) -> tuple[int, int] | None:
    """Return how many connections wait to be accepted from a listening TCP socket, and how many may.

    None where that is not to be known: on other systems than Linux, and of other sockets.
    """
    if sys.platform != "linux" or listener.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    told = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUE_AT + _QUEUE.size)
    waiting, room = _QUEUE.unpack_from(told, _QUEUE_AT)
    return waiting, room


SERIES: tuple[Series, ...] = (
    Series(
        "up_down_counter",
        "otel_forge.gunicorn.workers",
        "{worker}",
        "Worker processes.",
        _of(_arbiter, lambda arbiter: len(arbiter.WORKERS)),
    ),
    Series(
        "up_down_counter",
        "otel_forge.gunicorn.workers.limit",
        "{worker}",
        "Worker processes that there should be.",
        _of(_arbiter, lambda arbiter: arbiter.num_workers),
    ),
    Series(
        "counter",
        "otel_forge.gunicorn.workers.started",
        "{worker}",
        "Worker processes that were started, those that replaced others included.",
        _of(_arbiter, lambda arbiter: arbiter.worker_age),
    ),
    Series(
        "up_down_counter",
        "otel_forge.gunicorn.backlog",
        "{connection}",
        "Connections that wait to be accepted, by listening socket.",
        _backlog,
    ),
    Series(
        "up_down_counter",
        "otel_forge.gunicorn.backlog.limit",
        "{connection}",
        "Connections that may wait to be accepted.",
        _backlog_limit,
    ),
    Series(
        "counter",
        "otel_forge.gunicorn.worker.requests",
        "{request}",
        "Requests that the worker has begun to handle.",
        _of(_worker, lambda worker: worker.nr),
    ),
    Series(
        "up_down_counter",
        "otel_forge.gunicorn.worker.requests.limit",
        "{request}",
        "Requests after which the worker is replaced (max_requests with its jitter).",
        _of(_worker, lambda worker: worker.max_requests if worker.max_requests < sys.maxsize else None),
    ),
    Series(
        "up_down_counter",
        "otel_forge.gunicorn.worker.threads",
        "{thread}",
        "Threads of the worker, by whether they serve a connection.",
        _threads,
    ),
    Series(
        "up_down_counter",
        "otel_forge.gunicorn.worker.queue",
        "{connection}",
        "Connections that wait for a thread of the worker.",
        _of(_worker, lambda worker: _queued()),
    ),
    Series(
        "up_down_counter",
        "otel_forge.gunicorn.worker.connections",
        "{connection}",
        "Connections that the worker holds, idle ones included.",
        _of(_worker, lambda worker: worker.nr_conns),
    ),
)
