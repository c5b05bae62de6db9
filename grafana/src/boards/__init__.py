"""The dashboards, in the order in which a person goes down them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as board

from grafana.src.boards import service


@dataclass(frozen=True)
class Board:
    """One dashboard: its file name, how it is built, and what may be empty while all is well."""

    name: str
    uid: str
    build: Callable[[], board.Dashboard]
    empty_when_healthy: frozenset[str]


BOARDS = (Board("service", service.UID, service.dashboard, service.EMPTY_WHEN_HEALTHY),)
