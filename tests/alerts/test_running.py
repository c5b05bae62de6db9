"""Alerts in a process: started by what serves, told by anybody, gone at exit."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_forge import alerts
from otel_forge.alerts import registry, running, workers
from otel_forge.alerts.alert import Alert, Origin
from otel_forge.alerts.events import EVENT, NOTIFICATIONS, STATE, Meters, log_change
from otel_forge.alerts.memory import RuleMemory
from otel_forge.alerts.states import Phase
from otel_forge.cli.commands import main
from otel_forge.logs.record import FIELDS
from otel_forge.metrics import traffic
from otel_forge.redaction import current
from otel_forge.settings import AlertSettings, Settings
from tests.alerts import receivers
from tests.alerts.receivers import ROUTING_KEY, Receiver
from tests.delivery.scripted import eventually
from tests.otlp_receiver import OtlpReceiver, Received, attributes, points
from tests.programs import Programs


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No rules and no settings but those of the test; nothing runs on afterwards."""
    for name in list(os.environ):
        if name.startswith("OTEL_FORGE_ALERTS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_FORGE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setattr(registry, "_rules", {})
    monkeypatch.setattr(registry, "_is_waiting", False)
    monkeypatch.setattr(traffic, "_waiting", [])
    monkeypatch.setattr(traffic, "_is_serving", False)
    monkeypatch.setattr(current, "_policy", current._policy)
    monkeypatch.setattr(current, "_is_chosen", False)
    yield
    alerts.stop(0)


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Slack, configured."""
    with receivers.slack() as receiver:
        monkeypatch.setenv("OTEL_FORGE_ALERTS_SLACK_URL", receiver.url)
        yield receiver


def headers(slack: Receiver) -> list[str]:
    return [message["blocks"][0]["text"]["text"] for message in slack.received.taken]


def test_rules_are_evaluated_once_the_process_serves(slack: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its first request; a rule that is added later is evaluated, too."""
    monkeypatch.setenv("OTEL_FORGE_ALERTS_INTERVAL", "0.05")
    alerts.add(alerts.AlertRule("Queue", lambda: True, "high"))
    assert not running._is_started
    traffic.serves()
    slack.wait_for(1)
    alerts.add(alerts.AlertRule("Other", lambda: True, "high"))
    slack.wait_for(2)
    alerts.remove("Queue")
    slack.wait_for(3)
    assert headers(slack) == [
        ":red_circle: FIRING Queue (high)",
        ":red_circle: FIRING Other (high)",
        ":large_green_circle: RESOLVED Queue (high)",
    ]


def test_starting_twice_is_starting_once(slack: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was stopped can be started again, knowing what was told."""
    monkeypatch.setenv("OTEL_FORGE_ALERTS_INTERVAL", "0.05")
    asked: list[int] = []

    def condition() -> bool:
        asked.append(1)
        return True

    alerts.add(alerts.AlertRule("Queue", condition, "high"))
    alerts.start()
    alerts.start()
    slack.wait_for(1)
    assert alerts.stop() is True
    seen = len(asked)
    alerts.start()
    eventually(lambda: len(asked) > seen + 3)
    assert headers(slack) == [":red_circle: FIRING Queue (high)"]


def test_alerts_can_be_switched_off(slack: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told of anything."""
    monkeypatch.setenv("OTEL_FORGE_ALERTS", "false")
    assert alerts.notify(Alert("Queue", "high"), wait=1.0) is False
    assert running._made() is None


def test_anybody_can_tell_people(slack: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """As the restart monitor does; it is logged, and where it comes from is filled in."""
    secret = "hunter2" + "secret"
    assert alerts.notify(Alert("Restarts given up", "critical", f"4 in 10 min, password={secret}"), wait=10.0)
    [message] = slack.received.taken
    assert "Service: shop" in str(message) and secret not in str(message) + caplog.text
    [record] = caplog.records
    assert record.levelno == logging.CRITICAL


def test_telling_without_any_notifier_is_logging() -> None:
    """There is nothing to wait for."""
    assert alerts.notify(Alert("Queue", "low")) is True


def test_a_folder_that_cannot_be_used_is_said(
    slack: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Alerts go on: better told twice than not at all."""
    (tmp_path / "state").write_text("a file")
    monkeypatch.setenv("OTEL_FORGE_ALERTS_INTERVAL", "0.05")
    alerts.add(alerts.AlertRule("Queue", lambda: True, "high"))
    alerts.start()
    slack.wait_for(1)
    assert "each process evaluates alert rules by itself" in capsys.readouterr().err


def test_a_user_without_a_home_folder_has_alerts(
    slack: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a container whose user has no name; the command line does not stumble either."""
    monkeypatch.setenv("OTEL_FORGE_STATE_DIR", "~nobody-of-that-name/state")
    assert alerts.notify(Alert("Queue", "high"), wait=10.0)
    assert "the state folder cannot be used (Could not determine home directory" in capsys.readouterr().err
    result = CliRunner().invoke(main, ["alerts", "list"])
    assert result.exit_code == 0 and "No service on this machine" in result.output


def test_settings_that_cannot_be_used_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, by name, without secrets; a half of e-mail, too."""
    monkeypatch.setenv("OTEL_FORGE_ALERTS_SLACK_URL", "hooks.slack.test/half-a-secret")
    monkeypatch.setenv("OTEL_FORGE_ALERTS_EMAIL_TO", "ops@example.com")
    monkeypatch.setenv("OTEL_FORGE_ALERTS_INTERVAL", "soon")
    alerts.notify(Alert("Queue", "low"))
    said = capsys.readouterr().err
    assert "OTEL_FORGE_ALERTS_SLACK_URL='…' is not an address such as http://localhost:4318" in said
    assert "OTEL_FORGE_ALERTS_INTERVAL='soon' is not a number of seconds above 0 to 86400; using 60." in said
    assert "OTEL_FORGE_ALERTS_EMAIL_TO is set and OTEL_FORGE_ALERTS_SMTP_URL is not: alerts are not mailed." in said
    assert "half-a-secret" not in said


def test_the_settings_by_default() -> None:
    """On, every minute, nobody told; PagerDuty from high on."""
    settings = Settings.from_env({}).alerts
    assert settings == AlertSettings(
        enabled=True,
        interval=60.0,
        lowest={"slack": "low", "pagerduty": "high", "email": "low", "webhook": "low"},
        pagerduty_url="https://events.pagerduty.com/v2/enqueue",
        email_from="",
        email_to=(),
        slack_url="",
        pagerduty_key="",
        smtp_url="",
        webhook_url="",
        webhook_secret="",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLACK_URL", "https:secret"),
        ("PAGERDUTY_KEY", "secret"),
        ("SMTP_URL", "smtp://app:secret@mail.test/path"),
        ("SMTP_URL", "smtp://app:secret@mail.test?starttls=perhaps"),
        ("WEBHOOK_URL", "ftp://secret"),
    ],
)
def test_no_secret_is_in_a_problem_or_in_the_settings_as_text(name: str, value: str) -> None:
    """S1: what is wrong is named, not shown."""
    settings = Settings.from_env({f"OTEL_FORGE_ALERTS_{name}": value})
    assert len(settings.problems) == 1 and "secret" not in settings.problems[0]
    given = {
        "OTEL_FORGE_ALERTS_SLACK_URL": "https://hooks.slack.test/secret",
        "OTEL_FORGE_ALERTS_PAGERDUTY_KEY": ROUTING_KEY,
        "OTEL_FORGE_ALERTS_SMTP_URL": "smtp://app:secret@mail.test?starttls=never",
        "OTEL_FORGE_ALERTS_WEBHOOK_URL": "https://hooks.test/secret",
        "OTEL_FORGE_ALERTS_WEBHOOK_SECRET": "secret",
    }
    whole = Settings.from_env(given)
    assert whole.problems == ()
    assert "secret" not in repr(whole) and ROUTING_KEY not in repr(whole)


@pytest.mark.parametrize(
    ("severity", "level"),
    [("low", logging.INFO), ("medium", logging.WARNING), ("high", logging.ERROR), ("critical", logging.CRITICAL)],
)
def test_a_change_is_a_log_event(severity: str, level: int, caplog: pytest.LogCaptureFixture) -> None:
    """Of the severity's level while it fires, information when it is over."""
    with caplog.at_level(logging.INFO):
        log_change(Alert("Queue", severity, "12 wait", value=12.0))
        log_change(Alert("Queue", severity, state="resolved"))
    firing, resolved = caplog.records
    assert (firing.levelno, firing.getMessage()) == (level, "Alert Queue is firing: 12 wait")
    assert (resolved.levelno, resolved.getMessage()) == (logging.INFO, "Alert Queue is resolved")
    assert firing.__dict__[FIELDS] == {
        "otel.event.name": EVENT,
        "alert.name": "Queue",
        "alert.severity": severity,
        "alert.state": "firing",
        "alert.summary": "12 wait",
        "alert.value": 12.0,
    }


def test_states_and_notifications_are_metrics() -> None:
    """0, 1 and 2, of the rules that this process evaluates."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    known = {state: RuleMemory("high", Phase(state)) for state in ("inactive", "pending", "firing", "resolved")}
    meters = Meters(lambda: known, provider.get_meter("alerts"))
    meters.count("slack", "delivered", 2)
    data = reader.get_metrics_data()
    assert data is not None
    metrics: dict[str, Any] = {
        metric.name: metric
        for of_resource in data.resource_metrics
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
    }
    states = {point.attributes["alert"]: point.value for point in metrics[STATE].data.data_points}
    assert states == {"inactive": 0, "pending": 1, "firing": 2, "resolved": 0}
    [count] = metrics[NOTIFICATIONS].data.data_points
    assert (count.value, dict(count.attributes)) == (2, {"notifier": "slack", "outcome": "delivered"})
    provider.shutdown()


def test_a_forked_child_knows_nothing(slack: Receiver) -> None:
    """Its parent leads on and tells people; the child would begin if it served."""
    alerts.add(alerts.AlertRule("Queue", lambda: False))
    alerts.start()
    eventually(lambda: running._alerts is not None)
    child = os.fork()
    if child == 0:
        fresh = running._alerts is None and not running._is_started and workers._current is None
        os._exit(0 if fresh and not traffic._is_serving and len(alerts.rules()) == 1 else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert running._alerts is not None and running._alerts.origin == Origin(
        "shop", "development", running._alerts.origin.host
    )


PROGRAM = """
    import time
    from pathlib import Path
    from otel_forge import alerts
    from otel_forge.metrics import traffic

    alerts.add(alerts.AlertRule("Queue", lambda: alerts.Finding(not Path("well").exists(), "12 wait", 12), "high"))
    traffic.serves()
    while not Path("done").exists():
        time.sleep(0.05)
"""


def state_of(received: Received) -> int | None:
    """Return the state of the only rule, as the metric has it."""
    gauge = received.metrics().get(STATE)
    return None if gauge is None else next(int(point.as_int) for point in points(gauge))


@pytest.mark.parametrize("pipeline", ["lean", "upstream"])
def test_a_program_tells_telemetry_of_its_alerts(
    programs: Programs, receiver: OtlpReceiver, pipeline: str, tmp_path: Path
) -> None:
    """A log event for each change, and the state as a metric; the request to Slack makes no span."""
    with receivers.slack() as slack:
        program = programs.instrumented(
            sys.executable,
            str(programs.write("shop.py", PROGRAM)),
            OTEL_FORGE_PIPELINE=pipeline,
            OTEL_SERVICE_NAME="shop",
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_METRIC_EXPORT_INTERVAL="300",
            OTEL_FORGE_STATE_DIR=str(tmp_path / "state"),
            OTEL_FORGE_ALERTS_INTERVAL="0.3",
            OTEL_FORGE_ALERTS_SLACK_URL=slack.url,
            PYTHONPATH=str(Path.cwd()),
        )
        receiver.wait_for(lambda received: state_of(received) == 2)
        (programs.folder / "well").touch()
        receiver.wait_for(lambda received: state_of(received) == 0)
        slack.wait_for(2)
        (programs.folder / "done").touch()
        assert program.wait() == 0, program.err
        assert headers(slack) == [":red_circle: FIRING Queue (high)", ":large_green_circle: RESOLVED Queue (high)"]
    events = [record for record in receiver.received.logs() if record.event_name == EVENT]
    assert [record.severity_text for record in events] == ["ERROR", "INFO"]
    said = [attributes(record.attributes) for record in events]
    assert [one["alert.state"] for one in said] == ["firing", "resolved"]
    assert said[0]["alert.name"] == "Queue" and said[0]["alert.value"] == 12
    assert receiver.received.spans() == []
    assert "http.client.request.duration" not in receiver.received.metrics()
    [count] = points(receiver.received.metrics()[NOTIFICATIONS])
    assert (count.as_int, attributes(count.attributes)) == (2, {"notifier": "slack", "outcome": "delivered"})
