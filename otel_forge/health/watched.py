"""A check and what is known of it, moved on by the background loop and read by probes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from otel_forge.health.attempts import Attempt, Function
from otel_forge.health.judgement import Judgement, Pace
from otel_forge.health.results import FAIL, Result, Status, timed_out

Start = Callable[[str, Function, float], Attempt]


@dataclass(frozen=True)
class Check:
    """A registered check; times in seconds. See `Checks.check` for their meaning."""

    name: str
    function: Function
    required: bool
    timeout: float
    interval: float
    fall: int
    rise: int
    component_type: str


@dataclass(frozen=True)
class Known:
    """What is known of a check: `status` is what is believed, None before the first result; `result` is the last one.

    `at` is when that came (Unix time), `seconds` how long it took.
    """

    status: Status | None = None
    result: Result | None = None
    at: float = 0.0
    seconds: float = 0.0
    has_passed: bool = False
    """Whether it was ever well, or in warning, in this process."""


UNKNOWN = Known()


class Watched:
    """A check under way. Only the background loop calls `advance`; `known` is replaced as a whole and read by anybody.

    `noted` is called after each result with this object, the result and whether what is believed has changed.
    """

    def __init__(
        self,
        check: Check,
        *,
        start: Start,
        noted: Callable[[Watched, Result, bool], object],
        wall: Callable[[], float] = time.time,
        pace: Pace | None = None,
    ) -> None:
        self.check = check
        self.known = UNKNOWN
        self._start = start
        self._noted = noted
        self._wall = wall
        self._pace = pace or Pace(check.interval)
        self._judgement = Judgement(check.fall, check.rise)
        self._attempt: Attempt | None = None
        self._is_judged = False
        self._due = 0.0
        self.is_first = True
        """Whether the result that is being noted is the first one."""

    @property
    def is_hung(self) -> bool:
        """Whether a call that was given up has not come back."""
        return self._attempt is not None and self._is_judged

    def advance(self, now: float) -> float:
        """Do what there is to do at `now` (seconds of a monotonic clock); return when there will be something again."""
        attempt = self._attempt
        if attempt is not None and attempt.result is not None:
            self._attempt = None
            if not self._is_judged:
                self._judge(attempt.result, attempt.seconds, now)
        elif attempt is not None:
            return self._wait(attempt, now)
        if now < self._due:
            return self._due
        self._is_judged = False
        check = self.check
        self._attempt = started = self._start(check.name, check.function, check.timeout)
        return now if started.result is not None else now + check.timeout

    def _wait(self, attempt: Attempt, now: float) -> float:
        """Give a call up that takes too long; one that hangs on fails again each time another would be due."""
        limit = self._due if self._is_judged else attempt.started + self.check.timeout
        if now < limit:
            return limit
        self._is_judged = True
        self._judge(timed_out(self.check.timeout), now - attempt.started, now)
        return self._due

    def _judge(self, result: Result, seconds: float, now: float) -> None:
        is_change = self._judgement.note(result.status)
        self._due = now + self._pace.pause(self._judgement, result.status)
        self.known = replace(
            self.known,
            status=self._judgement.status,
            result=result,
            at=self._wall(),
            seconds=seconds,
            has_passed=self.known.has_passed or result.status != FAIL,
        )
        self._noted(self, result, is_change)
        self.is_first = False
