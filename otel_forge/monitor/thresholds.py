"""When a share of something is worth a warning: once when it has been too high for a while, once when it is well again.

Pure; no restart follows from it. The while is half a minute at the default interval: the start of an app is no news.
"""

from __future__ import annotations

from typing import Literal

Change = Literal["high", "well"]


class Threshold:
    """Watches one share (percent): above `limit` in `samples` samples in a row it is high, until as many are not."""

    def __init__(self, limit: float, samples: int = 15) -> None:
        self.limit = limit
        self._samples = samples
        self._against = 0
        self.is_high = False

    def take(self, percent: float) -> Change | None:
        """Take the next sample; return what has changed by it."""
        self._against = self._against + 1 if (percent > self.limit) != self.is_high else 0
        if self._against < self._samples:
            return None
        self._against = 0
        self.is_high = not self.is_high
        return "high" if self.is_high else "well"
