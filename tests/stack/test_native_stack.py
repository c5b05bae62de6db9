"""The native stack with its real servers: it comes up, takes all three signals, keeps them over kills, and goes.

One stack serves the whole module, and the tests run in their order: each leaves it running for the next.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from otel_forge.stack.engines import engine_at_hand
from otel_forge.stack.ports import PORTS, is_free
from otel_forge.stack.settings import StackSettings
from otel_forge.stack.state import ProcessIdentity, StateFolder
from tests.conftest import missing
from tests.stack.bench import PROJECT, free_port, wait_for

SERVERS = ("alertmanager", "prometheus", "loki", "tempo", "collector")
SERVICE = "stack-test"


class NativeStack:
    """`otel-forge` with free ports and a state folder of its own."""

    def __init__(self, home: Path) -> None:
        self.environ = {
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "OTEL_FORGE_STATE_DIR": str(home / "state"),
            **{port.setting: str(free_port()) for port in PORTS},
        }
        self.folder = StateFolder(home / "state")
        self.trace_id = secrets.token_hex(16)

    def forge(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command."""
        return subprocess.run(
            [sys.executable, "-m", "otel_forge.cli", *arguments],
            env=self.environ,
            cwd=self.folder.path.parent,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def url(self, key: str, path: str) -> str:
        """Return an address of one of the servers."""
        return f"http://127.0.0.1:{self.environ['OTEL_FORGE_PORT_' + key]}{path}"

    def get(self, key: str, path: str, **query: str) -> Any:
        """Return what a server answers to a query, or None while it does not."""
        answer = requests.get(self.url(key, path), params=query, timeout=10)
        return answer.json() if answer.ok else None

    def pids(self) -> dict[str, int]:
        """Return the process of each component by `otel-forge status`."""
        found = json.loads(self.forge("status", "--json").stdout)
        return {component["name"]: component["pid"] for component in found["components"]}

    def send(self) -> None:
        """Send one span, one log line of that span and one counter to the Collector, as an SDK does."""
        now = time.time_ns()
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": SERVICE}}]}
        span: dict[str, Any] = {
            "traceId": self.trace_id,
            "spanId": secrets.token_hex(8),
            "name": "GET /assets",
            "kind": 2,
            "startTimeUnixNano": str(now - 10_000_000),
            "endTimeUnixNano": str(now),
        }
        line: dict[str, Any] = {
            "timeUnixNano": str(now),
            "severityText": "INFO",
            "body": {"stringValue": "a line of the test"},
        }
        line = {**line, "traceId": self.trace_id, "spanId": span["spanId"]}
        point = {"asInt": "42", "startTimeUnixNano": str(now - 10**9), "timeUnixNano": str(now)}
        counter = {"name": "assets.made", "sum": {"dataPoints": [point], "aggregationTemporality": 2}}
        counter["sum"]["isMonotonic"] = True  # type: ignore[index]
        bodies: dict[str, dict[str, Any]] = {
            "traces": {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]},
            "logs": {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [line]}]}]},
            "metrics": {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [counter]}]}]},
        }
        for signal_name, body in bodies.items():
            answer = requests.post(self.url("OTLP_HTTP", f"/v1/{signal_name}"), json=body, timeout=10)
            assert answer.status_code == 200, answer.text

    def counter(self) -> list[str]:
        """Return the values that Prometheus has of the counter."""
        found = self.get(
            "PROMETHEUS", "/api/v1/query", query=f'last_over_time(assets_made_total{{job="{SERVICE}"}}[1h])'
        )
        return [series["value"][1] for series in found["data"]["result"]] if found else []

    def lines(self) -> list[str]:
        """Return the lines that Loki has of the trace."""
        query = f'{{service_name="{SERVICE}"}} | trace_id="{self.trace_id}"'
        found = self.get("LOKI", "/loki/api/v1/query_range", query=query, since="1h")
        streams = found["data"]["result"] if found else []
        return [value[1] for stream in streams for value in stream["values"]]

    def has_trace(self) -> bool:
        """Tell whether Tempo finds the trace by its id."""
        return self.get("TEMPO", f"/api/traces/{self.trace_id}") is not None

    def await_data(self) -> None:
        """Wait until each store answers with what was sent."""
        questions: list[Callable[[], object]] = [
            lambda: self.counter() == ["42"],
            lambda: self.lines() == ["a line of the test"],
            self.has_trace,
        ]
        for question in questions:
            wait_for(_patient(question), timeout=60)


def _patient(question: Callable[[], object]) -> Callable[[], object]:
    """Return the question with "no answer yet" for a server that is coming up."""

    def ask() -> object:
        try:
            return question()
        except requests.ConnectionError:
            return None

    return ask


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeStack]:
    """A running native stack of the real servers."""
    cache = StackSettings.from_env(os.environ).cache_dir
    for name in SERVERS:
        if engine_at_hand(name, cache=cache, environ=os.environ) is None:
            missing(f"{name} (python -m otel_forge.stack.engines build {name})")
    made = NativeStack(tmp_path_factory.mktemp("native"))
    try:
        started = made.forge("up", "--engine", "native", "--timeout", "120")
        assert started.returncode == 0, started.stderr
        yield made
    finally:
        made.forge("down")


def test_all_servers_answer(stack: NativeStack) -> None:
    """`status` asks each of them."""
    shown = stack.forge("status")
    assert shown.returncode == 0, shown.stdout
    assert sorted(stack.pids()) == sorted([*SERVERS, *(["grafana"] if "grafana" in stack.pids() else [])])


def test_all_ports_are_open_on_loopback_only(stack: NativeStack) -> None:
    """No server of ours listens anywhere else."""
    ours = set(stack.pids().values())
    listening = [c for c in psutil.net_connections(kind="tcp") if c.status == psutil.CONN_LISTEN and c.pid in ours]
    assert listening
    assert {c.laddr.ip for c in listening if c.laddr} <= {"127.0.0.1", "::1"}


def test_the_three_signals_reach_their_stores(stack: NativeStack) -> None:
    """Through the Collector, read back by the stores' own interfaces."""
    stack.send()
    stack.await_data()


def test_restarting_tempo_after_a_query_keeps_traces_and_the_other_servers(stack: NativeStack) -> None:
    """It hangs on SIGTERM then, so it ends by SIGKILL: its write-ahead log must bring everything back."""
    before = stack.pids()
    restarted = stack.forge("restart", "tempo")
    assert restarted.returncode == 0, restarted.stderr
    after = stack.pids()
    assert {name for name in before if before[name] != after[name]} == {"tempo"}
    stack.await_data()


def test_a_server_that_is_killed_comes_back_with_its_data(stack: NativeStack) -> None:
    """Within seconds, and the restart is counted."""
    victim = stack.pids()["prometheus"]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: stack.pids().get("prometheus") not in (victim, None) and stack.forge("status").returncode == 0, 60)
    state = stack.folder.read()
    assert state is not None and state.components["prometheus"].restarts == 1
    stack.await_data()


def test_kill_9_of_the_supervisor_leaves_nothing_and_the_next_up_brings_all_back(stack: NativeStack) -> None:
    """No orphan after 2 s, no stuck state, no lost data."""
    servers = [ProcessIdentity.of(pid) for pid in stack.pids().values()]
    owner = stack.folder.owner()
    assert owner is not None
    os.kill(owner.pid, signal.SIGKILL)
    if sys.platform == "linux":
        wait_for(lambda: not any(server.is_alive() for server in servers), timeout=2)
    assert stack.forge("status").returncode == 3
    started = stack.forge("up", "--engine", "native")
    assert started.returncode == 0, started.stderr
    assert not any(server.is_alive() for server in servers)
    stack.await_data()


def test_no_server_logs_a_deprecation(stack: NativeStack) -> None:
    """A word that today is a warning is an error next year."""
    told = [line for line in stack.forge("logs", "-n", "5000").stdout.splitlines() if "deprecated" in line.lower()]
    assert told == []


def test_prometheus_has_no_error_to_tell_while_all_is_well(stack: NativeStack) -> None:
    """It has scraped twice, so it has read its target files more than once as well."""
    scraped = 'min(count_over_time(up{job="prometheus"}[1m]))'

    def scrapes() -> int:
        found = stack.get("PROMETHEUS", "/api/v1/query", query=scraped)
        return max((int(series["value"][1]) for series in found["data"]["result"]), default=0) if found else 0

    wait_for(lambda: scrapes() >= 2, timeout=60)
    assert stack.forge("logs", "prometheus", "--errors", "-n", "5000").stdout == ""


def test_down_frees_every_port_and_leaves_no_process(stack: NativeStack) -> None:
    """And takes no longer than the graces allow."""
    servers = [ProcessIdentity.of(pid) for pid in stack.pids().values()]
    begun = time.monotonic()
    done = stack.forge("down")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun < 30
    assert not any(server.is_alive() for server in servers)
    assert [port.key for port in PORTS if not is_free(int(stack.environ[port.setting]))] == []
