"""A check of our own telemetry: what was lost, and whether anything is delivered at all.

It warns and never fails: an application whose telemetry can't be delivered serves its users all the same, so it is
taken out of no load balancer, restarted by nobody, and ``/api/health`` stays healthy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from otel_forge.health.dependencies import Probe
from otel_forge.health.results import PASS, WARN, Result


class Column(Protocol):
    """What became of the records of one signal (`otel_forge.delivery.accounts.Account`)."""

    @property
    def delivered(self) -> int: ...
    @property
    def held(self) -> int: ...
    @property
    def lost(self) -> int: ...


Source = Callable[[], Mapping[Any, Column]]

_source: Source = dict


def watch(source: Source) -> None:
    """Make `source` what `telemetry` goes by, unless it is given another."""
    global _source
    _source = source


def telemetry(source: Source | None = None) -> Probe:
    """Check telemetry: in warning while records are lost, or wait and nothing is delivered between two looks.

    Without telemetry there is nothing to warn of. Whatever ``required`` says, readiness does not depend on it.
    """
    return Probe(_Look(source), is_never_required=True)


class _Look:
    """One look at the accounts after the other."""

    def __init__(self, source: Source | None) -> None:
        self._source = source
        self._before: Mapping[str, Column] = {}

    def __call__(self) -> Result:
        now = dict((self._source or _source)())
        before, self._before = self._before, now
        told = [words for name, account in now.items() if (words := _trouble(name, before.get(name), account))]
        return Result(WARN, "; ".join(told)) if told else Result(PASS)


def _trouble(signal: str, before: Column | None, now: Column) -> str:
    """Return what is wrong with one signal; numbers that have fallen are those of a new pipeline, or a forked child."""
    if before is None or now.delivered < before.delivered or now.lost < before.lost:
        return ""
    if now.lost > before.lost:
        return f"{now.lost - before.lost} {signal} lost"
    if now.held and before.held and now.delivered == before.delivered:
        return f"{now.held} {signal} wait and none is delivered"
    return ""
