"""A check on a compressed clock: hours pass in milliseconds, and each call of the dependency is written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from otel_forge.health.judgement import Pace
from otel_forge.health.results import FAIL, PASS, Result
from otel_forge.health.watched import Check, Watched

HANGS = None
"""What a simulated dependency answers when it does not."""


@dataclass
class Call:
    """A call of the dependency, in the shape of an `Attempt`."""

    started: float
    result: Result | None
    seconds: float = 0.0


@dataclass
class Simulation:
    """A dependency whose `answer` depends on the time, and the check that asks it."""

    answer: Callable[[float], bool | None]
    interval: float = 10.0
    timeout: float = 1.0
    fall: int = 3
    rise: int = 2
    now: float = 1000.0
    calls: list[Call] = field(default_factory=list)
    changes: list[tuple[float, str | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        check = Check("database", lambda: None, True, self.timeout, self.interval, self.fall, self.rise, "datastore")
        self.watched = Watched(
            check,
            start=self._start,
            noted=self._noted,
            wall=lambda: self.now,
            pace=Pace(self.interval, uniform=lambda low, high: 1.0),
        )

    def _start(self, name: str, function: object, timeout: float) -> Any:
        answer = self.answer(self.now)
        result = None if answer is HANGS else Result(PASS if answer else FAIL)
        call = Call(self.now, result)
        self.calls.append(call)
        return call

    def _noted(self, watched: Watched, result: Result, is_change: bool) -> None:
        if is_change:
            self.changes.append((self.now, watched.known.status))

    def run(self, seconds: float) -> None:
        """Let time pass, as the background loop would: from one thing to do to the next."""
        end = self.now + seconds
        while True:
            following = self.watched.advance(self.now)
            if following > end:
                break
            self.now = max(following, self.now)
        self.now = end
