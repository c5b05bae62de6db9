"""Instruments to keep: made once, typed, with tags as keywords and units as people write them.

``LOADED = metrics.counter("assets.loaded", "{asset}", "Assets loaded.")``, then ``LOADED.add(1, asset_type="weapon")``.
Making one raises MetricError for a name or unit that cannot be used; recording never raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otel_forge.guard import guard
from otel_forge.metrics.registry import Intake, intake

Tag = str | bool | int | float


class _Instrument:
    __slots__ = ("_intake",)

    def __init__(self, taken: Intake) -> None:
        self._intake = taken

    @property
    def name(self) -> str:
        """The name under which values are recorded."""
        return self._intake.name

    def _take(self, value: float, tags: Mapping[str, Any]) -> None:
        try:
            self._intake.take(value, tags)
        except Exception:
            with guard("recording a metric"):
                raise


class Counter(_Instrument):
    """A total that only grows."""

    __slots__ = ()

    def add(self, amount: float = 1, /, **tags: Tag) -> None:
        """Add `amount`, which is not negative."""
        self._take(amount, tags)


class UpDownCounter(_Instrument):
    """A sum that grows and shrinks, such as what is in a queue."""

    __slots__ = ()

    def add(self, amount: float = 1, /, **tags: Tag) -> None:
        """Add `amount`, which may be negative."""
        self._take(amount, tags)


class Histogram(_Instrument):
    """A distribution: how many values, their sum, and how many are how large."""

    __slots__ = ()

    def record(self, value: float, /, **tags: Tag) -> None:
        """Record `value`, which is not negative."""
        self._take(value, tags)


class Gauge(_Instrument):
    """A value that replaces the one before."""

    __slots__ = ()

    def set(self, value: float, /, **tags: Tag) -> None:
        """Set the value."""
        self._take(value, tags)


def counter(name: str, unit: str = "count", description: str = "") -> Counter:
    """Return the counter `name`; raises MetricError for a name or unit that cannot be used."""
    return Counter(intake(name, unit, "counter", description))


def up_down_counter(name: str, unit: str = "count", description: str = "") -> UpDownCounter:
    """Return the up-down counter `name`; raises MetricError for a name or unit that cannot be used."""
    return UpDownCounter(intake(name, unit, "up_down_counter", description))


def histogram(
    name: str, unit: str = "s", description: str = "", *, boundaries: Sequence[float] | None = None
) -> Histogram:
    """Return the histogram `name`; raises MetricError for a name or unit that cannot be used.

    `boundaries` are the upper limits of its buckets, in `unit`. By default they reach from 5 ms to 10 s for times,
    from 1 KiB to 1 GiB for sizes, and are the specification's for the rest.
    """
    return Histogram(intake(name, unit, "histogram", description, boundaries))


def gauge(name: str, unit: str = "ratio", description: str = "") -> Gauge:
    """Return the gauge `name`; raises MetricError for a name or unit that cannot be used."""
    return Gauge(intake(name, unit, "gauge", description))
