"""The operational rows of the monitoring handbook, each at work in the running example: gunicorn under the monitor."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest
import requests

from otel_forge.settings import Settings
from tests.alerts import receivers
from tests.alerts.receivers import ROUTING_KEY, Receiver
from tests.alerts.test_mail import Mailbox, listening
from tests.examples.conftest import until
from tests.examples.test_demo import DemoCommand
from tests.otlp_receiver import OtlpReceiver, attributes, points
from tests.programs import BIN, clean_environ

pytestmark = pytest.mark.gate

QUICK = {
    "OTEL_FORGE_ALERTS_INTERVAL": "0.5",
    "OTEL_FORGE_HEALTH_INTERVAL": "0.5",
    "OTEL_FORGE_WATCH_INTERVAL": "0.2",
    "OTEL_FORGE_WATCH_PATIENCE": "6",
    "OTEL_METRIC_EXPORT_INTERVAL": "500",
    "RATE_LIMIT": "3 per 15 minutes",
}
ALWAYS_HIGH = {"OTEL_FORGE_WATCH_CPU": "0.1", "OTEL_FORGE_WATCH_MEMORY": "0.1", "OTEL_FORGE_WATCH_DISK": "0.1"}
IMAGE_SERVER_DOWN = "Image Server Down"


@dataclass
class Example:
    """The running example, and everybody who is told of it."""

    demo: DemoCommand
    otlp: OtlpReceiver
    slack: Receiver
    pagerduty: Receiver
    mailbox: Mailbox

    def ask(self, path: str, method: str = "GET", **options: Any) -> requests.Response:
        """Send a request to the API."""
        return requests.request(method, f"http://127.0.0.1:{self.demo.ports.api}{path}", timeout=30, **options)

    def health(self, status: int) -> requests.Response:
        """Return the first report that has this status; each worker finds out by itself how things are."""
        found: list[requests.Response] = []

        def has_come() -> bool:
            found[:] = [self.ask("/api/health")]
            return found[0].status_code == status

        until(has_come)
        return found[0]

    def break_image_server(self, **faults: object) -> None:
        """Switch faults of the image server; without any it is well again."""
        requests.put(f"http://127.0.0.1:{self.demo.ports.image_server}/faults", json=faults, timeout=30)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the attributes of the log events of a name."""
        return [attributes(log.attributes) for log in self.otlp.received.logs() if log.event_name == event]

    def warned(self, words: str) -> list[str]:
        """Return the warnings with these words in them."""
        bodies = [log.body.string_value for log in self.otlp.received.logs() if log.severity_text == "WARN"]
        return [body for body in bodies if words in body]

    def measured(self, name: str, **expected: str) -> list[Any]:
        """Wait for points of a metric that have these attributes, and return them."""
        wanted = {key.replace("__", "."): value for key, value in expected.items()}

        def found(received: Any) -> list[Any]:
            metric = received.metrics().get(name)
            seen = list(points(metric)) if metric else []
            return [point for point in seen if wanted.items() <= attributes(point.attributes).items()]

        return list(self.otlp.wait_for(found, 30))

    def processes(self) -> list[psutil.Process]:
        """Return gunicorn's master and then its workers, whom the monitor has started."""
        monitor = psutil.Process(self.demo.state.read_status()["services"]["asset-forge"])
        return [process for process in monitor.children(recursive=True) if process.is_running()]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """The three services, the API with two workers under `otel-forge watch`; all intervals are short."""
    mailbox = Mailbox()
    with (
        OtlpReceiver() as otlp,
        receivers.slack() as slack,
        receivers.pagerduty() as pagerduty,
        listening(mailbox) as smtp_port,
    ):
        demo = DemoCommand(
            tmp_path_factory.mktemp("handbook"),
            **QUICK,
            **ALWAYS_HIGH,
            OTEL_FORGE_ALERTS_SLACK_URL=slack.url,
            OTEL_FORGE_ALERTS_PAGERDUTY_URL=pagerduty.url,
            OTEL_FORGE_ALERTS_PAGERDUTY_KEY=ROUTING_KEY,
            OTEL_FORGE_ALERTS_SMTP_URL=f"smtp://127.0.0.1:{smtp_port}",
            OTEL_FORGE_ALERTS_EMAIL_TO="ops@example.com",
        )
        demo.start("run", "--no-traffic", "--workers", "2", "--endpoint", otlp.url)
        until(lambda: demo.state.read_status().get("services"))
        yield Example(demo, otlp, slack, pagerduty, mailbox)
        demo.close()


def test_notifications(example: Example) -> None:
    """Slack, PagerDuty and e-mail are told when an alert begins, and when it is over; nobody restarts for it."""
    before = {process.pid for process in example.processes()}
    example.break_image_server(error_rate=1.0)
    until(lambda: _told(example) == {"slack": ["FIRING"], "pagerduty": ["trigger"], "mail": ["FIRING"]}, 30)
    example.break_image_server()
    both = {"slack": ["FIRING", "RESOLVED"], "pagerduty": ["trigger", "resolve"], "mail": ["FIRING", "RESOLVED"]}
    until(lambda: _told(example) == both, 30)
    assert example.slack.received.problems == example.pagerduty.received.problems == []
    assert {process.pid for process in example.processes()} == before
    assert not example.logged("otel_forge.restart")


def _told(example: Example) -> dict[str, list[str]]:
    """Return what each was told of the image server."""
    slack = [message["blocks"][0]["text"]["text"] for message in example.slack.received.taken]
    events = example.pagerduty.received.taken
    keys = {event["dedup_key"] for event in events if IMAGE_SERVER_DOWN in str(event.get("payload"))}
    subjects = [str(message["Subject"]) for _, _, message in example.mailbox.mails]
    return {
        "slack": [text.split()[1] for text in slack if IMAGE_SERVER_DOWN in text],
        "pagerduty": [event["event_action"] for event in events if event["dedup_key"] in keys],
        "mail": [subject.split()[1] for subject in subjects if IMAGE_SERVER_DOWN in subject],
    }


def test_health_endpoint(example: Example) -> None:
    """Status, timestamp, uptime, memory and services; degraded and 503 unless all are there, but ready for requests."""
    report = example.health(200).json()
    assert (set(report), report["status"]) == ({"status", "timestamp", "uptime", "memory", "services"}, "healthy")
    assert set(report["memory"]) == {"used", "total", "rss"}
    assert {"meshy", "openai", "database", "imageServer"} <= set(report["services"])
    assert all(report["services"].values())
    example.break_image_server(error_rate=1.0)
    degraded = example.health(503).json()
    assert (degraded["status"], degraded["services"]["imageServer"]) == ("degraded", False)
    assert [example.ask(path).status_code for path in ("/live", "/ready")] == [200, 200]
    example.break_image_server()
    example.health(200)


def test_request_logging(example: Example) -> None:
    """One event with method, route, status, duration, client and program; counted by the standard histogram."""
    example.ask("/api/assets/7", headers={"User-Agent": "curl/8.5.0"})
    wanted = {"http.request.method": "GET", "http.route": "/api/assets/<int:id>", "http.response.status_code": 200}
    example.otlp.wait_for(
        lambda _: [has for has in example.logged("otel_forge.request") if wanted.items() <= has.items()]
    )
    [line] = [has for has in example.logged("otel_forge.request") if wanted.items() <= has.items()]
    assert 0 < line["http.server.request.duration"] < 10
    assert (line["client.address"], line["otel_forge.user_agent.class"]) == ("127.0.0.0", "tool")
    assert line["otel_forge.db.count"] == 1
    assert "/api/health" not in {has.get("http.route") for has in example.logged("otel_forge.request")}
    [point] = example.measured("http.server.request.duration", http__route="/api/assets/<int:id>")
    assert point.count == 1


def test_rate_limiting(example: Example) -> None:
    """Who exceeds the limit gets 429 and JSON, and there are a warning and a metric by route."""
    prompt = {"prompt": "a lamp by the sea"}
    enough = 2 * 3 + 1  # as each of the two workers counts to three
    answers = [example.ask("/api/generate", "POST", json=prompt) for _ in range(enough)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused and refused[0].json()["status"] == 429
    assert int(refused[0].headers["Retry-After"]) > 0
    assert example.measured("otel_forge.rate_limit.decisions", decision="exceeded", http__route="/api/generate")
    example.otlp.wait_for(lambda _: example.warned("/api/generate"))
    assert not example.warned("127.0.0.1"), "the address is hashed"


def test_metrics_collector(example: Example) -> None:
    """What `record` is given in milliseconds is a histogram in seconds, counts are counters, tags are attributes."""
    example.ask("/api/assets/3")
    [loaded] = example.measured("asset_load_time", asset_type="prop")
    assert 0 < loaded.sum < 1
    [asked] = example.measured("api_request_count", endpoint="meshy")
    assert asked.as_int >= 1


def test_function_tracking(example: Example) -> None:
    """A duration for each call, an error count by type and the exception passed on; more than a second is a warning."""
    assert example.ask("/api/slow?ms=1100").status_code == 200
    assert example.ask("/api/error").status_code == 500
    [slow] = example.measured("otel_forge.function.duration", code__function__name="slow_answer")
    assert slow.sum > 1.1
    example.otlp.wait_for(lambda _: example.warned("slow_answer took 1"))
    failed = {"code__function__name": "asset_forge.api.check_stock", "error__type": "asset_forge.api.InventoryMismatch"}
    [errors] = example.measured("otel_forge.function.errors", **failed)
    assert errors.as_int == 1
    assert example.measured("otel_forge.function.duration", **failed)


def test_alert_rules(example: Example) -> None:
    """The three of the handbook and the example's own are evaluated; more than 5 % of errors fire the first."""
    for _ in range(30):
        example.ask("/api/error")
    until(lambda: _rules(example).get("High Error Rate") == "high firing")
    rules = _rules(example)
    assert list(rules) == ["High Error Rate", "Low Memory", "API Down", IMAGE_SERVER_DOWN]
    assert [words.split()[0] for words in rules.values()] == ["high", "medium", "critical", "high"]


def _rules(example: Example) -> dict[str, str]:
    """Return severity and state of each rule, as the command line shows them."""
    environ = {**clean_environ(), "OTEL_FORGE_STATE_DIR": str(example.demo.state.folder.parent)}
    command = [str(BIN / "otel-forge"), "alerts", "list"]
    shown = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True).stdout
    rows = [re.split(r"  +", line) for line in shown.splitlines()[1:]]
    return {rule: f"{severity} {state}" for _, rule, severity, state, *_ in rows}


def test_system_health_monitor(example: Example) -> None:
    """CPU, memory and disk above their limits are warnings; an API that does not answer any more is restarted."""
    assert {getattr(Settings.from_env({}).watch, name) for name in ("cpu", "memory", "disk")} == {80}

    def high() -> set[str]:
        example.ask("/api/export")  # so that the CPU has something to do
        return {has["otel_forge.watch.resource"] for has in example.logged("otel_forge.watch.threshold")}

    until(lambda: high() == {"cpu", "memory", "disk"})
    master, *workers = example.processes()
    for worker in workers:
        os.kill(worker.pid, signal.SIGSTOP)
    until(lambda: example.logged("otel_forge.restart"))
    until(lambda: _answers(example))
    [restart] = example.logged("otel_forge.restart")[:1]
    assert restart["otel_forge.watch.reason"] in ("heartbeat_lost", "unresponsive")


def _answers(example: Example) -> bool:
    try:
        return example.ask("/live").status_code == 200
    except requests.RequestException:
        return False
