"""The metrics of this process by name: one instrument for each, whoever records into it and in whatever unit.

Instruments are those of the global meter provider, whenever it is set: they can be made when a module is imported,
before telemetry is on. How many series a metric may have is up to the lean pipeline; with any other the cap is here.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from threading import RLock
from typing import Any

from opentelemetry import metrics

from otel_forge.errors import MetricError
from otel_forge.fork import on_fork_in_child
from otel_forge.metrics.names import conventional
from otel_forge.metrics.refusals import SCOPE, refuse
from otel_forge.metrics.units import Unit, kind_of, unit_of
from otel_forge.notices import notice
from otel_forge.redaction import policy
from otel_forge.settings import Settings

MOST_NAMES = 1000
"""Metrics of one process: names made of data cannot fill the memory."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
BYTES = tuple(float(1 << power) for power in range(10, 32, 2))
_BOUNDARIES: Mapping[str, Sequence[float]] = {"s": SECONDS, "By": BYTES}
"""Buckets of histograms: the conventions' for seconds, and from 1 KiB to 1 GiB in steps of four."""

_OVERFLOW = {"otel.metric.overflow": True}
_HIGHEST = sys.float_info.max
_EXACT = 1 << 53
"""Whole numbers beyond are recorded as floats: a single one of more than 64 bits would stop upstream's exporter."""
OBSERVED = "observed "
"""Stands before the kind of a metric whose values are asked for at each collection."""
_NOT_NEGATIVE = ("counter", "histogram", f"{OBSERVED}counter")

_METHODS = {"counter": "add", "up_down_counter": "add", "histogram": "record", "gauge": "set"}

Send = Callable[[float, Any], object]

meter = metrics.get_meter(SCOPE)
_metrics: dict[str, Metric] = {}
_lock = RLock()
_cap: int | None = None
_noted: set[str] = set()


def configure(settings: Settings) -> None:
    """Cap the series of a metric as `settings` say, where the lean pipeline does not do it."""
    global _cap
    is_lean = settings.pipeline == "lean" and not settings.config_file
    _cap = None if is_lean else settings.cardinality_limit


class Metric:
    """One metric; `kind` and `ucum`, its unit, are what it was first declared with."""

    __slots__ = ("_first", "_send", "kind", "name", "ucum")

    def __init__(self, name: str, kind: str, ucum: str, send: Send) -> None:
        self.name = name
        self.kind = kind
        self.ucum = ucum
        self._send = send
        self._first: Any = None

    def send(self, amount: float, attributes: Mapping[str, Any]) -> None:
        """Record `amount`, in the metric's unit; beyond the cap in the series that all others share."""
        self._send(amount, attributes if _cap is None else self._within_cap(attributes, _cap))

    def _within_cap(self, attributes: Mapping[str, Any], cap: int) -> Mapping[str, Any]:
        if self._first is None:
            from otel_forge.sdk.meter import FirstSets

            self._first = FirstSets(cap, self._tell)
        return attributes if self._first.has(attributes) else _OVERFLOW

    def _tell(self, tag: str) -> None:
        notice(
            f"too many sets of tags for {self.name}, most of all by {tag!r}: those beyond the first {_cap} share one "
            "series. Use tags with few values, or raise OTEL_FORGE_METRIC_CARDINALITY_LIMIT."
        )


class Intake:
    """The way of values into a metric, from the unit they are given in."""

    __slots__ = ("_convert", "_divide", "_highest", "_lowest", "_metric", "_multiply")

    def __init__(self, metric: Metric, unit: Unit) -> None:
        self._metric = metric
        self._convert = unit.is_converted
        self._multiply, self._divide = unit.multiply, unit.divide
        self._highest = _HIGHEST / unit.multiply
        self._lowest = 0 if metric.kind in _NOT_NEGATIVE else -self._highest

    @property
    def name(self) -> str:
        """The name under which values are recorded."""
        return self._metric.name

    def take(self, value: Any, attributes: Mapping[str, Any]) -> None:
        """Record `value`; one that is no number, or that the metric cannot take, is refused."""
        amount = self.amount(value)
        if amount is not None:
            self._metric.send(amount, attributes)

    def amount(self, value: Any) -> int | float | None:
        """Return `value` in the metric's own unit; None, once it is refused, if there is no such amount."""
        kind = type(value)
        if kind is not float and kind is not int:
            value = _plain(value)
        if value is None or not self._lowest <= value <= self._highest:
            self._refuse(kind, value)
            return None
        if self._convert:
            return value * self._multiply / self._divide  # type: ignore[no-any-return]
        return value if kind is float or -_EXACT <= value <= _EXACT else float(value)

    def _refuse(self, kind: type, value: int | float | None) -> None:
        name = self._metric.name
        if value is None:
            sentence = f"a value of {name} is of type {kind.__name__}; allowed are numbers"
        elif value != value or abs(value) > self._highest:
            sentence = f"a value of {name} is not finite; allowed are finite numbers"
        else:
            sentence = f"a value of {name} is negative; allowed for the kind {self._metric.kind} is 0 and more"
        refuse("value", name, sentence)


def _plain(value: Any) -> int | float | None:
    """Return a number of another type (a bool, a Decimal, one of NumPy's) as a plain one; None if it is none."""
    if isinstance(value, int):
        return int(value)
    if not isinstance(value, Real) and type(value).__name__ != "Decimal":
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):  # a signalling NaN, a fraction too large
        return math.nan


def intake(
    name: Any, unit: Any, kind: Any = None, description: str = "", boundaries: Sequence[float] | None = None
) -> Intake:
    """Return the way into the metric `name` for values in `unit`; by default of the kind that fits the unit.

    Raises MetricError for what cannot be used, and where the name has another kind or unit already.
    """
    given = unit_of(unit)
    chosen = given.kind if kind is None else kind_of(kind)
    recorded = conventional(name, given)
    metric = claim(recorded, chosen, given.ucum, lambda: _build(recorded, chosen, given, description, boundaries))
    note_conversion(name, unit, recorded, given)
    return Intake(metric, given)


def claim(name: str, kind: str, ucum: str, build: Callable[[], Send]) -> Metric:
    """Return the metric `name`; a new one records by what `build` returns.

    Raises MetricError where the name has another kind or unit, and when there are too many.
    """
    with _lock:
        known = _metrics.get(name)
        if known is None:
            if len(_metrics) >= MOST_NAMES:
                raise MetricError("names", f"{name!r} is one metric too many: a process has {MOST_NAMES} at the most")
            known = _metrics[name] = Metric(name, kind, ucum, build())
    if (known.kind, known.ucum) != (kind, ucum):
        raise MetricError(
            "kind",
            f"{name!r} is already of the kind {known.kind}, in {known.ucum}, "
            f"and cannot be of the kind {kind}, in {ucum}",
        )
    return known


def note_conversion(name: str, unit: str, recorded: str, given: Unit) -> None:
    """Say, once for each unit that is converted, what becomes of values in it, with `name` as the example."""
    if given.is_converted and unit not in _noted:
        _noted.add(unit)
        text = f"{name!r} is given in {unit} and recorded as {recorded!r} in {given.ucum}, its values converted"
        notice(policy().text(f"{text}, as all others in {unit} are."))


def _build(name: str, kind: str, unit: Unit, description: str, boundaries: Sequence[float] | None) -> Send:
    made: Any
    if kind == "histogram":
        bounds = _BOUNDARIES.get(unit.ucum)
        if boundaries is not None:
            bounds = [float(bound) * unit.multiply / unit.divide for bound in boundaries]
        made = meter.create_histogram(name, unit.ucum, description, explicit_bucket_boundaries_advisory=bounds)
    else:
        made = getattr(meter, f"create_{kind}")(name, unit.ucum, description)
    send: Send = getattr(made, _METHODS[kind])
    return send


def _renew_after_fork() -> None:
    global _lock
    _lock = RLock()


on_fork_in_child(_renew_after_fork)
