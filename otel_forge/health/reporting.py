"""What becomes known of checks outside the probes: metrics, and a log record when something changes."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from otel_forge.guard import guard
from otel_forge.health import draining
from otel_forge.health.results import FAIL, PASS, WARN, Result, Status
from otel_forge.logs.record import FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_forge.health.watched import Known, Watched

SCOPE = "otel_forge.health"
CHECK_STATUS, CHECK_DURATION = "otel_forge.health.check.status", "otel_forge.health.check.duration"
STATUS, READY, PROBES = "otel_forge.health.status", "otel_forge.health.ready", "otel_forge.health.probes"
_BOUNDARIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_NO_SHARE = "{status}"
"""With the unit 1 a gauge would be called a ratio in Prometheus."""

_log = logging.getLogger("otel_forge.health")


class Standing(Protocol):
    """A set of checks, as the metrics see it."""

    def known(self) -> Mapping[str, tuple[Any, Known]]: ...
    def status(self) -> Status: ...


class Telling:
    """The metrics of one set of checks, made when the first of them is called, and its log records."""

    def __init__(self, standing: Standing, meter: Any = None) -> None:
        self._standing = standing
        self._meter = meter
        self._duration: Any = None

    def begin(self) -> None:
        """Make the instruments, once; forked children go on with those of their parent."""
        if self._duration is not None:
            return
        meter = self._meter or _global_meter()
        self._duration = meter.create_histogram(
            CHECK_DURATION, "s", "Duration of health checks.", explicit_bucket_boundaries_advisory=_BOUNDARIES
        )
        gauge = meter.create_observable_gauge
        gauge(CHECK_STATUS, [self._statuses], _NO_SHARE, "1 where a health check is well, 0 where it is ill.")
        gauge(STATUS, [self._whole], _NO_SHARE, "1 where every health check is well, else 0.")
        gauge(READY, [self._readiness], _NO_SHARE, "1 where this process wants requests, else 0.")

    def noted(self, watched: Watched, result: Result, is_change: bool) -> None:
        """Measure a call of a check, and log it if it changes what is believed of the dependency."""
        with guard("telling of a health check"):
            if self._duration is not None:
                self._duration.record(watched.known.seconds, {"check": watched.check.name})
            if is_change:
                _log_change(watched, result)

    def _statuses(self, _options: object) -> Iterable[Any]:
        known = self._standing.known()
        return [
            _observation(int(state.status != FAIL), {"check": name})
            for name, (_, state) in known.items()
            if state.status is not None
        ]

    def _whole(self, _options: object) -> Iterable[Any]:
        return [_observation(int(self._standing.status() == PASS))]

    def _readiness(self, _options: object) -> Iterable[Any]:
        return [_observation(int(self._standing.status() != FAIL and not draining.is_draining()))]


class Probes:
    """Counts the probes that were answered, by probe and status code."""

    def __init__(self) -> None:
        self._counter = _global_meter().create_counter(PROBES, "{probe}", "Health probes that were answered.")

    def count(self, probe: str, status_code: int) -> None:
        """Count one answer."""
        self._counter.add(1, {"probe": probe, "http.response.status_code": status_code})


def _log_change(watched: Watched, result: Result) -> None:
    check, status = watched.check, watched.known.status
    fields: dict[str, Any] = {"check": check.name, "status": status, "required": check.required}
    if status == PASS:
        if not watched.is_first:
            _log.info("health check %s is well again", check.name, extra={FIELDS: fields})
        return
    fields |= {"reason": result.reason, "detail": result.detail}
    words = "is in warning" if status == WARN else "fails"
    why = ": ".join(part for part in (result.reason, result.detail) if part) or "no reason given"
    _log.warning("health check %s %s (%s)", check.name, words, why, extra={FIELDS: fields})


def _global_meter() -> Any:
    from opentelemetry import metrics

    return metrics.get_meter(SCOPE)


def _observation(value: int, attributes: dict[str, str] | None = None) -> Any:
    from opentelemetry.metrics import Observation

    return Observation(value, attributes)
