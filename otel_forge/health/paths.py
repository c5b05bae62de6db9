"""The paths of health probes: what makes no spans and no lines in the request log.

`HealthRoutes` adds its paths here. Recorders ask for each request, so it is one look into a set.
"""

from __future__ import annotations

from collections.abc import Iterable

PROBES: set[str] = set()
"""Paths as WSGI has them in ``PATH_INFO``; only ever added to."""


def add(paths: Iterable[str]) -> None:
    """Leave requests for these paths out from now on."""
    PROBES.update(paths)


def is_probe(path: str) -> bool:
    """Return whether a request for `path` is a health probe."""
    return path in PROBES
