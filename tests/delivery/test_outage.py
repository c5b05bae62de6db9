"""The outage line: with numbers, rarely."""

from __future__ import annotations

from otel_forge.delivery.accounts import Accounts
from otel_forge.delivery.outage import Outage
from otel_forge.notices import Rationed


def test_the_line_has_address_reason_and_what_has_not_arrived() -> None:
    """Many failed requests in a minute are one line."""
    accounts, said = Accounts(), list[str]()
    accounts.created("traces", 7)
    accounts.delivered("traces", 2)
    outage = Outage(accounts, Rationed(60, say=said.append, clock=lambda: 0.0), hint=" Is it up? otel-forge up")
    for _ in range(10):
        outage.noticed("http://localhost:4318", "connection refused")
    assert said == [
        "http://localhost:4318 does not take telemetry (connection refused): 5 spans undelivered. "
        "Is it up? otel-forge up"
    ]
