"""The accounts: how many records were created, delivered, held and dropped, by signal and reason.

`created` counts what entered the pipeline, `delivered` what the back end took, `held` what waits for its
turn, `dropped` what was given up, by reason. ``created = delivered + held + sum(dropped)`` at every moment
of rest. What is missing between created and delivered at exit was not sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import RLock

from otel_forge.settings import SIGNALS, Signal

ITEM_NAMES: Mapping[Signal, str] = {"traces": "spans", "metrics": "metric points", "logs": "log records"}


@dataclass(frozen=True)
class Account:
    """The counts of one signal, in items (spans, metric points, log records).

    `failed` counts items of requests that failed in the upstream pipeline, which can't tell what becomes of them.
    """

    created: int = 0
    delivered: int = 0
    failed: int = 0
    held: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Items that were created and not delivered: still waiting, or lost."""
        return max(self.created - self.delivered, 0)

    @property
    def lost(self) -> int:
        """Items that were given up, for whatever reason."""
        return self.failed + sum(self.dropped.values())


class Accounts:
    """Counts by signal; safe from any thread and signal handler, and empty again in a forked child."""

    def __init__(self) -> None:
        self._held: dict[Signal, Callable[[], tuple[int, int]]] = {}
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = RLock()
        self._created = dict.fromkeys(SIGNALS, 0)
        self._delivered = dict.fromkeys(SIGNALS, 0)
        self._failed = dict.fromkeys(SIGNALS, 0)
        self._dropped: dict[Signal, dict[str, int]] = {signal: {} for signal in SIGNALS}

    def created(self, signal: Signal, items: int = 1) -> None:
        with self._lock:
            self._created[signal] += items

    def delivered(self, signal: Signal, items: int) -> None:
        with self._lock:
            self._delivered[signal] += items

    def failed(self, signal: Signal, items: int) -> None:
        with self._lock:
            self._failed[signal] += items

    def dropped(self, signal: Signal, reason: str, items: int) -> None:
        """Count `items` that were given up for `reason`, a word or two such as ``queue full``."""
        if items:
            with self._lock:
                reasons = self._dropped[signal]
                reasons[reason] = reasons.get(reason, 0) + items

    def watch(self, signal: Signal, waiting: Callable[[], tuple[int, int]]) -> None:
        """Ask `waiting` at each reading: items that wait uncounted in front of the pipeline, and items held in it."""
        self._held[signal] = waiting

    def read(self) -> Mapping[Signal, Account]:
        """Return the counts of this moment."""
        with self._lock:
            return {signal: self._account(signal) for signal in SIGNALS}

    def _account(self, signal: Signal) -> Account:
        waiting, held = self._held[signal]() if signal in self._held else (0, 0)
        return Account(
            self._created[signal] + waiting,
            self._delivered[signal],
            self._failed[signal],
            waiting + held,
            dict(self._dropped[signal]),
        )


def in_words(counts: Mapping[Signal, int]) -> str:
    """Return counts as a person says them: ``12 spans, 3 log records``; empty when all are zero."""
    return ", ".join(
        f"{count} {ITEM_NAMES[signal].removesuffix('s') if count == 1 else ITEM_NAMES[signal]}"
        for signal, count in counts.items()
        if count
    )
