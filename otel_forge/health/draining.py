"""Draining: this process wants no new requests and finishes those it has. Readiness falls at once; liveness doesn't.

SIGTERM begins it (see `otel_forge.health.termination`), ``otel-forge watch --drain`` does, and an application may.
It holds for the process: a server with several workers has to be drained by one of the first two.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from otel_forge.fork import on_fork_in_child
from otel_forge.health.results import shown
from otel_forge.logs.record import FIELDS

_log = logging.getLogger("otel_forge.health")


@dataclass(frozen=True)
class Draining:
    """Why and since when (seconds of the monotonic clock) a process drains."""

    reason: str
    since: float


_draining: Draining | None = None
_is_told = False
_watchers: list[Callable[[float], float]] = []


def drain(reason: str = "asked for", *, clock: Callable[[], float] = time.monotonic) -> None:
    """Want no new requests from now on. Takes no lock and says nothing by itself: a signal handler may call it."""
    global _draining
    if _draining is None:
        _draining = Draining(reason, clock())


def resume() -> None:
    """Want requests again."""
    global _draining, _is_told
    _draining, _is_told = None, False


def is_draining() -> bool:
    """Return whether this process wants no new requests."""
    return _draining is not None


def current() -> Draining | None:
    """Return why and since when this process drains, or None."""
    return _draining


def watch(advance: Callable[[float], float]) -> None:
    """Have the background loop call `advance` with the time, which returns when it wants to be called again."""
    _watchers.append(advance)


def unwatch(advance: Callable[[float], float]) -> None:
    """Call `advance` no more."""
    _watchers.remove(advance)


def advance(now: float) -> float:
    """Say once that draining has begun; return when there will be something to do. For the background loop."""
    global _is_told
    found = _draining
    if found is not None and not _is_told:
        _is_told = True
        reason = shown(found.reason)
        fields = {FIELDS: {"otel_forge.drain.reason": reason}}
        _log.info("draining (%s): readiness has fallen, requests under way finish", reason, extra=fields)
    return min((watcher(now) for watcher in _watchers), default=math.inf)


on_fork_in_child(lambda: resume())
