"""Alerts as rules make them, plain ones and hostile ones, and the names of their golden payloads."""

from __future__ import annotations

from otel_forge.alerts.alert import RESOLVED, Alert, Origin
from otel_forge.alerts.texts import presentable

NOW = 1_795_467_600.0  # 2026-11-23T21:00:00Z
ORIGIN = Origin("asset-forge-api", "production", "web-1")
LINKS = {
    "Runbook": "https://wiki.example.com/runbooks/high-error-rate",
    "Dashboard": "https://grafana.example.com/d/service?var-service=asset-forge-api&from=now-1h",
}
DETAILS = {"requests": 1240, "errors": 93, "threshold": "5.0%"}

FIRING = Alert(
    "High Error Rate",
    "high",
    "7.5% of 1,240 requests failed (5xx) within 5 min",
    value=7.5,
    details=DETAILS,
    links=LINKS,
    started=NOW - 60,
    origin=ORIGIN,
)
STILL_FIRING = Alert(
    "API Down", "critical", "down: database", started=NOW - 14_400, repeated=True, details={"down": ["database"]},
    origin=ORIGIN,
)  # fmt: skip
RESOLVED_ALERT = Alert(
    "High Error Rate",
    "high",
    "0.1% of 1,310 requests failed (5xx) within 5 min",
    RESOLVED,
    value=0.08,
    details={"requests": 1310, "errors": 1, "threshold": "5.0%"},
    links=LINKS,
    started=NOW - 600,
    ended=NOW,
    origin=ORIGIN,
)

SECRETS = (
    "postgres" + "://app:" + "hunter2secret" + "@db/assets",
    "Bearer " + "abcdefghijklmnopqrstuvwx012345",
    "AKIA" + "IOSFODNN7EXAMPLE",
)
NEEDLES = ("hunter2secret", "abcdefghijklmnopqrstuvwx012345", "IOSFODNN7EXAMPLE", "s3cr3t-pass")
SCRIPT, MENTIONS = "<script>alert(1)</script>", "<!channel> @channel @here <!everyone> <@U123>"
BIDI, CONTROL = "abc\u202etxt.exe\u2066", "line one\nline two\r\x1b[31mred\x00\x07\u2028end\u0085"

HOSTILE = Alert(
    f"Bad {SCRIPT} {MENTIONS}",
    "critical",
    f"{SCRIPT} {MENTIONS} {BIDI} {CONTROL} ``` *bold* {SECRETS[0]} {'A' * 10_240}",
    value=float("nan"),
    details={
        "script": SCRIPT,
        "mentions": MENTIONS,
        "bidi": BIDI,
        "control": CONTROL,
        "secret": SECRETS[1],
        "password": "s3cr3t-pass",
        "nested": {"deep": [SECRETS[2], {"api_key": "s3cr3t-pass"}], "more": "```"},
        "long": "B" * 10_240,
        "surrogate": "half \ud83d of a pair",
        f"key {SCRIPT}\n": "a key that is hostile, too",
        "header\r\nBcc: everybody@example.com": "1",
    },
    links={
        "Good > <b>": "https://example.com/a?token=abcdefghijklmnopqrstuvwx&x=<y>",
        "Bad": "javascript:alert(1)",
    },
    started=NOW,
    origin=Origin("shop\r\nBcc: everybody@example.com", "<prod>", "web\u202e1"),
)


def many(number: int) -> list[Alert]:
    """Return so many different alerts, of all severities, every fifth of them resolved."""
    severities = ("low", "medium", "high", "critical")
    return [
        presentable(
            Alert(
                f"Queue {index:03d} long",
                severities[index % 4],
                f"{index * 10} messages wait in queue {index}",
                RESOLVED if index % 5 == 4 else "firing",
                value=float(index * 10),
                started=NOW - index,
                ended=NOW if index % 5 == 4 else 0.0,
                origin=ORIGIN,
            )
        )
        for index in range(number)
    ]


CASES: dict[str, list[Alert]] = {
    "firing": [presentable(FIRING)],
    "still-firing": [presentable(STILL_FIRING)],
    "resolved": [presentable(RESOLVED_ALERT)],
    "hostile": [presentable(HOSTILE)],
    "50": many(50),
    "500": many(500),
}
"""By the name of the golden file what it tells of."""
