"""From single results to what is believed of a dependency, and when it is asked again. Pure: the clock is an argument.

Three failures in a row make a check ill, two successes well again, so that one lost packet takes no service out of
its load balancer (HAProxy calls these numbers fall and rise). The very first result counts at once: until then
nothing is known. While results disagree with what is believed, the dependency is asked more often, to be sure soon;
once it is believed ill, ever less often, one call at a time, so that a service that comes back is not trampled on.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from otel_forge.health.results import BADNESS, FAIL, Status

LONGEST_PAUSE = 30.0
"""Seconds between two calls of something that is ill, unless its own interval is longer."""
_DOUBTFUL = 0.2
"""How much of the interval passes before the next call while a change has to be confirmed."""
_JITTER = 0.1


class Judgement:
    """What is believed of one check: changed by `fall` worse results in a row, or `rise` better ones."""

    def __init__(self, fall: int, rise: int) -> None:
        self.status: Status | None = None
        self.streak = 0
        """How many results in a row disagree with `status`."""
        self._fall = fall
        self._rise = rise
        self._is_worse = False

    def note(self, status: Status) -> bool:
        """Take a result into account; return whether it changes what is believed."""
        if self.status is None:
            self.status = status
            return True
        is_worse = BADNESS[status] > BADNESS[self.status]
        if status == self.status:
            self.streak = 0
        elif self.streak and is_worse == self._is_worse:
            self.streak += 1
        else:
            self.streak, self._is_worse = 1, is_worse
        if self.streak < (self._fall if is_worse else self._rise) or status == self.status:
            return False
        self.status, self.streak = status, 0
        return True


class Pace:
    """How long to wait before the next call of one check, in seconds."""

    def __init__(self, interval: float, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._interval = interval
        self._uniform = uniform
        self._failures = 0

    def pause(self, judgement: Judgement, result: Status) -> float:
        """Return the pause after `result`, which `judgement` has taken into account."""
        is_ill = judgement.status == FAIL and result == FAIL
        self._failures = self._failures + 1 if is_ill else 0
        pause = self._interval * _DOUBTFUL if judgement.streak else self._interval
        if is_ill:
            longest = max(self._interval, LONGEST_PAUSE)
            pause = min(self._interval * 2.0 ** min(self._failures - 1, 16), longest)
        return pause * self._uniform(1 - _JITTER, 1 + _JITTER)
