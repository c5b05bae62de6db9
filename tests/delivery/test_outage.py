"""The outage line: with numbers, rarely."""

from __future__ import annotations

from otel_forge.delivery.accounts import Accounts, Reason
from otel_forge.delivery.outage import Outage
from otel_forge.notices import Rationed


def test_the_line_has_address_reason_and_what_has_not_arrived() -> None:
    """Many failed requests in a minute are one line."""
    accounts, said = Accounts(), list[str]()
    accounts.created("traces", 7)
    accounts.delivered("traces", 2)
    hints = {"http://localhost:4318": " Is it up? otel-forge up"}
    ration = Rationed(60, say=said.append, clock=lambda: 0.0)
    outage = Outage(accounts, ration, hint=lambda address: hints.get(address, ""))
    for _ in range(10):
        outage.noticed("http://localhost:4318", "connection refused")
    assert said == [
        "http://localhost:4318 does not take telemetry (connection refused): 5 spans undelivered. "
        "Is it up? otel-forge up"
    ]


def test_what_is_lost_is_told_apart_from_what_waits() -> None:
    """The one can still arrive."""
    accounts, said = Accounts(), list[str]()
    accounts.accept("logs", 5, 500)
    accounts.drop("logs", Reason.QUEUE_FULL, 2, 200)
    Outage(accounts, Rationed(60, say=said.append)).noticed("http://x:4318", "timed out")
    assert said == [
        "http://x:4318 does not take telemetry (timed out): 3 log records undelivered, 2 log records lost so far."
    ]


def test_the_end_of_an_outage_is_said_once_with_what_was_kept() -> None:
    """And only if its beginning was."""
    said = list[str]()
    outage = Outage(Accounts(), Rationed(60, say=lambda line: None, clock=lambda: 0.0), say=said.append)
    outage.over("http://x:4318", {"traces": 5})
    assert said == []
    outage.noticed("http://x:4318", "timed out")
    for _ in range(2):
        outage.over("http://x:4318", {"traces": 120, "metrics": 0, "logs": 3})
    assert said == ["http://x:4318 takes telemetry again: 120 spans, 3 log records kept meanwhile are delivered."]
