"""How often may be restarted: with growing pauses, and only so many times.

Pure: the caller tells the time.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

_LONGEST_DELAY = 60.0


class Ration:
    """At most `most` restarts in `window` seconds; then none any more, because they have not helped.

    After the first of a window the next comes `first_delay` seconds later at the earliest, then twice as many, and so
    on; each between half and one and a half times that, so that many instances do not restart in step.
    """

    def __init__(
        self,
        most: int = 3,
        window: float = 600.0,
        first_delay: float = 2.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._most = most
        self._window = window
        self._first_delay = first_delay
        self._chance = chance
        self._taken: deque[float] = deque()
        self._earliest = 0.0
        self.is_used_up = False

    def wait(self, now: float) -> float | None:
        """Return the seconds until the next restart may be; None if there is to be none any more."""
        self._forget(now)
        if len(self._taken) >= self._most:
            self.is_used_up = True
        if self.is_used_up:
            return None
        return max(0.0, self._earliest - now) if self._taken else 0.0

    def take(self, now: float) -> int:
        """Note a restart; return its number within the window."""
        self._forget(now)
        self._taken.append(now)
        doubled = self._first_delay * 2.0 ** (len(self._taken) - 1)
        self._earliest = now + min(doubled, _LONGEST_DELAY) * (0.5 + self._chance())
        return len(self._taken)

    @property
    def taken(self) -> int:
        """How many restarts of the window have been noted."""
        return len(self._taken)

    def _forget(self, now: float) -> None:
        while self._taken and now - self._taken[0] >= self._window:
            self._taken.popleft()
