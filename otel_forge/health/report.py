"""The documents that probes get: in the handbook's shape, and as ``application/health+json``.

Nobody who asks learns more than names, states and numbers, unless he holds the token: exception texts, the addresses in
them and the reasons that an application gives are for operators. Secrets are in none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from otel_forge.health.resources import memory_usage, rss
from otel_forge.health.results import FAIL, PASS, WARN, Status
from otel_forge.health.watched import Check, Known

HEALTHY, DEGRADED = "healthy", "degraded"
STARTING = "starting"
_MEGABYTE = 1 << 20
_MEMORY_IS_FRESH = 1.0

KnownChecks = Mapping[str, tuple[Check, Known]]
Document = dict[str, Any]


def shown_time(unix: float) -> str:
    """Return a time as ISO 8601 with milliseconds, in UTC."""
    return datetime.fromtimestamp(unix, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def handbook(known: KnownChecks, *, now: float, uptime: float, memory: Mapping[str, float]) -> Document:
    """Return the report of the Asset Forge handbook; `uptime` in seconds, `memory` in megabytes."""
    services = {name: state.status not in (FAIL, None) for name, (_, state) in known.items()}
    return {
        "status": HEALTHY if all(services.values()) else DEGRADED,
        "timestamp": shown_time(now),
        "uptime": round(uptime, 3),
        "memory": dict(memory),
        "services": services,
    }


def health_json(status: Status, known: KnownChecks, *, with_details: bool) -> Document:
    """Return the document of draft-inadarei-api-health-check-06, section 3."""
    checks = {_measured(name, state): [_check(check, state, with_details)] for name, (check, state) in known.items()}
    return {"status": status, "checks": checks} if checks else {"status": status}


def statuses(status: Status, known: KnownChecks, *, with_details: bool) -> Document:
    """Return what readiness and start-up are told: a word for each check, or with `with_details` all about it."""
    checks = details(known) if with_details else {name: state.status or STARTING for name, (_, state) in known.items()}
    return {"status": status, "checks": checks} if checks else {"status": status}


def details(known: KnownChecks) -> Document:
    """Return all about each check, for whoever may know it."""
    return {name: _check(check, state, True) for name, (check, state) in known.items()}


def _measured(name: str, state: Known) -> str:
    has_value = state.result is not None and state.result.observed is not None
    return f"{name}:{'utilization' if has_value else 'responseTime'}"


def _check(check: Check, state: Known, with_details: bool) -> Document:
    result = state.result
    if result is None:
        return {"componentType": check.component_type, "status": WARN if not check.required else FAIL}
    value, unit = round(state.seconds * 1000, 3), "ms"
    if result.observed is not None:
        value, unit = result.observed, result.unit
    shown: Document = {
        "componentType": check.component_type,
        "observedValue": value,
        "observedUnit": unit,
        "status": state.status,
        "time": shown_time(state.at),
    }
    if with_details:
        shown |= {"required": check.required, "lastResult": result.status}
        if result.status != PASS:
            shown |= {"reason": result.reason, "output": result.detail}
    return shown


class Memory:
    """Memory in megabytes, as the handbook's report has it; measured once a second at the most."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._measured = -_MEMORY_IS_FRESH
        self._last: Mapping[str, float] = {"used": 0.0, "total": 0.0, "rss": 0.0}

    def now(self) -> Mapping[str, float]:
        """Return what is used, against the limit that holds, that limit, and what this process has of it."""
        if self._clock() - self._measured >= _MEMORY_IS_FRESH:
            self._last = _memory(self._last)
            self._measured = self._clock()
        return self._last


def _memory(last: Mapping[str, float]) -> Mapping[str, float]:
    try:
        usage, resident = memory_usage(), rss()
    except (OSError, ValueError, KeyError):
        return last
    sizes = {"used": usage.used, "total": usage.limit, "rss": resident}
    return {name: round(size / _MEGABYTE, 1) for name, size in sizes.items()}
