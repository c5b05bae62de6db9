"""Sets of checks for tests, which end with the test, a clock that is set by hand, and how to wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from otel_forge.health.checks import Checks
from otel_forge.settings import HealthSettings

QUICK = HealthSettings(interval=0.02, timeout=0.05, fall=3, rise=2)
_built: list[Checks] = []


def build_checks(settings: HealthSettings | None = QUICK, **options: Any) -> Checks:
    """Return a set of checks of its own; without settings those of the environment hold."""
    made = Checks(settings, **options)
    _built.append(made)
    return made


def end_all() -> None:
    """End the threads of all sets that were built."""
    while _built:
        _built.pop().stop()


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def wait_for(condition: Callable[[], Any], timeout: float = 20) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)
