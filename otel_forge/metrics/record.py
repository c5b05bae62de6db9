"""`record`: one value under one name, as the handbook's metrics collector takes it."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any

from opentelemetry import metrics

from otel_forge.guard import guard

COUNT = "count"
_MOST_NAMES = 1000

_meter = metrics.get_meter("otel_forge.metrics.record")
_instruments: dict[tuple[str, str], Any] = {}
_lock = Lock()


def record(
    name: str, value: float, unit: str = "ms", tags: Mapping[str, str | bool | int | float] | None = None
) -> None:
    """Record `value`: with the unit ``count`` it is added to a counter, with any other it goes into a histogram.

    Names and units are few, a thousand at the most; what comes after that is not recorded, and a line says so. So are
    the values of tags: each set of them is a series. Never raises.
    """
    with guard("recording a metric"):
        instrument = _instruments.get((name, unit)) or _new_instrument(name, unit)
        if unit == COUNT:
            instrument.add(value, dict(tags or {}))
        else:
            instrument.record(value, dict(tags or {}))


def _new_instrument(name: str, unit: str) -> Any:
    with _lock:
        if (name, unit) not in _instruments:
            if len(_instruments) >= _MOST_NAMES:
                raise LookupError(f"{name!r} is one name too many: record() takes {_MOST_NAMES}")
            made: Any = _meter.create_counter(name) if unit == COUNT else _meter.create_histogram(name, unit)
            _instruments[name, unit] = made
        return _instruments[name, unit]
