"""What an alert is: something that is wrong, how bad it is, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SEVERITIES = ("low", "medium", "high", "critical")
"""From the least to the worst."""

FIRING, RESOLVED = "firing", "resolved"


@dataclass(frozen=True)
class Origin:
    """Who is speaking: the service, where it runs (``production``), and the machine."""

    service: str = ""
    environment: str = ""
    host: str = ""

    def completed(self, other: Origin) -> Origin:
        """Return this one, with what it leaves empty taken from `other`."""
        return Origin(self.service or other.service, self.environment or other.environment, self.host or other.host)


@dataclass(frozen=True)
class Alert:
    """One alert, as people are told of it; `started` and `ended` in seconds since 1970, 0 where that is not known.

    `repeated` says that it was told before and is still firing. What `origin` leaves empty is filled in.
    Raises ValueError for a severity or state that there is not.
    """

    name: str
    severity: str
    summary: str = ""
    state: str = FIRING
    value: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    started: float = 0.0
    ended: float = 0.0
    repeated: bool = False
    origin: Origin = Origin()

    def __post_init__(self) -> None:
        check_severity(self.severity)
        if self.state not in (FIRING, RESOLVED):
            raise ValueError(f"state={self.state!r} is not {FIRING} or {RESOLVED}.")

    @property
    def key(self) -> str:
        """What is the same whenever this alert of this service on this machine fires and is resolved."""
        from hashlib import blake2s  # rules are written where start-up pays for every import

        parts = (self.origin.service, self.origin.environment, self.origin.host, self.name)
        digest = blake2s("\0".join(parts).encode("utf-8", "backslashreplace"), digest_size=16)
        return f"otel-forge-{digest.hexdigest()}"

    @property
    def is_firing(self) -> bool:
        """Whether it is not over."""
        return self.state == FIRING


def check_severity(severity: str) -> None:
    """Raise ValueError unless `severity` is one of the four."""
    if severity not in SEVERITIES:
        raise ValueError(f"severity={severity!r} is not one of {', '.join(SEVERITIES)}.")


def badness(severity: str) -> int:
    """Return a number that is higher the worse a severity is."""
    return SEVERITIES.index(severity)


def worst_first(alerts: list[Alert]) -> list[Alert]:
    """Return `alerts` with firing ones before resolved ones, the worst first, else by name."""
    return sorted(alerts, key=lambda alert: (not alert.is_firing, -badness(alert.severity), alert.name))
