"""From what a condition says, again and again, to what people are told. Pure: the time is an argument.

    inactive -> pending -> firing -> resolved -> inactive

A condition has to hold for ``for_`` seconds before an alert fires. While it fires, people are told again every
``repeat`` seconds and not more often. An alert that has fired three times within an hour is flapping: from then on it
is only resolved when it has been well for ten minutes, so that it cannot tell the same story all night. What cannot be
evaluated (an error, a timeout) changes nothing: it is neither firing nor well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from otel_forge.alerts.rule import AlertRule

State = Literal["inactive", "pending", "firing", "resolved"]
STATES: tuple[State, ...] = ("inactive", "pending", "firing", "resolved")
Change = Literal["firing", "repeated", "resolved"]

FLAPPING = 3
"""So many times within `RECENTLY` an alert fires before it is held to be flapping."""
RECENTLY = 3600.0
CALM = 600.0
"""Seconds that a flapping alert has to be well before it is resolved."""


@dataclass(frozen=True)
class Phase:
    """Where a rule stands. Times in seconds of one clock; `fired` holds when it has fired within the last hour."""

    state: State = "inactive"
    since: float = 0.0
    well_since: float | None = None
    said: float = 0.0
    """When people were told last that it fires."""
    fired: tuple[float, ...] = ()

    def is_flapping(self, now: float) -> bool:
        """Return whether it has fired that often lately."""
        return len(_recent(self.fired, now)) >= FLAPPING

    def moved(self, seconds: float) -> Phase:
        """Return the same for a clock that shows `seconds` more."""
        well_since = None if self.well_since is None else self.well_since + seconds
        fired = tuple(time + seconds for time in self.fired)
        return replace(self, since=self.since + seconds, well_since=well_since, said=self.said + seconds, fired=fired)


def step(phase: Phase, wrong: bool | None, now: float, rule: AlertRule) -> tuple[Phase, Change | None]:
    """Return where `rule` stands after an evaluation, and what people are to be told.

    `wrong` is what the condition said, None if it could not be evaluated.
    """
    if wrong is None:
        return phase, None
    if wrong:
        return _wrong(replace(phase, well_since=None), now, rule)
    if phase.state == "firing":
        return _maybe_over(phase, now, rule)
    return _well(phase, now), None


def _wrong(phase: Phase, now: float, rule: AlertRule) -> tuple[Phase, Change | None]:
    if phase.state == "firing":
        if rule.repeat and now - phase.said >= rule.repeat:
            return replace(phase, said=now), "repeated"
        return phase, None
    if phase.state != "pending":
        phase = replace(phase, state="pending", since=now)
    if now - phase.since < rule.for_:
        return phase, None
    fired = (*_recent(phase.fired, now), now)
    return replace(phase, state="firing", since=now, said=now, fired=fired), "firing"


def _maybe_over(phase: Phase, now: float, rule: AlertRule) -> tuple[Phase, Change | None]:
    well_since = now if phase.well_since is None else phase.well_since
    calm = max(rule.keep_firing_for, CALM) if phase.is_flapping(now) else rule.keep_firing_for
    if now - well_since < calm:
        return replace(phase, well_since=well_since), None
    return replace(phase, state="resolved", since=now, well_since=None), "resolved"


def _well(phase: Phase, now: float) -> Phase:
    if phase.state == "pending" or (phase.state == "resolved" and now - phase.since >= RECENTLY):
        return replace(phase, state="inactive", since=now, well_since=None)
    return phase


def _recent(times: tuple[float, ...], now: float) -> tuple[float, ...]:
    return tuple(time for time in times if now - time < RECENTLY)
