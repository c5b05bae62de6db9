"""PagerDuty: the Events API v2 (https://developer.pagerduty.com/docs/events-api-v2/overview/).

Each alert is an incident of its own, which its deduplication key holds together: it is triggered when the alert fires
and resolved when it is over. Where very many fire at once, the worst have one each, and one stands for all others: a
phone that rings 500 times is of no use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from otel_forge.alerts.alert import Alert, worst_first
from otel_forge.alerts.notifiers.posting import body_of, host_of, post
from otel_forge.alerts.texts import line, place, shortened, shown_time

LONGEST_SUMMARY = 1024
MOST_INCIDENTS = 20
_MOST_NAMES = 100
_SEVERITIES = {"critical": "critical", "high": "error", "medium": "warning", "low": "info"}
_OTHERS = "other alerts"


class PagerDuty:
    """Tells the PagerDuty service of an integration key, which is the secret."""

    name = "pagerduty"

    def __init__(self, key: str, url: str) -> None:
        self._key = key
        self._url = url
        self._others: set[str] = set()
        """The keys of firing alerts that have no incident of their own."""
        self.place = f"PagerDuty ({host_of(url)})"

    def messages(self, alerts: Sequence[Alert]) -> Sequence[dict[str, Any]]:
        """Return the events, the worst first."""
        ordered = worst_first(list(alerts))
        firing = [alert for alert in ordered if alert.is_firing]
        resolved = [alert for alert in ordered if not alert.is_firing]
        worst, others = firing[:MOST_INCIDENTS], firing[MOST_INCIDENTS:]
        stood_for = self._others | {alert.key for alert in others}
        self._others = stood_for - {alert.key for alert in resolved}
        events = [_trigger(alert) for alert in (*worst, *([_others(others)] if others else []))]
        is_over = bool(stood_for) or len(resolved) > MOST_INCIDENTS  # of a process that is gone, perhaps
        last = [_others(resolved)] if resolved and is_over and not self._others else []
        return [*events, *(_resolve(alert) for alert in (*resolved, *last))]

    def send(self, message: dict[str, Any], timeout: float) -> None:
        """Send an event. Raises Later or Refused."""
        reply = post(self._url, body_of({"routing_key": self._key, **message}), timeout)
        reply.check(self._reason(reply.text))

    def _reason(self, text: str) -> str:
        """Return what PagerDuty says of an event that it does not take: ``message`` and ``errors`` of its answer."""
        try:
            answer = json.loads(text)
            said = "; ".join([str(answer.get("message", "")), *map(str, answer.get("errors", []))])
        except (ValueError, AttributeError, TypeError):
            return ""
        return line(re.sub(re.escape(self._key), "…", said), 300)


def _trigger(alert: Alert) -> dict[str, Any]:
    origin = alert.origin
    payload = {
        "summary": shortened(_summary(alert), LONGEST_SUMMARY),
        "source": origin.host or origin.service or "otel-forge",
        "severity": _SEVERITIES[alert.severity],
        "timestamp": shown_time(alert.started),
        "component": origin.service,
        "group": origin.environment,
        "class": alert.name,
        "custom_details": _details(alert),
    }
    event: dict[str, Any] = {"event_action": "trigger", "dedup_key": alert.key, "client": "otel-forge"}
    if alert.links:
        event["links"] = [{"href": address, "text": title} for title, address in alert.links.items()]
    return {**event, "payload": {name: value for name, value in payload.items() if value}}


def _resolve(alert: Alert) -> dict[str, Any]:
    return {"event_action": "resolve", "dedup_key": alert.key}


def _summary(alert: Alert) -> str:
    said = f"{alert.name}: {alert.summary}" if alert.summary else alert.name
    where = place(replace(alert.origin, host=""))
    return f"{said} ({where})" if where else said


def _details(alert: Alert) -> Mapping[str, Any]:
    known = {"severity": alert.severity, "value": alert.value, "details": dict(alert.details) or None}
    return {name: value for name, value in known.items() if value is not None}


def _others(alerts: Sequence[Alert]) -> Alert:
    """Return the one alert that stands for all of those, none of which is worse than the first."""
    names = {"alerts": ", ".join(alert.name for alert in alerts[:_MOST_NAMES])}
    summary = f"{len(alerts)} more alerts fire at the same time"
    return Alert(
        _OTHERS, alerts[0].severity, summary, started=alerts[0].started, details=names, origin=alerts[0].origin
    )
