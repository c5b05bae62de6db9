"""The accounts: how many records were created, delivered and not delivered, by signal.

`created` counts what entered the pipeline, `delivered` what the back end took. What is missing between
them waits in a queue or was lost; at exit nothing waits any more, so the difference is what was lost.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from threading import RLock

from otel_forge.settings import SIGNALS, Signal

ITEM_NAMES: Mapping[Signal, str] = {"traces": "spans", "metrics": "metric points", "logs": "log records"}


@dataclass(frozen=True)
class Account:
    """The counts of one signal, in items (spans, metric points, log records)."""

    created: int = 0
    delivered: int = 0
    failed: int = 0

    @property
    def missing(self) -> int:
        """Items that were created and not delivered: still waiting, or lost."""
        return max(self.created - self.delivered, 0)


class Accounts:
    """Counts by signal; safe from any thread and signal handler, and empty again in a forked child."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = RLock()
        self._created = dict.fromkeys(SIGNALS, 0)
        self._delivered = dict.fromkeys(SIGNALS, 0)
        self._failed = dict.fromkeys(SIGNALS, 0)

    def created(self, signal: Signal, items: int = 1) -> None:
        with self._lock:
            self._created[signal] += items

    def delivered(self, signal: Signal, items: int) -> None:
        with self._lock:
            self._delivered[signal] += items

    def failed(self, signal: Signal, items: int) -> None:
        with self._lock:
            self._failed[signal] += items

    def read(self) -> Mapping[Signal, Account]:
        """Return the counts of this moment."""
        with self._lock:
            return {
                signal: Account(self._created[signal], self._delivered[signal], self._failed[signal])
                for signal in SIGNALS
            }


def in_words(counts: Mapping[Signal, int]) -> str:
    """Return counts as a person says them: ``12 spans, 3 log records``; empty when all are zero."""
    return ", ".join(
        f"{count} {ITEM_NAMES[signal].removesuffix('s') if count == 1 else ITEM_NAMES[signal]}"
        for signal, count in counts.items()
        if count
    )
