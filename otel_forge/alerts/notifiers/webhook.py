"""A webhook of one's own: JSON in a form that ``docs/alerts.md`` describes, signed if there is a secret."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from otel_forge.alerts.alert import Alert, worst_first
from otel_forge.alerts.notifiers.posting import body_of, host_of, post
from otel_forge.alerts.texts import shown_time

VERSION = 1
MOST_ALERTS = 100
"""Alerts in one request; more of them are several requests."""
SIGNATURE, DELIVERY = "Otel-Forge-Signature", "Otel-Forge-Delivery"


class Webhook:
    """Tells an address, which is held to be a secret; `secret` signs what is sent."""

    name = "webhook"

    def __init__(self, url: str, secret: str = "", *, wall: Callable[[], float] = time.time) -> None:
        self._url = url
        self._secret = secret.encode()
        self._wall = wall
        self.place = f"the webhook at {host_of(url)}"

    def messages(self, alerts: Sequence[Alert]) -> Sequence[tuple[str, dict[str, Any]]]:
        """Return requests: an id, the same however often one is tried, and the document."""
        ordered = worst_first(list(alerts))
        parts = [ordered[start : start + MOST_ALERTS] for start in range(0, len(ordered), MOST_ALERTS)]
        return [(uuid4().hex, document(part, number, len(parts))) for number, part in enumerate(parts, 1)]

    def send(self, message: tuple[str, dict[str, Any]], timeout: float) -> None:
        """Send a request. Raises Later or Refused."""
        delivery, content = message
        body = body_of(content)
        headers = {DELIVERY: delivery}
        if self._secret:
            headers[SIGNATURE] = signature(self._secret, int(self._wall()), body)
        post(self._url, body, timeout, headers).check()


def document(alerts: Sequence[Alert], part: int, parts: int) -> dict[str, Any]:
    """Return what is sent: of whom, which part of how many, and the alerts."""
    origin = alerts[0].origin
    return {
        "version": VERSION,
        "service": origin.service,
        "environment": origin.environment,
        "host": origin.host,
        "part": part,
        "parts": parts,
        "alerts": [_described(alert) for alert in alerts],
    }


def _described(alert: Alert) -> Mapping[str, Any]:
    return {
        "key": alert.key,
        "name": alert.name,
        "severity": alert.severity,
        "state": alert.state,
        "repeated": alert.repeated,
        "summary": alert.summary,
        "value": alert.value,
        "started": shown_time(alert.started) or None,
        "ended": shown_time(alert.ended) or None,
        "details": dict(alert.details),
        "links": dict(alert.links),
    }


def signature(secret: bytes, moment: int, body: bytes) -> str:
    """Return the signature of a body sent at `moment`: HMAC-SHA256 of the time, a full stop and the body."""
    digest = hmac.new(secret, f"{moment}.".encode() + body, "sha256").hexdigest()
    return f"t={moment},v1={digest}"
