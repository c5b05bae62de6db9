"""Alerts: rules that an application checks by itself, and the people it tells.

``alerts.add(alerts.AlertRule("Queue long", lambda: queue.size() > 1000, "high"))`` is one line in an application. Rules
are evaluated every minute on a thread of ours, in one process of a service on a machine; what fires or is over goes to
Slack, PagerDuty, e-mail or a webhook, and to logs and metrics. It is the safety net inside of the application; fleets
are watched by Prometheus and Grafana. Each name is imported when it is first used. ``docs/alerts.md`` says the rest.
"""

from __future__ import annotations

from otel_forge import lazily

TYPE_CHECKING = False  # as in `otel_forge`: without the import of typing
if TYPE_CHECKING:
    from otel_forge.alerts.alert import SEVERITIES, Alert
    from otel_forge.alerts.handbook import api_down, handbook_rules, high_error_rate, low_memory
    from otel_forge.alerts.registry import add, remove, rules
    from otel_forge.alerts.rule import AlertRule, Finding
    from otel_forge.alerts.running import notify, start, stop

__all__ = [
    "SEVERITIES",
    "Alert",
    "AlertRule",
    "Finding",
    "add",
    "api_down",
    "handbook_rules",
    "high_error_rate",
    "low_memory",
    "notify",
    "remove",
    "rules",
    "start",
    "stop",
]

_HOMES = {
    **dict.fromkeys(("SEVERITIES", "Alert"), "alert"),
    **dict.fromkeys(("api_down", "handbook_rules", "high_error_rate", "low_memory"), "handbook"),
    **dict.fromkeys(("add", "remove", "rules"), "registry"),
    **dict.fromkeys(("AlertRule", "Finding"), "rule"),
    **dict.fromkeys(("notify", "start", "stop"), "running"),
}

__getattr__, __dir__ = lazily.imported(globals(), _HOMES)
