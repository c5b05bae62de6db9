"""Components that other packages offer by name: exporters, samplers, id generators, propagators.

OpenTelemetry finds them through entry points; so do we, and a name that is not there yields the list of
those that are, for the error line.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any


def installed(group: str) -> list[str]:
    """Return the names that installed packages offer in an entry point `group`, sorted."""
    return sorted({entry_point.name for entry_point in entry_points(group=group)})


def find(group: str, name: str) -> EntryPoint | None:
    """Return the entry point `name` of `group`, or None."""
    return next(iter(entry_points(group=group, name=name)), None)


def load(group: str, name: str) -> Any:
    """Return the object behind the entry point `name` of `group`; raises LookupError when nobody offers it."""
    entry_point = find(group, name)
    if entry_point is None:
        raise LookupError(name)
    return entry_point.load()
