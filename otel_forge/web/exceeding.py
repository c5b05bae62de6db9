"""Warnings about clients that exceed a limit: said at once, then once a minute, with how many requests it was.

Whoever floods a service must not flood its log, so the table of who was said is bounded: what does not fit is said
together, for the route alone. Keys (addresses, users, API keys) appear as keyed hashes: the same key has the same hash
as long as the secret is the same, and without the secret nobody can try which key it is.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from threading import RLock

from otel_forge.fork import on_fork_in_child
from otel_forge.logs.record import FIELDS
from otel_forge.web.decisions import Decided

LOGGER = "otel_forge.rate_limits"
OTHERS = "others"
"""Stands for the hash where there are too many keys to tell them apart."""

_INTERVAL = 60.0
_MOST = 256
_HASH_BYTES = 6


class KeyHash:
    """Hashes keys with `secret`, or with a random one that lives as long as the process and its forked children."""

    def __init__(self, secret: str = "") -> None:
        self._secret = blake2b(secret.encode("utf-8", "surrogatepass")).digest() if secret else os.urandom(64)

    def __call__(self, key: str) -> str:
        """Return twelve hexadecimal digits for `key`."""
        return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES, key=self._secret).hexdigest()


@dataclass
class _Said:
    """When a warning was said, and how many requests have exceeded the limit since."""

    at: float
    decided: Decided
    since: int = 0


_Due = tuple[tuple[str, str], Decided, int]
"""A warning to be said: route and hash of the key, the latest decision, and of how many requests."""


class Exceeding:
    """Says who exceeds a limit."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = _MOST) -> None:
        self._clock = clock
        self._most = most
        self._swept = clock()
        self._begin_anew()
        on_fork_in_child(self._begin_anew)

    def _begin_anew(self) -> None:
        """Begin anew in a forked child: what its parent has counted, the parent says."""
        self._lock = RLock()
        self._said: dict[tuple[str, str], _Said] = {}

    def exceeded(self, route: str, key_hash: str, decided: Decided) -> None:
        """Say that a request to `route` has exceeded a limit, or count it for the next time."""
        now = self._clock()
        with self._lock:
            due = self._sweep(now)
            who = (route, key_hash)
            if who not in self._said and len(self._said) >= self._most:
                who = (route, OTHERS)
            said = self._said.get(who)
            if said is None:
                self._said[who] = _Said(now, decided)
                due.append((who, decided, 1))
            else:
                said.since += 1
                said.decided = decided
        _say_all(due)

    def look(self) -> None:
        """Say what has been counted for a minute."""
        now = self._clock()
        if now - self._swept >= 1.0:
            with self._lock:
                due = self._sweep(now)
            _say_all(due)

    def flush(self) -> None:
        """Say what has been counted and not yet been said."""
        with self._lock:
            due = [(who, said.decided, said.since) for who, said in self._said.items() if said.since]
            self._said.clear()
        _say_all(due)

    def _sweep(self, now: float) -> list[_Due]:
        """Return what has been counted for a minute; forget those who have stopped."""
        due: list[_Due] = []
        if now - self._swept < 1.0:
            return due
        self._swept = now
        for who in [who for who, said in self._said.items() if now - said.at >= _INTERVAL]:
            said = self._said[who]
            if said.since:
                due.append((who, said.decided, said.since))
                self._said[who] = _Said(now, said.decided)
            else:
                del self._said[who]
        return due


def _say_all(due: Iterable[_Due]) -> None:
    for (route, key_hash), decided, number in due:
        _say(route, key_hash, decided, number)


def _say(route: str, key_hash: str, decided: Decided, number: int) -> None:
    """Write the warning."""
    logger = logging.getLogger(LOGGER)
    if not logger.isEnabledFor(logging.WARNING):
        return
    fields = {
        "otel.event.name": "otel_forge.rate_limit.exceeded",
        **decided.attributes(),
        "otel_forge.rate_limit.name": decided.name,
        "otel_forge.rate_limit.key_hash": key_hash,
        "otel_forge.rate_limit.requests": number,
    }
    if route:
        fields["http.route"] = route
    times = "1 request" if number == 1 else f"{number:,} requests"
    message = "rate limit %s exceeded on %s: %s by key %s"
    logger.warning(message, decided.name, route or "(no route)", times, key_hash, extra={FIELDS: fields})
