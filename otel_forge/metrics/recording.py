"""`record`: one value under one name, as the handbook's metrics collector takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from otel_forge.errors import MetricError
from otel_forge.guard import guard
from otel_forge.metrics import registry
from otel_forge.metrics.refusals import refuse
from otel_forge.metrics.units import Kind

Tag = str | bool | int | float
_MOST_CALLS = 2 * registry.MOST_NAMES
"""Sets of name, unit and kind that are looked up only once."""


class _Intake(Protocol):
    def take(self, value: Any, attributes: Mapping[str, Any]) -> None: ...


class _Refusing:
    """The way of values that cannot be recorded, whatever they are."""

    def __init__(self, error: MetricError, name: object) -> None:
        self._error = error
        self._name = f"{name!s:.80}"

    def take(self, value: Any, attributes: Mapping[str, Any]) -> None:
        refuse(self._error.reason, self._name, str(self._error))


_known: dict[tuple[Any, Any, Any], _Intake] = {}


def record(
    name: str,
    value: float,
    /,
    unit: str = "ms",
    tags: Mapping[str, Tag] | None = None,
    *,
    kind: Kind | None = None,
    **more_tags: Tag,
) -> None:
    """Record `value` of the metric `name`: ``record("asset_load_time", 1234, "ms", asset_type="weapon")``.

    The unit decides what becomes of it: times and sizes go into a histogram, in seconds and bytes; a ``count``, or what
    is counted in braces (``{asset}``), is added to a counter; ``percent`` and ``ratio`` set a gauge. `kind` says
    otherwise. Tags have few values, as each set of them is a series: as keywords, or in `tags` if they are not words.

    Never raises: what cannot be recorded is left out, counted in ``otel_forge.metrics.refused``, and said once.
    """
    try:
        _intake(name, unit, kind).take(value, {**tags, **more_tags} if tags else more_tags)
    except Exception:
        with guard("recording a metric"):
            raise


def _intake(name: Any, unit: Any, kind: Any) -> _Intake:
    key = (name, unit, kind)
    try:
        known = _known.get(key)
    except TypeError:  # a list, or whatever else it is: it will be refused
        key, known = ("", "", ""), None
    if known is not None:
        return known
    made: _Intake
    try:
        made = registry.intake(name, unit, kind)
    except MetricError as error:
        made = _Refusing(error, name)
    if len(_known) < _MOST_CALLS and key != ("", "", ""):
        _known[key] = made
    return made
