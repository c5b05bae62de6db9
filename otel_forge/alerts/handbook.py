"""The three rules of the handbook: High Error Rate, Low Memory, API Down.

Their conditions are plain objects that compare equal, so that adding the same rule twice is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from otel_forge.alerts import workers
from otel_forge.alerts.alert import Alert
from otel_forge.alerts.rule import Action, AlertRule, Finding
from otel_forge.health.resources import MemoryUsage, memory_usage
from otel_forge.metrics.traffic import Counts

_LIVENESS = "liveness"


@dataclass(frozen=True)
class ErrorRate:
    """More than a share of `threshold` of the requests within `window` seconds failed, of `minimum` at the least."""

    threshold: float
    window: float
    minimum: int
    traffic: Callable[[float], Counts] = workers.window

    def __call__(self) -> Finding:
        """Return what the traffic of all processes says."""
        counts = self.traffic(self.window)
        share = counts.errors / counts.requests if counts.requests else 0.0
        time = f"{self.window / 60:.3g} min" if self.window >= 60 else f"{self.window:.3g} s"
        summary = f"{share:.1%} of {counts.requests:,} requests failed (5xx) within {time}"
        details = {"requests": counts.requests, "errors": counts.errors, "threshold": f"{self.threshold:.1%}"}
        is_wrong = counts.requests >= self.minimum and share > self.threshold
        return Finding(is_wrong, summary, round(share * 100, 2), details)


@dataclass(frozen=True)
class MemoryShare:
    """More than a share of `threshold` of the memory is used that this process may use."""

    threshold: float
    usage: Callable[[], MemoryUsage] = memory_usage

    def __call__(self) -> Finding:
        """Return what the cgroup says, else the machine."""
        found = self.usage()
        mebibytes = {"used_mib": found.used >> 20, "limit_mib": found.limit >> 20}
        summary = f"{found.share:.1%} of {mebibytes['limit_mib']:,} MiB of memory are used"
        details = {**mebibytes, "threshold": f"{self.threshold:.1%}"}
        return Finding(found.share > self.threshold, summary, round(found.share * 100, 2), details)


def _what_is_down() -> Sequence[str]:
    """Return the required health checks that are ill, and ``liveness`` if this process has lost that."""
    from otel_forge.health.checks import checks

    if not checks.known():
        return ()
    checks.start()
    down = checks.required_down()
    return (*down, _LIVENESS) if checks.background.is_lost() else down


@dataclass(frozen=True)
class Down:
    """Something that the API cannot do without is down, as its health checks say."""

    look: Callable[[], Sequence[str]] = _what_is_down

    def __call__(self) -> Finding:
        """Return what is down."""
        names = list(self.look())
        summary = f"down: {', '.join(names)}" if names else "every required health check passes"
        return Finding(bool(names), summary, float(len(names)), {"down": names} if names else {})


def ask_for_restart(alert: Alert) -> Any:
    """Ask `otel-forge watch`, if it watches us, for a restart; it grants that only on evidence of its own."""
    from otel_forge.health import heartbeat

    return heartbeat.request_restart(f"alert {alert.name}: {alert.summary}")


def high_error_rate(
    *, threshold: float = 0.05, window: float = 300.0, minimum: int = 20, severity: str = "high", **options: Any
) -> AlertRule:
    """Return the rule that more than 5 % of all requests failed (5xx) within five minutes.

    Below `minimum` requests it says nothing: one failure of ten is no rate. `window` in seconds, 900 at the most;
    `options` are those of `AlertRule`. Raises ValueError for what cannot be.
    """
    _check_share("threshold", threshold)
    if not 0 < window <= workers.KEPT:
        raise ValueError(f"window={window!r} is not a number of seconds above 0 and up to {workers.KEPT:g}.")
    return AlertRule("High Error Rate", ErrorRate(threshold, window, minimum), severity, **options)


def low_memory(*, threshold: float = 0.9, severity: str = "medium", for_: float = 120.0, **options: Any) -> AlertRule:
    """Return the rule that more than 90 % of the memory is used, of the cgroup's limit or else the machine's.

    For two minutes, as a peak that passes needs nobody. Raises ValueError for what cannot be.
    """
    _check_share("threshold", threshold)
    return AlertRule("Low Memory", MemoryShare(threshold), severity, for_=for_, **options)


def api_down(
    *, severity: str = "critical", action: Action | None = ask_for_restart, look: Any = None, **options: Any
) -> AlertRule:
    """Return the rule that a required health check is down, or the process has lost its liveness.

    The checks have had their say several times before they are held to be down (see ``docs/health.md``), so this fires
    at once. Its action asks `otel-forge watch` for a restart. `look` returns the names of what is down, by default
    those of the health checks of this process.
    """
    condition = Down() if look is None else Down(look)
    return AlertRule("API Down", condition, severity, action=action, **options)


def handbook_rules() -> tuple[AlertRule, ...]:
    """Return High Error Rate, Low Memory and API Down, as the handbook has them: ``alerts.add(*handbook_rules())``."""
    return high_error_rate(), low_memory(), api_down()


def _check_share(what: str, share: float) -> None:
    if not 0 < share < 1:
        raise ValueError(f"{what}={share!r} is not a share between 0 and 1.")
