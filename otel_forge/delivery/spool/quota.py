"""How many bytes the signals of one process may keep on the disk together."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

SIGNALS = ("traces", "logs", "metrics")
_RESERVED = 8
"""Each signal has an eighth to itself, so that none can shut out another; the rest goes to who comes first."""


class Quota:
    """Counts the bytes of each signal; a signal may go over only by what it takes over or carries over."""

    def __init__(self, capacity: int, signals: Sequence[str] = SIGNALS) -> None:
        self.capacity = capacity
        self._reserve = capacity // _RESERVED if len(signals) > 1 else 0
        self._used = dict.fromkeys(signals, 0)
        self._lock = Lock()

    @property
    def most(self) -> int:
        """How many bytes one signal can have, if the others have none."""
        return self.capacity - self._reserve * (len(self._used) - 1)

    def available(self, signal: str) -> int:
        """Return how many bytes a signal can have beside what the others have now."""
        others = sum([max(used, self._reserve) for name, used in self._used.items() if name != signal])
        return self.capacity - others

    def used(self, signal: str) -> int:
        """Return how many bytes a signal has."""
        return self._used[signal]

    @property
    def total(self) -> int:
        """How many bytes all signals have."""
        return sum(self._used.values())

    def fits(self, signal: str, size: int) -> bool:
        """Tell whether `size` more bytes of a signal would be within the quota."""
        return self._used[signal] + size <= self.available(signal)

    def take(self, signal: str, size: int) -> bool:
        """Count `size` bytes if they fit; tell whether they do."""
        with self._lock:
            if not self.fits(signal, size):
                return False
            self._used[signal] += size
            return True

    def charge(self, signal: str, size: int) -> None:
        """Count `size` bytes that are on the disk in any case; negative ones have gone."""
        with self._lock:
            self._used[signal] += size

    def forget(self, signal: str) -> None:
        """Count a signal from nothing, with a lock that no thread of the parent can hold, in a forked child."""
        self._lock = Lock()
        self._used[signal] = 0
