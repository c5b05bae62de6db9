"""The examples of docs/alerts.md run, and what it says of settings, defaults and requests is so."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_forge import alerts
from otel_forge.alerts import registry, running, sending, states, telling, texts
from otel_forge.alerts.notifiers import pagerduty, webhook
from otel_forge.metrics import traffic
from otel_forge.redaction import current
from otel_forge.variables import VARIABLES
from tests.alerts.samples import CASES

PAGE = (Path(__file__).parents[2] / "docs/alerts.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(autouse=True)
def _no_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Rules of this test alone."""
    monkeypatch.setenv("OTEL_FORGE_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(registry, "_rules", {})
    monkeypatch.setattr(registry, "_is_waiting", False)
    monkeypatch.setattr(traffic, "_waiting", [])
    monkeypatch.setattr(traffic, "_is_serving", False)
    monkeypatch.setattr(current, "_policy", current._policy)
    monkeypatch.setattr(current, "_is_chosen", False)
    yield
    alerts.stop(0)


def test_the_examples_are_a_program_that_runs(caplog: pytest.LogCaptureFixture) -> None:
    """And it does what the page says."""
    names: dict[str, Any] = {"__name__": "examples"}
    for block in blocks("python"):
        exec(compile(block, "docs/alerts.md", "exec"), names)
    rules = {rule.name: rule for rule in alerts.rules()}
    table = dict(re.findall(r"^\| (High Error Rate|Low Memory|API Down) \| .* \| (\w+) \|$", PAGE, re.MULTILINE))
    assert {name: rules[name].severity for name in table} == table
    assert list(rules) == [*table, "Queue Long"]
    found = rules["Queue Long"].condition()
    assert found == alerts.Finding(False, "0 jobs wait", 0)
    assert "Alert Import failed is firing" in caplog.text
    signed = webhook.signature(b"secret", 1234, b"{}")
    assert names["is_from_us"](signed, b"{}", b"secret") and not names["is_from_us"](signed, b"{ }", b"secret")


def test_the_json_is_what_a_webhook_gets() -> None:
    """Of the alert that the golden files tell of."""
    [shown] = map(json.loads, blocks("json"))
    [(_, document)] = webhook.Webhook("https://hooks.test/").messages(CASES["firing"])
    assert shown == document


def test_every_setting_is_one_that_there_is() -> None:
    """The names in the page are in the table of settings, and all of them are in the page."""
    known = {variable.name for variable in VARIABLES if variable.name.startswith("OTEL_FORGE_ALERTS")}
    named = set(re.findall(r"\bOTEL_FORGE_ALERTS(?:_[A-Z_]+[A-Z])?\b(?![_…*])", PAGE))
    assert named <= known
    assert {name for name in known - named if not name.endswith("_SEVERITY")} == set()


def test_the_defaults_are_those_of_the_code() -> None:
    """Each number in the page."""
    defaults = {field.name: field.default for field in dataclasses.fields(alerts.AlertRule)}
    told = {"repeat": 4 * 3600.0, "timeout": 10.0, "for_": 0.0, "keep_firing_for": 0.0, "severity": "medium"}
    assert {name: defaults[name] for name in told} == told
    options = re.search(r"^\| option .*?\n\n", PAGE, re.DOTALL | re.MULTILINE)
    assert options is not None
    assert set(re.findall(r"^\| `(\w+)` \|", options[0], re.MULTILINE)) == set(defaults) - {"name", "condition"}
    patience = sending.Patience()
    assert (patience.attempt, patience.total, patience.first_pause, patience.longest_pause) == (10.0, 900.0, 1.0, 30.0)
    assert (telling.MOST_WAITING, pagerduty.MOST_INCIDENTS, webhook.MOST_ALERTS) == (100, 20, 100)
    assert (texts.LONGEST_SUMMARY, texts.MOST_DETAILS, texts.LONGEST_DETAIL) == (1000, 20, 500)
    assert (states.FLAPPING, states.RECENTLY, states.CALM, running.LONGEST_TURN) == (3, 3600.0, 600.0, 10.0)
