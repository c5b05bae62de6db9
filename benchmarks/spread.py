"""Statistics of noisy rounds: medians and quartiles, never means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Spread:
    """The median of some rounds and the quartiles around it."""

    middle: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        low, _, high = quantiles(values, n=4, method="inclusive")
        return cls(median(values), low, high, len(values))

    def text(self, digits: int = 0) -> str:
        """Return ``median (low-high)``."""
        if self.rounds == 1:
            return f"{self.middle:.{digits}f}"
        return f"{self.middle:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


def paired(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return value minus other for each round, so that what slowed the whole machine down falls out."""
    return [value - other for value, other in zip(values, others, strict=True)]


def ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return value over other for each round; rounds whose other is not positive say nothing and are left out."""
    return [value / other for value, other in zip(values, others, strict=True) if other > 0]


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the ordered values lie (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def turn(items: Sequence[str], number: int) -> list[str]:
    """Return the items in the order of round `number`: each round begins with the next one, so none is always last."""
    start = number % len(items)
    return [*items[start:], *items[:start]]
