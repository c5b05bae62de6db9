"""Rules: what cannot be is said where it is written, and names are taken once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from otel_forge import alerts
from otel_forge.alerts import AlertRule, registry
from otel_forge.alerts.alert import Alert


def never() -> bool:
    return False


@pytest.fixture(autouse=True)
def _no_rules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Rules of this test alone, which nobody evaluates."""
    monkeypatch.setattr(registry, "_rules", {})
    monkeypatch.setattr(registry, "_is_waiting", True)
    yield


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": ""}, "'' is no name of an alert rule: 1 to 100 printable characters."),
        ({"name": "a\nb"}, "'a\\nb' is no name of an alert rule: 1 to 100 printable characters."),
        ({"severity": "page"}, "severity='page' is not one of low, medium, high, critical."),
        ({"condition": True}, "The condition of the alert rule 'Queue' is True; give it a function."),
        ({"action": "restart"}, "The action of the alert rule 'Queue' is 'restart'; give it a function."),
        ({"for_": -1}, "for_=-1 of the alert rule 'Queue' is not a number of seconds from 0."),
        ({"timeout": 0}, "timeout=0 of the alert rule 'Queue' is not a number of seconds above 0."),
        ({"repeat": float("nan")}, "repeat=nan of the alert rule 'Queue' is not a number of seconds from 0."),
        (
            {"links": {"Runbook": "javascript:alert(1)"}},
            "The link 'Runbook': 'javascript:alert(1)' of the alert rule 'Queue' is no http or https address.",
        ),
    ],
)
def test_what_cannot_be_is_an_error_where_the_rule_is_written(wrong: dict[str, Any], message: str) -> None:
    """Who, what, and what instead."""
    with pytest.raises((ValueError, TypeError)) as raised:
        AlertRule(**{"name": "Queue", "condition": never, **wrong})
    assert str(raised.value) == message


def test_a_name_is_taken_once() -> None:
    """Unless the very same rule is added again, or the caller says to replace it; else none is added."""
    rule = AlertRule("Queue", never)
    alerts.add(rule, rule)
    with pytest.raises(
        ValueError, match="There is an alert rule 'Queue' already; replace=True puts this one in its place"
    ):
        alerts.add(AlertRule("Other", never), AlertRule("Queue", lambda: True))
    assert alerts.rules() == (rule,)
    changed = AlertRule("Queue", never, "critical")
    alerts.add(changed, replace=True)
    assert alerts.rules() == (changed,)
    alerts.remove("Queue")
    alerts.remove("Queue")
    assert alerts.rules() == ()


def test_what_is_no_rule_cannot_be_added() -> None:
    """A function, say."""
    with pytest.raises(TypeError, match="is no AlertRule"):
        alerts.add(never)  # type: ignore[arg-type]


def test_the_rules_of_the_handbook_can_be_added_again() -> None:
    """An application factory runs more than once in tests."""
    alerts.add(*alerts.handbook_rules())
    alerts.add(*alerts.handbook_rules())
    found = [(rule.name, rule.severity) for rule in alerts.rules()]
    assert found == [("High Error Rate", "high"), ("Low Memory", "medium"), ("API Down", "critical")]


@pytest.mark.parametrize("wrong", [{"severity": "page"}, {"severity": "low", "state": "pending"}])
def test_an_alert_is_of_a_known_severity_and_state(wrong: dict[str, Any]) -> None:
    """As told by anybody who calls `alerts.notify`."""
    with pytest.raises(ValueError, match="is not"):
        Alert("Queue", **wrong)


def test_the_public_names_are_there() -> None:
    """Each of them, and no other."""
    assert {name: bool(getattr(alerts, name)) for name in alerts.__all__} == dict.fromkeys(alerts.__all__, True)
    assert set(alerts.__all__) <= set(dir(alerts))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        alerts.nothing  # noqa: B018


def test_importing_alerts_imports_no_library() -> None:
    """F6: neither the package nor writing a rule brings requests, smtplib, Flask, psutil or the SDK."""
    code = (
        "import sys; from otel_forge import alerts; alerts.add(alerts.AlertRule('Queue', bool)); "
        "print(sorted({'requests', 'smtplib', 'flask', 'psutil', 'asyncio', 'opentelemetry.sdk'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout
