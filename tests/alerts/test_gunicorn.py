"""Four workers of one service: people hear once that it fails and once that it is well, whatever becomes of workers."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.alerts import receivers
from tests.alerts.receivers import Receiver
from tests.delivery.scripted import eventually
from tests.otlp_receiver import free_port
from tests.programs import Program, Programs, get

pytestmark = pytest.mark.gate

APP = """
    import os
    from flask import Flask
    from otel_forge import alerts

    app = Flask("shop")
    alerts.add(alerts.high_error_rate(window=4, minimum=10))

    @app.get("/<int:status>")
    def answer(status):
        return str(os.getpid()), status
"""
FIRING, RESOLVED = ":red_circle: FIRING High Error Rate (high)", ":large_green_circle: RESOLVED High Error Rate (high)"


@dataclass
class Shop:
    """The running server and whom it tells."""

    server: Program
    port: int
    slack: Receiver
    state: Path

    def ask(self, number: int, status: int) -> set[int]:
        """Send so many requests that are answered by `status`; return which processes answered."""
        pids = set()
        for _ in range(number):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            connection.request("GET", f"/{status}", headers={"Connection": "close"})
            pids.add(int(connection.getresponse().read()))
            connection.close()
        return pids

    def told(self) -> list[str]:
        """Return what Slack was told."""
        return [message["blocks"][0]["text"]["text"] for message in self.slack.received.taken]

    def remembered(self) -> dict[str, Any]:
        """Return what the process that leads has written; nothing if that cannot be read yet."""
        try:
            [file] = self.state.glob("alerts/*/rules.json")
            found: dict[str, Any] = json.loads(file.read_text())
        except ValueError:
            return {}
        return found

    def leader(self) -> int:
        """Return which process leads; 0 if that is not known."""
        return int(self.remembered().get("pid", 0))

    def owes(self) -> bool:
        """Return whether somebody has still to be told."""
        return any(rule["owed"] for rule in self.remembered()["rules"].values())


@pytest.fixture(params=["at import", "preloaded"])
def shop(request: pytest.FixtureRequest, programs: Programs, tmp_path: Path) -> Iterator[Shop]:
    """The app with four workers, which evaluate their rules every half second."""
    programs.write("shop.py", APP)
    port, state = free_port(), tmp_path / "state"
    preload = ["--preload"] if request.param == "preloaded" else []
    with receivers.slack() as slack:
        server = programs.instrumented(
            "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers=4", "--no-control-socket", *preload, "shop:app",
            OTEL_SERVICE_NAME="shop", OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="none",
            OTEL_LOGS_EXPORTER="none", OTEL_FORGE_ALERTS_INTERVAL="0.5",
            OTEL_FORGE_ALERTS_SLACK_URL=slack.url, OTEL_FORGE_STATE_DIR=str(state), PYTHONPATH=str(Path.cwd()),
        )  # fmt: skip
        assert get(f"http://127.0.0.1:{port}/200")[0] == 200
        yield Shop(server, port, slack, state)


def test_four_workers_tell_people_once(shop: Shop) -> None:
    """A5, A4: one message when it fires and one when it is over, though the worker that leads is killed in between."""
    answered: set[int] = set()

    def all_workers_have_failed() -> bool:
        answered.update(shop.ask(10, 500))
        return len(answered) == 4

    eventually(all_workers_have_failed, timeout=30)
    shop.slack.wait_for(1)
    eventually(lambda: not shop.owes())  # who is killed before that is noted has people told twice rather than never
    leader = shop.leader()
    assert leader in answered
    os.kill(leader, signal.SIGKILL)

    def another_leads() -> bool:
        shop.ask(1, 200)
        return shop.leader() not in (0, leader)

    eventually(another_leads, timeout=30)
    shop.slack.wait_for(2, timeout=30)
    seen = shop.leader()
    shop.server.terminate()
    shop.server.wait()
    assert seen != leader
    assert shop.told() == [FIRING, RESOLVED]
    assert shop.slack.received.problems == []
    assert "Traceback" not in shop.server.err
