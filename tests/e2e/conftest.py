"""One native stack and two instrumented applications for all e2e tests, on ports of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from asset_forge.demo.services import Ports, Telemetry, command, demo_services, environment
from asset_forge.demo.state import DemoState
from asset_forge.traffic import TARGETS, Ledger, Traffic, TrafficSettings

from otel_forge.stack.ports import PORTS
from tests.e2e.stores import Stores, eventually
from tests.otlp_receiver import free_port
from tests.programs import BIN, clean_environ


@dataclass
class Stack:
    """The running back end, and how to command it."""

    environ: Mapping[str, str]
    stores: Stores
    state: Path

    def forge(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``otel-forge …`` for this stack; fails the test when the command does."""
        done = subprocess.run(
            [str(BIN / "otel-forge"), *arguments], env=self.environ, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"otel-forge {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    def pid(self, component: str) -> int:
        """Return the process of a component; 0 while it has none."""
        command = [str(BIN / "otel-forge"), "status", "--json"]
        status = json.loads(subprocess.run(command, env=self.environ, capture_output=True, timeout=60).stdout)
        (pid,) = [found["pid"] for found in status["components"] if found["name"] == component]
        return int(pid or 0)

    def kill(self, component: str) -> None:
        """End a component's process with SIGKILL; return when the supervisor has started another."""
        killed = self.pid(component)
        os.kill(killed, signal.SIGKILL)
        assert eventually(lambda: self.pid(component), until=lambda pid: pid not in (0, killed)) != killed

    def silence(self, component: str, *, seconds: float) -> None:
        """Stop a component's process for a while: its ports take connections, and nothing answers."""
        pid = self.pid(component)
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)  # the length of the outage is what is tested
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="session")
def stack(native_engines: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The native stack on free ports, in a state folder of its own."""
    ports = {port.setting: str(free_port()) for port in PORTS}
    state = tmp_path_factory.mktemp("stack")
    environ = {**clean_environ(), **ports, "OTEL_FORGE_STATE_DIR": str(state)}
    running = Stack(environ, _stores(ports), state)
    running.forge("up", "--engine", "native")
    yield running
    running.forge("down", "--data", "--yes")


def _stores(ports: Mapping[str, str]) -> Stores:
    def url(key: str) -> str:
        return f"http://127.0.0.1:{ports[f'OTEL_FORGE_PORT_{key}']}"

    return Stores(otlp=url("OTLP_HTTP"), prometheus=url("PROMETHEUS"), loki=url("LOKI"), tempo=url("TEMPO"))


@dataclass
class Apps:
    """Asset Forge and httpbin under opentelemetry-instrument, and the ledger of all that was sent to each."""

    urls: Mapping[str, str]
    started: float
    responses: dict[str, Counter[tuple[str, str | None, int]]] = field(default_factory=dict)

    def send(self, target: str, requests: int, *, seed: int, rate: float = 0.0, faults: bool = False) -> Ledger:
        """Send an exact number of requests to one application and remember what was answered."""
        control = {name: self.urls[name] for name in ("image-server", "ai-upstream")} if faults else {}
        ledger = Traffic(
            TrafficSettings(
                target=TARGETS[target],
                base_url=self.urls[target],
                seed=seed,
                rate=rate,
                requests=requests,
                duration_s=None,
                timeout_s=30,
                fault_phases=faults,
                control=control,
            )
        ).run()
        self.responses.setdefault(target, Counter()).update(ledger.responses())
        return ledger


@pytest.fixture(scope="session")
def apps(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apps]:
    """The demo's three services and httpbin, each under gunicorn, with no change of their code.

    The image server records through the upstream pipeline, all others through the lean one: both have to count
    exactly, and traces cross from one to the other.
    """
    folder = tmp_path_factory.mktemp("apps")
    ports = Ports(api=free_port(), image_server=free_port(), ai_upstream=free_port())
    httpbin_port = free_port()
    state, telemetry = DemoState(folder / "demo"), Telemetry(endpoint=stack.stores.otlp)
    own = {"OTEL_FORGE_SPOOL_DIR": str(folder / "spool"), "OTEL_FORGE_STATE_DIR": str(folder / "state")}
    outside = {**clean_environ(), **own}  # nothing of another run is taken over
    (folder / "demo/logs").mkdir(parents=True)
    started, running, urls = time.time(), [], {"httpbin": f"http://127.0.0.1:{httpbin_port}"}
    for service in demo_services(ports, state):
        environ = environment(service, telemetry, outside)
        environ["OTEL_FORGE_PIPELINE"] = "upstream" if service.name == "image-server" else "lean"
        running.append(_start(command(service, telemetry, state), environ, folder / f"{service.name}.log"))
        urls[service.name] = service.url
    environ = {
        **outside,
        "OTEL_SERVICE_NAME": "httpbin",
        "OTEL_FORGE_PIPELINE": "lean",
        "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=otel-forge-demo,deployment.environment.name=development",
        "OTEL_EXPORTER_OTLP_ENDPOINT": stack.stores.otlp,
    }
    gunicorn = [str(BIN / "opentelemetry-instrument"), str(BIN / "gunicorn"), "httpbin:app"]
    options = ["--bind", f"127.0.0.1:{httpbin_port}", "--workers", "4", "--worker-class", "gthread", "--threads", "4"]
    running.append(_start([*gunicorn, *options, "--no-control-socket"], environ, folder / "httpbin.log"))
    try:
        for url in urls.values():
            _wait_until_listening(int(url.rsplit(":", 1)[1]))
        yield Apps(urls, started)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(20)


def _start(arguments: list[str], environ: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(arguments, env=environ, cwd=log.parent, stdout=output, stderr=output)


def _wait_until_listening(port: int, within: float = 60) -> None:
    """Wait for a connection to succeed; no request is sent, so none is counted."""
    deadline = time.monotonic() + within
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on {port}"
            time.sleep(0.1)
