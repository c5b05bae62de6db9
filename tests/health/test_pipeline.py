"""The check of our own telemetry: it warns, and nothing else ever comes of it."""

from __future__ import annotations

import pytest

from otel_forge import health
from otel_forge.delivery.accounts import Accounts, Reason
from otel_forge.health import pipeline
from otel_forge.health.results import PASS, WARN, Result
from otel_forge.settings import HealthSettings
from tests.health.build import build_checks, wait_for
from tests.health.test_attempts import outcome


def test_losses_warn_once_for_each_time() -> None:
    """What was lost before the first look is no news; what is lost later is, until the next look finds no more."""
    accounts = Accounts()
    check = health.telemetry(accounts.read)
    accounts.accept("traces", 10, 1000)
    accounts.drop("traces", Reason.SPOOL_FULL, 4, 400)
    assert outcome(check) == Result(PASS)
    accounts.drop("traces", Reason.SPOOL_FULL, 6, 600)
    assert outcome(check) == Result(WARN, "6 traces lost")
    assert outcome(check) == Result(PASS)


def test_records_that_wait_while_nothing_is_delivered_warn() -> None:
    """Between two looks; a delivery in between is a sign of life."""
    accounts = Accounts()
    check = health.telemetry(accounts.read)
    accounts.accept("logs", 10, 1000)
    assert outcome(check) == Result(PASS)
    assert outcome(check) == Result(WARN, "10 logs wait and none is delivered")
    accounts.deliver("logs", 1, 100)
    assert outcome(check) == Result(PASS)


def test_a_new_pipeline_or_a_forked_child_begins_anew() -> None:
    """Numbers that have fallen are those of another account."""
    accounts = Accounts()
    check = health.telemetry(lambda: accounts.read())
    accounts.accept("traces", 10, 1000)
    accounts.deliver("traces", 10, 1000)
    assert outcome(check) == Result(PASS)
    accounts = Accounts()
    assert outcome(check) == Result(PASS)


def test_without_telemetry_there_is_nothing_to_warn_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """And with it the accounts of the process are looked at: start-up says which."""
    monkeypatch.setattr(pipeline, "_source", dict)
    check = health.telemetry()
    assert outcome(check) == Result(PASS)
    accounts = Accounts()
    pipeline.watch(accounts.read)
    accounts.accept("metrics", 3, 300)
    outcome(check)
    assert outcome(check).status == WARN


def test_readiness_never_depends_on_it() -> None:
    """Whatever is said at its registration, and even if the check itself breaks."""
    checks = build_checks(HealthSettings(interval=0.01))

    def broken() -> dict[str, Accounts]:
        raise ValueError("no accounts")

    checks.check("telemetry", health.telemetry(broken), required=True)  # type: ignore[arg-type]
    checks.start()
    wait_for(lambda: checks.known()["telemetry"][1].status == "fail")
    assert checks.status() == WARN and checks.required_down() == ()
