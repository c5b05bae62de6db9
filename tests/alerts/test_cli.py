"""`otel-forge alerts` as a user meets it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from otel_forge.alerts import memory
from otel_forge.alerts.alert import Origin
from otel_forge.alerts.leader import Leadership, folder_of, made
from otel_forge.alerts.memory import Memory, RuleMemory
from otel_forge.alerts.states import Phase
from otel_forge.cli.commands import main
from tests.alerts import receivers
from tests.alerts.receivers import ROUTING_KEY
from tests.otlp_receiver import free_port

CLEAN = {
    f"OTEL_FORGE_ALERTS_{name}": None
    for name in ("SLACK_URL", "PAGERDUTY_KEY", "SMTP_URL", "EMAIL_TO", "WEBHOOK_URL", "WEBHOOK_SECRET")
}


def run(folder: Path, *arguments: str, **environ: str) -> Result:
    """Run `otel-forge alerts` with a state folder of the test's own."""
    given: Any = {**CLEAN, "OTEL_FORGE_STATE_DIR": str(folder), "OTEL_SERVICE_NAME": "shop", **environ}
    return CliRunner().invoke(main, ["alerts", *arguments], env=given)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the service shop has evaluated three rules."""
    folder = made(folder_of(tmp_path, "shop", "production"))
    clock, now = time.monotonic(), time.time()
    rules = {
        "High Error Rate": RuleMemory(
            "high",
            Phase("firing", clock - 300),
            "7.5% of 1,240 requests failed",
            7.5,
            evaluated=now - 20,
            owed=("slack",),
        ),
        "Low Memory": RuleMemory("medium", summary="42.0% used", value=42.0, evaluated=now - 20),
        "Queue": RuleMemory("low", problem="timeout", evaluated=now - 20),
    }
    memory.save(folder, Memory(Origin("shop", "production", "web-1"), 4711, 60.0, now - 20, rules), clock=clock)
    return folder


def test_rules_are_listed_with_what_they_say(folder: Path, tmp_path: Path) -> None:
    """State, for how long, when it was evaluated, and what is not told yet."""
    leadership = Leadership(folder)
    assert leadership.is_mine()
    result = run(tmp_path, "list")
    leadership.give_up()
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["service"] + ["shop/production"] * 3
    assert "High Error Rate  high      firing    5m" in lines[1]
    assert lines[1].endswith("7.5% of 1,240 requests failed (not told yet: slack)")
    assert lines[3].endswith("cannot be evaluated: timeout")


def test_the_list_says_when_nobody_evaluates_rules(folder: Path, tmp_path: Path) -> None:
    """The application is not running."""
    result = run(tmp_path, "list")
    assert result.output.splitlines()[-1] == "shop: no process evaluates rules now; this is how it was 20s ago."


def test_the_list_is_empty_where_no_app_has_run(tmp_path: Path) -> None:
    """In words, and without an error."""
    result = run(tmp_path, "list")
    assert (result.exit_code, result.output) == (
        0,
        "No service on this machine has evaluated alert rules yet. An application adds them: alerts.add(…).\n",
    )


def test_the_list_is_there_for_machines(folder: Path, tmp_path: Path) -> None:
    """As JSON; of one service if one is named."""
    [service] = json.loads(run(tmp_path, "list", "--json", "--service", "shop").output)
    assert service["rules"]["High Error Rate"]["phase"]["state"] == "firing"
    assert service["is_evaluated"] is False
    assert json.loads(run(tmp_path, "list", "--json", "--service", "other").output) == []


@pytest.mark.parametrize(
    ("notifier", "variables"),
    [
        ("slack", "OTEL_FORGE_ALERTS_SLACK_URL"),
        ("pagerduty", "OTEL_FORGE_ALERTS_PAGERDUTY_KEY"),
        ("email", "OTEL_FORGE_ALERTS_SMTP_URL and OTEL_FORGE_ALERTS_EMAIL_TO"),
        ("webhook", "OTEL_FORGE_ALERTS_WEBHOOK_URL"),
    ],
)
def test_a_notifier_without_settings_names_them(tmp_path: Path, notifier: str, variables: str) -> None:
    """With exit code 1."""
    result = run(tmp_path, "test", notifier)
    assert (result.exit_code, result.output) == (1, f"Error: Set {variables} to tell people by {notifier}.\n")


def test_a_setting_that_cannot_be_used_is_said_without_its_value(tmp_path: Path) -> None:
    """It is a secret, mistyped."""
    result = run(tmp_path, "test", "pagerduty", OTEL_FORGE_ALERTS_PAGERDUTY_KEY="half-a-secret")
    assert result.output == (
        "Error: OTEL_FORGE_ALERTS_PAGERDUTY_KEY='…' is not an integration key of 32 letters and digits; using none.\n"
    )


def test_a_test_alert_and_its_end_go_to_slack(tmp_path: Path) -> None:
    """Through the real notifier; the secret part of the address is not shown."""
    with receivers.slack() as slack:
        result = run(tmp_path, "test", "slack", OTEL_FORGE_ALERTS_SLACK_URL=slack.url)
    assert result.exit_code == 0, result.output
    host = slack.url.split("/")[2]
    assert result.output == f"Telling Slack ({host}) …\nfiring: delivered\nresolved: delivered\n"
    assert [message["blocks"][0]["text"]["text"] for message in slack.received.taken] == [
        ":large_yellow_circle: FIRING Test alert (low)",
        ":large_green_circle: RESOLVED Test alert (low)",
    ]


def test_a_test_alert_opens_and_closes_an_incident(tmp_path: Path) -> None:
    """With one key, of the severity that was asked for."""
    with receivers.pagerduty() as pagerduty:
        result = run(
            tmp_path, "test", "pagerduty", "--severity", "critical",
            OTEL_FORGE_ALERTS_PAGERDUTY_KEY=ROUTING_KEY, OTEL_FORGE_ALERTS_PAGERDUTY_URL=pagerduty.url,
        )  # fmt: skip
    assert result.exit_code == 0, result.output
    trigger, resolve = pagerduty.received.taken
    assert (trigger["payload"]["severity"], trigger["dedup_key"]) == ("critical", resolve["dedup_key"])
    assert ROUTING_KEY not in result.output


def test_a_test_that_fails_says_why(tmp_path: Path) -> None:
    """With exit code 1, and without the address."""
    with receivers.slack() as slack:
        result = run(tmp_path, "test", "slack", OTEL_FORGE_ALERTS_SLACK_URL=slack.url + "y")
    assert result.exit_code == 1
    assert result.output.endswith("Error: The test alert (firing) could not be delivered: HTTP 404, no_service.\n")
    assert "xxxx" not in result.output


def test_a_mail_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    """At once: who waits for the answer can try again."""
    url = f"smtp://app:word-7731@127.0.0.1:{free_port()}"
    settings = {"OTEL_FORGE_ALERTS_SMTP_URL": url, "OTEL_FORGE_ALERTS_EMAIL_TO": "ops@example.com"}
    result = run(tmp_path, "test", "email", **settings)
    assert result.exit_code == 1
    assert "Telling e-mail to ops@example.com (by 127.0.0.1:" in result.output
    assert "connection refused" in result.output and "word-7731" not in result.output


def test_an_unknown_notifier_is_wrong_usage(tmp_path: Path) -> None:
    """Exit code 2, and which there are."""
    result = run(tmp_path, "test", "pager")
    assert result.exit_code == 2
    assert "'slack', 'pagerduty', 'email', 'webhook'" in result.output
