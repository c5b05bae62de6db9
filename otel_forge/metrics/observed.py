"""`observe`: metrics whose values are asked for when metrics are collected, and cost nothing in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation

from otel_forge.errors import MetricError
from otel_forge.guard import guard
from otel_forge.metrics import registry
from otel_forge.metrics.names import conventional
from otel_forge.metrics.registry import OBSERVED, Intake
from otel_forge.metrics.units import Kind, kind_of, unit_of

Tags = Mapping[str, str | bool | int | float]
Answer = float | None | Iterable[tuple[float, Tags]]
"""What an observed function returns: a number, several with their tags, or None for nothing at the moment."""

_functions: dict[str, dict[tuple[tuple[str, Any], ...], tuple[Callable[[], Answer], Tags, Intake]]] = {}


def observe(
    name: str,
    function: Callable[[], Answer],
    unit: str = "count",
    description: str = "",
    *,
    kind: Kind = "gauge",
    tags: Tags | None = None,
) -> None:
    """Record what `function` returns whenever metrics are collected: ``observe("jobs.waiting", queue.qsize, "{job}")``.

    It is called on a thread of ours, and must be quick. It returns a number, or pairs of a number and its tags, or None
    for nothing. With the same name and `tags`, the last function stays. A `kind` of counter or up_down_counter is for
    totals. A function that raises is said once; there is no value then.

    Raises MetricError for a name, unit or kind that cannot be used.
    """
    given = unit_of(unit)
    if kind_of(kind) == "histogram":
        raise MetricError(
            "kind", f"{name!r} cannot be an observed histogram; allowed are gauge, counter, up_down_counter"
        )
    recorded = conventional(name, given)
    metric = registry.claim(
        recorded, OBSERVED + kind, given.ucum, lambda: _build(recorded, kind, given.ucum, description)
    )
    registry.note_conversion(name, unit, recorded, given)
    attributes = dict(tags or {})
    functions = _functions.setdefault(recorded, {})
    functions[tuple(sorted(attributes.items()))] = (function, attributes, Intake(metric, given))


def _build(name: str, kind: str, ucum: str, description: str) -> registry.Send:
    create: Mapping[str, Callable[..., object]] = {
        "gauge": registry.meter.create_observable_gauge,
        "counter": registry.meter.create_observable_counter,
        "up_down_counter": registry.meter.create_observable_up_down_counter,
    }

    def observations(options: CallbackOptions) -> Iterable[Observation]:
        return [made for asked in list(_functions.get(name, {}).values()) for made in _ask(name, *asked)]

    create[kind](name, [observations], ucum, description)
    return lambda amount, attributes: None


def _ask(name: str, function: Callable[[], Answer], tags: Tags, intake: Intake) -> list[Observation]:
    with guard(f"observing {name}"):
        answer = function()
        if answer is None:
            return []
        pairs = answer if isinstance(answer, Iterable) else [(answer, {})]
        amounts = [(intake.amount(value), {**tags, **more}) for value, more in pairs]
        return [Observation(amount, attributes) for amount, attributes in amounts if amount is not None]
    return []
