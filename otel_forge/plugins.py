"""Components that other packages offer by name: exporters, samplers, id generators, propagators, instrumentations.

OpenTelemetry finds them through entry points; so do we, and a name that is not there yields the list of
those that are, for the error line.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any


def offered(group: str) -> list[EntryPoint]:
    """Return what installed packages offer in an entry point `group`, in the order in which they are found."""
    return list(_scanned(tuple(sys.path)).select(group=group))


def installed(group: str) -> list[str]:
    """Return the names that installed packages offer in an entry point `group`, sorted."""
    return sorted({entry_point.name for entry_point in offered(group)})


def find(group: str, name: str) -> EntryPoint | None:
    """Return the entry point `name` of `group`, or None."""
    return next((entry_point for entry_point in offered(group) if entry_point.name == name), None)


def load(group: str, name: str) -> Any:
    """Return the object behind the entry point `name` of `group`; raises LookupError when nobody offers it."""
    entry_point = find(group, name)
    if entry_point is None:
        raise LookupError(name)
    return entry_point.load()


@lru_cache(maxsize=1)
def _scanned(path: tuple[str, ...]) -> Any:
    """Return all entry points on the import `path`: read from disk once, not for each of the many questions."""
    return entry_points()
