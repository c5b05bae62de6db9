"""The demo as a whole: real processes, plain, on ports of their own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest
from asset_forge.demo.services import RATE_LIMIT, Ports, Telemetry, command, demo_services, environment
from asset_forge.demo.state import DemoState
from asset_forge.traffic import Ledger, Request
from flask import Flask

from tests.examples.conftest import EXAMPLE, free_ports, until
from tests.examples.test_traffic_plan import matched_rule

ACCESS_LINE = re.compile(r'^\[[^]]*\] "(\S+) (.*)" (\d{3}) \d+ [\d.]+$')


class DemoCommand:
    """Runs ``python -m asset_forge.demo`` with a state folder and ports of its own."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.state = DemoState(folder / "state" / "demo")
        self.ports = Ports(*free_ports(3))
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "OTEL_FORGE_STATE_DIR": str(folder / "state"),
            "PORT": str(self.ports.api),
            "IMAGE_SERVER_PORT": str(self.ports.image_server),
            "AI_UPSTREAM_PORT": str(self.ports.ai_upstream),
            **environ,
        }
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command."""
        command = [sys.executable, "-m", "asset_forge.demo", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        process = subprocess.Popen(command, cwd=EXAMPLE, env=self._environ, **pipes)  # type: ignore[call-overload]
        self._running.append(process)
        return process  # type: ignore[no-any-return]

    def finish(self, *arguments: str) -> tuple[int, str]:
        """Run the command to its end; returns exit code and output."""
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=120)
        return process.returncode, said

    def wait_for_traffic(self) -> Mapping[str, int]:
        """Wait until requests were sent; returns the process ids of the services."""
        until(lambda: self.state.read_status().get("sent", 0) > 3)
        services: dict[str, int] = self.state.read_status()["services"]
        return services

    def close(self) -> None:
        """End what still runs."""
        for process in self._running:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=60)
        if self.state.running_pid():
            self.finish("stop")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[DemoCommand]:
    """The demo command, with nothing left running afterwards."""
    command = DemoCommand(tmp_path)
    yield command
    command.close()


def accesses(state: DemoState, app: Flask) -> dict[tuple[str, str | None, int], int]:
    """Count the access log of the API by method, route and status; health probes are no traffic."""
    seen: Counter[tuple[str, str | None, int]] = Counter()
    for line in state.access_log("asset-forge").read_text().splitlines():
        found = ACCESS_LINE.match(line)
        assert found, line
        method, path, status = found.groups()
        if path == "/live":
            continue
        seen[method, matched_rule(app, Request(method, path, None)), int(status)] += 1
    return dict(seen)


def listens(port: int) -> bool:
    """Tell whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_whole_demo_sends_exactly_what_the_api_got(demo: DemoCommand, api: Flask, tmp_path: Path) -> None:
    """300 requests through four processes, faults included: ledger and access log agree line by line."""
    file = tmp_path / "ledger.json"
    given = ("run", "--no-telemetry", "--requests", "300", "--rate", "0", "--ledger", str(file))
    code, said = demo.finish(*given)
    assert code == 0, said
    ledger = Ledger.read(file)
    assert ledger.tally().sent == 300
    assert ledger.tally().responses == ledger.tally().sent
    assert ledger.responses() == accesses(demo.state, api)
    assert Ledger.read(demo.state.ledger).entries() == ledger.entries()
    assert f"http://127.0.0.1:{demo.ports.api}/" in said
    assert not any(map(listens, (demo.ports.api, demo.ports.image_server, demo.ports.ai_upstream)))


def test_start_returns_with_traffic_flowing_and_stop_ends_it(demo: DemoCommand) -> None:
    """Detached: start prints the addresses, status shows progress, stop leaves nothing behind."""
    assert demo.finish("status") == (1, "The demo is not running.\n")
    code, said = demo.finish("start", "--detach", "--no-telemetry", "--rate", "20")
    assert code == 0, said
    assert f"page          http://127.0.0.1:{demo.ports.api}/" in said
    assert "1800 s" in said
    services = demo.wait_for_traffic()
    code, said = demo.finish("status")
    assert code == 0
    assert re.search(r"in all: sent \d+", said)
    code, said = demo.finish("start", "--detach", "--no-telemetry")
    assert code == 1
    assert "is running already" in said
    assert demo.finish("stop") == (0, "The demo has stopped.\n")
    assert not any(psutil.pid_exists(pid) for pid in services.values())
    assert Ledger.read(demo.state.ledger).tally().unknown == 0
    assert demo.finish("stop") == (0, "The demo is not running.\n")


def test_ctrl_c_ends_everything_in_order(demo: DemoCommand, api: Flask) -> None:
    """SIGINT finishes the requests under way, writes the ledger, and stops every process."""
    process = demo.start("run", "--no-telemetry", "--rate", "40", "--no-fault-phases")
    demo.wait_for_traffic()
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    ledger = Ledger.read(demo.state.ledger)
    assert ledger.tally().responses == ledger.tally().sent
    assert ledger.responses() == accesses(demo.state, api)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_no_service_outlives_a_killed_demo(demo: DemoCommand) -> None:
    """After kill -9 of the demo every service and the monitor end, ports are free, and a new demo can start."""
    process = demo.start("run", "--no-telemetry", "--rate", "20")
    services = demo.wait_for_traffic()
    family = [psutil.Process(pid) for pid in services.values()]
    family += [worker for parent in family for worker in parent.children(recursive=True)]
    assert len(family) == 2 * 2 + 1 + 1 + 4  # two upstream services, the monitor, what it watches, four workers
    process.kill()
    process.wait()
    until(lambda: not any(member.is_running() for member in family), 20)
    assert demo.finish("status")[0] == 1
    assert demo.finish("run", "--no-telemetry", "--requests", "5", "--rate", "0")[0] == 0


def test_a_service_that_dies_ends_the_demo_with_a_reason(demo: DemoCommand) -> None:
    """Nothing goes on half alive, and the message says which service it was."""
    process = demo.start("run", "--no-telemetry", "--rate", "20")
    os.kill(demo.wait_for_traffic()["ai-upstream"], signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The AI upstream ended" in said


def test_a_taken_port_is_named_with_its_holder_and_the_option(demo: DemoCommand) -> None:
    """Nothing is started when a port is taken, and the message says what to do."""
    with socket.create_server(("127.0.0.1", demo.ports.image_server)):
        code, said = demo.finish("run", "--no-telemetry", "--requests", "5")
    assert code == 1
    assert f"Port {demo.ports.image_server} for the image server is taken by process {os.getpid()} " in said
    assert "--image-server-port" in said
    assert "Starting the" not in said


def test_services_are_named_for_telemetry_as_the_dashboards_expect(tmp_path: Path) -> None:
    """Each service has its name and namespace; the user's own attributes and endpoint stay in force."""
    services = demo_services(Ports(), DemoState(tmp_path))
    user = {"OTEL_RESOURCE_ATTRIBUTES": "team=forge", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    made = {service.name: environment(service, Telemetry(scrape=True), user) for service in services}
    assert {name: environ["OTEL_SERVICE_NAME"] for name, environ in made.items()} == {
        "asset-forge": "asset-forge",
        "image-server": "image-server",
        "ai-upstream": "ai-upstream",
    }
    assert made["asset-forge"]["OTEL_RESOURCE_ATTRIBUTES"] == (
        "service.namespace=otel-forge-demo,deployment.environment.name=development,team=forge"
    )
    assert made["asset-forge"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:9"
    assert {name for name, environ in made.items() if "OTEL_METRICS_EXPORTER" in environ} == {"asset-forge"}
    plain = environment(services[0], Telemetry(enabled=False), {})
    assert not any(name.startswith("OTEL_") for name in plain)


@pytest.mark.parametrize(
    ("telemetry", "watch_api", "launchers"),
    [
        (True, True, ["opentelemetry-instrument", "opentelemetry-instrument", "otel-forge"]),
        (True, False, ["opentelemetry-instrument"] * 3),
        (False, True, ["gunicorn", "gunicorn", "otel-forge"]),
        (False, False, ["gunicorn"] * 3),
    ],
)
def test_the_monitor_looks_after_the_api_unless_told_not(
    tmp_path: Path, telemetry: bool, watch_api: bool, launchers: list[str]
) -> None:
    """It asks for life where the API answers that; plain, it turns no telemetry on, of the API's or its own."""
    state = DemoState(tmp_path)
    services = demo_services(Ports(), state, watch_api=watch_api)
    commands = [command(service, Telemetry(enabled=telemetry), state) for service in services]
    assert [Path(made[0]).name for made in commands] == launchers
    options = commands[-1][1 : commands[-1].index("--")] if watch_api else []
    plain = [] if telemetry else ["--plain", "--no-telemetry"]
    watched = ["watch", "--live-url", "http://127.0.0.1:3004/live", "--grace", "10", *plain]
    assert options == (watched if watch_api else [])


def test_the_demo_limits_no_traffic_of_its_own_unless_told(tmp_path: Path) -> None:
    """All its requests come from one address; who wants to see the limit at work sets it."""
    api = demo_services(Ports(), DemoState(tmp_path))[-1]
    assert environment(api, Telemetry(), {})["RATE_LIMIT"] == RATE_LIMIT
    assert environment(api, Telemetry(), {"RATE_LIMIT": "5 per minute"})["RATE_LIMIT"] == "5 per minute"
