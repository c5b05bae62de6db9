"""What otel-forge says on the terminal: single lines on standard error, few of them.

They do not pass through the logging module, so they can neither be exported as telemetry nor change
which handlers the application ends up with.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from threading import RLock

PREFIX = "otel-forge: "


def notice(text: str) -> None:
    """Write one line to standard error; a closed or missing stream is not an error."""
    try:
        sys.stderr.write(f"{PREFIX}{text}\n")
        sys.stderr.flush()
    except Exception:  # noqa: BLE001, S110 - no place is left to say it, and the application must not notice
        pass


class Rationed:
    """Says a line at most once in `interval` seconds, whoever asks from whatever thread."""

    def __init__(
        self,
        interval: float = 60.0,
        *,
        say: Callable[[str], None] = notice,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval = interval
        self._say = say
        self._clock = clock
        self._lock = RLock()
        self._last: float | None = None

    def __call__(self, compose: Callable[[], str]) -> bool:
        """Say what `compose` returns if a line is due; return whether it was said."""
        with self._lock:
            now = self._clock()
            if self._last is not None and now - self._last < self._interval:
                return False
            self._last = now
        self._say(compose())
        return True


class Once:
    """Says each line once, whoever says it how often."""

    def __init__(self, say: Callable[[str], object] = notice) -> None:
        self._say = say
        self._said: set[str] = set()

    def __call__(self, text: str) -> None:
        """Say `text`, unless it was said before."""
        if text not in self._said:
            self._said.add(text)
            self._say(text)
