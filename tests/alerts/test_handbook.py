"""The three rules of the handbook: what they look at, and just above and just below their thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otel_forge import alerts
from otel_forge.alerts.alert import Alert
from otel_forge.alerts.handbook import ErrorRate, MemoryShare, ask_for_restart
from otel_forge.alerts.rule import Finding
from otel_forge.health import checks as health_checks
from otel_forge.health import heartbeat
from otel_forge.health.checks import Checks
from otel_forge.health.resources import MemoryUsage
from otel_forge.metrics.traffic import Counts
from tests.delivery.scripted import eventually


def rate(requests: int, errors: int) -> Finding:
    return ErrorRate(0.05, 300.0, 20, lambda seconds: Counts(requests, errors))()


@pytest.mark.parametrize(
    ("requests", "errors", "fires"),
    [(100, 6, True), (100, 5, False), (20, 2, True), (19, 19, False), (1, 1, False), (0, 0, False), (1000, 1000, True)],
)
def test_the_error_rate_fires_above_five_percent_of_enough_requests(requests: int, errors: int, fires: bool) -> None:
    """Exactly 5 % is well, and so is one failure in a quiet hour (A3)."""
    assert rate(requests, errors).firing is fires


def test_the_error_rate_says_what_it_saw() -> None:
    """The share, of how many, in what time."""
    assert rate(1240, 93) == Finding(
        True,
        "7.5% of 1,240 requests failed (5xx) within 5 min",
        7.5,
        {"requests": 1240, "errors": 93, "threshold": "5.0%"},
    )


@pytest.mark.parametrize(("used", "fires"), [(900, False), (901, True), (1000, True), (0, False)])
def test_low_memory_fires_above_ninety_percent_of_the_limit(used: int, fires: bool) -> None:
    """Of the cgroup, else of the machine."""
    assert MemoryShare(0.9, lambda: MemoryUsage(used << 20, 1000 << 20))().firing is fires


def test_low_memory_reads_this_machine() -> None:
    """Really."""
    found = alerts.low_memory().condition()
    assert isinstance(found, Finding) and found.value is not None and 0 < found.value <= 100
    assert "MiB of memory are used" in found.summary


def test_the_api_is_down_when_a_required_check_is() -> None:
    """Optional ones do not matter; all names are in the summary."""
    down: list[str] = []
    condition: Any = alerts.api_down(look=lambda: down).condition
    assert condition() == Finding(False, "every required health check passes", 0.0)
    down += ["database", "liveness"]
    assert condition() == Finding(True, "down: database, liveness", 2.0, {"down": ["database", "liveness"]})


def test_the_api_is_down_by_the_health_checks_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """They begin when the rule first asks, if they have not; without any the API is not down."""
    checks = Checks()
    monkeypatch.setattr(health_checks, "checks", checks)
    condition: Any = alerts.api_down().condition
    assert condition().firing is False
    assert not checks.background.is_started
    checks.check("database", lambda: False)
    checks.check("cache", lambda: False, required=False)
    condition()
    eventually(lambda: condition() == Finding(True, "down: database", 1.0, {"down": ["database"]}))
    checks.background.forget()


def test_the_action_of_api_down_asks_the_monitor_for_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason; and does nothing where nobody watches."""
    alert = Alert("API Down", "critical", "down: database")
    monkeypatch.setattr(heartbeat, "_current", None)
    assert ask_for_restart(alert) is False
    monkeypatch.setattr(heartbeat, "_current", heartbeat.Heartbeat(tmp_path))
    assert ask_for_restart(alert) is True
    assert "alert API Down: down: database" in (tmp_path / heartbeat.REQUEST).read_text()
    assert alerts.api_down().action is ask_for_restart


@pytest.mark.parametrize("wrong", [{"threshold": 5}, {"threshold": 0}, {"window": 3600}])
def test_thresholds_that_cannot_be_are_errors(wrong: dict[str, float]) -> None:
    """5 is not 5 %."""
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}={next(iter(wrong.values()))} is not a"):
        alerts.high_error_rate(**wrong)  # type: ignore[arg-type]


def test_every_threshold_can_be_chosen() -> None:
    """And every option of a rule."""
    rule = alerts.high_error_rate(threshold=0.01, window=60, minimum=1, severity="low", for_=60, repeat=0)
    assert (rule.severity, rule.for_, rule.repeat) == ("low", 60, 0)
    assert isinstance(rule.condition, ErrorRate) and rule.condition.window == 60
