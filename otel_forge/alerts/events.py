"""Alerts as telemetry: a log event for each change, a gauge of all states, a counter of notifications."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from otel_forge.alerts.alert import Alert
from otel_forge.alerts.memory import RuleMemory
from otel_forge.logs.record import FIELDS

LOGGER = "otel_forge.alerts"
EVENT = "otel_forge.alert"
STATE, NOTIFICATIONS = "otel_forge.alerts.state", "otel_forge.alerts.notifications"
LEVELS = {"low": logging.INFO, "medium": logging.WARNING, "high": logging.ERROR, "critical": logging.CRITICAL}
NUMBERS = {"inactive": 0, "resolved": 0, "pending": 1, "firing": 2}

_log = logging.getLogger(LOGGER)


def let_information_pass() -> None:
    """Let the end of an alert be logged, which is information, where nobody has said what of ours is to be logged.

    The root logger's default would keep all but warnings back, and a story without its end is none.
    """
    if _log.level == logging.NOTSET:
        _log.setLevel(logging.INFO)


def log_change(alert: Alert) -> None:
    """Log that an alert fires, by its severity's level, or that it is resolved, as information."""
    level = LEVELS[alert.severity] if alert.is_firing else logging.INFO
    fields: dict[str, Any] = {
        "otel.event.name": EVENT,
        "alert.name": alert.name,
        "alert.severity": alert.severity,
        "alert.state": alert.state,
        "alert.summary": alert.summary,
    }
    if alert.value is not None:
        fields["alert.value"] = alert.value
    if alert.repeated:
        fields["alert.repeated"] = True
    state = f"still {alert.state}" if alert.repeated else alert.state
    template = "Alert %s is %s: %s" if alert.summary else "Alert %s is %s%s"
    _log.log(level, template, alert.name, state, alert.summary, extra={FIELDS: fields})


def log_trouble(rule: str, what: str) -> None:
    """Log what is the matter with a rule."""
    _log.warning("Alert rule %s: %s", rule, what, extra={FIELDS: {"alert.name": rule}})


def log_recovery(rule: str) -> None:
    """Log that a rule can be evaluated again."""
    _log.info("Alert rule %s is evaluated again", rule, extra={FIELDS: {"alert.name": rule}})


def log_undelivered(notifier: str, alerts: Iterable[Alert], reason: str) -> None:
    """Log that people could not be told."""
    names = ", ".join(alert.name for alert in alerts)
    fields = {"alert.notifier": notifier, "alert.names": names, "reason": reason}
    _log.error("%s could not be told of %s: %s", notifier, names, reason, extra={FIELDS: fields})


class Meters:
    """The metrics of alerts; `known` returns what is known of each rule where this process leads, else nothing."""

    def __init__(self, known: Callable[[], Mapping[str, RuleMemory]], meter: metrics.Meter | None = None) -> None:
        self._known = known
        meter = meter or metrics.get_meter(LOGGER)
        self._notifications = meter.create_counter(
            NOTIFICATIONS, "{notification}", "Alerts that notifiers were to tell of, by what became of it."
        )
        meter.create_observable_gauge(
            STATE, [self._observe], "{state}", "State of each alert rule: 0 inactive or resolved, 1 pending, 2 firing."
        )

    def count(self, notifier: str, outcome: str, number: int) -> None:
        """Count alerts that were ``delivered``, ``failed`` or ``dropped`` by a notifier."""
        self._notifications.add(number, {"notifier": notifier, "outcome": outcome})

    def _observe(self, options: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(NUMBERS[known.phase.state], {"alert": name, "severity": known.severity})
            for name, known in dict(self._known()).items()
        ]
