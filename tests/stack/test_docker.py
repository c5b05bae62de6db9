"""The engine `docker`: what it asks of docker compose, and what it says when there is no Docker."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from otel_forge.errors import PortTaken, StackError
from otel_forge.stack import ports
from otel_forge.stack.backend import addresses
from otel_forge.stack.choice import choose, last_engine
from otel_forge.stack.components import NAMES
from otel_forge.stack.docker import DockerBackend, _rows, why_not
from otel_forge.stack.settings import StackSettings
from tests.conftest import require_tool
from tests.stack.bench import free_port

FAKE = Path(__file__).resolve().parents[1] / "cli" / "fake_docker.py"
COMPOSE_FILE = str(Path(__file__).resolve().parents[2] / "docker-compose.yml")
PROJECT = ["compose", "-p", "otel-forge", "-f", COMPOSE_FILE]


class FakeDocker:
    """A recording `docker` on PATH."""

    def __init__(self, home: Path) -> None:
        self.home = home
        folder = home / "bin"
        folder.mkdir()
        program = folder / "docker"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -ES "{FAKE}" "$@"\n')
        program.chmod(0o755)
        self.environ = {
            "PATH": str(folder) + os.pathsep + "/usr/bin:/bin",
            "FAKE_DOCKER_HOME": str(home),
            "OTEL_FORGE_STATE_DIR": str(home / "state"),
            **{port.setting: str(free_port()) for port in ports.PORTS},
        }

    def backend(self, **environ: str) -> DockerBackend:
        """Return the backend for these settings."""
        self.environ.update(environ)
        return DockerBackend(StackSettings.from_env(self.environ), self.environ)

    def calls(self) -> list[dict[str, Any]]:
        """Return every call so far, but for those that ask whether Docker is there."""
        lines = (self.home / "calls").read_text().splitlines()
        return [call for call in map(json.loads, lines) if "version" not in call["arguments"][:2]]

    def commands(self) -> list[list[str]]:
        """Return what compose was asked to do, `ps` left out."""
        asked = [call["arguments"] for call in self.calls()]
        assert all(arguments[:5] == PROJECT for arguments in asked)
        return [arguments[5:] for arguments in asked if arguments[5] != "ps"]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    """A Docker that seems to work; found by subprocess through the real PATH as well."""
    made = FakeDocker(tmp_path)
    monkeypatch.setenv("PATH", made.environ["PATH"])
    return made


def test_up_starts_detached_and_waits_for_health(docker: FakeDocker) -> None:
    """The project's name and file are always given; compose keeps the deadline."""
    status = docker.backend().up(timeout=90)
    assert docker.commands() == [["up", "--detach", "--wait", "--wait-timeout", "90"]]
    assert status.status == "running"
    assert not status.already_running
    assert len(status.components) == 6
    assert "Grafana" in status.addresses


def test_compose_gets_ports_password_file_and_lane_by_environment(docker: FakeDocker) -> None:
    """What the compose file leaves open is filled in here."""
    docker.backend(OTEL_FORGE_ALERTING="prometheus", OTEL_FORGE_RETENTION="3d").up(timeout=90)
    environment = next(call["environment"] for call in docker.calls() if call["arguments"][5] == "up")
    assert environment["OTEL_FORGE_PORT_LOKI"] == docker.environ["OTEL_FORGE_PORT_LOKI"]
    assert environment["OTEL_FORGE_ALERTING"] == "prometheus"
    assert environment["OTEL_FORGE_RETENTION"] == "3d"
    assert environment["OTEL_FORGE_RETENTION_SIZE"] == "4GB"
    assert environment["OTEL_FORGE_GRAFANA_UID"] == str(os.getuid())
    password = Path(environment["OTEL_FORGE_STATE_DIR"]) / "grafana" / "admin-password"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert len(password.read_text()) >= 20


def test_a_second_up_says_that_it_was_running(docker: FakeDocker) -> None:
    """Compose itself leaves alone what has not changed."""
    docker.backend().up(timeout=90)
    assert docker.backend().up(timeout=90).already_running


def test_down_keeps_the_volumes_unless_data_is_to_go(docker: FakeDocker) -> None:
    """And a second one finds nothing."""
    docker.backend().up(timeout=90)
    assert docker.backend().down(data=False) is True
    assert docker.backend().down(data=True) is False
    assert docker.commands()[1:] == [["down", "--remove-orphans"], ["down", "--remove-orphans", "--volumes"]]


def test_a_container_without_health_degrades_the_stack(docker: FakeDocker) -> None:
    """It is named."""
    docker.backend().up(timeout=90)
    (docker.home / "sick").touch()
    status = docker.backend().status()
    assert status.status == "degraded"
    assert [(c.name, c.status) for c in status.components if not c.is_ready] == [("loki", "not answering")]


def test_without_containers_the_stack_is_stopped(docker: FakeDocker) -> None:
    """Nothing is started by looking."""
    assert docker.backend().status().status == "stopped"
    assert docker.commands() == []


def test_restart_takes_the_named_services_only(docker: FakeDocker) -> None:
    """And waits until they are healthy again, without touching others."""
    docker.backend().up(timeout=90)
    assert docker.backend().restart(["loki"], timeout=60) == ["loki"]
    assert docker.commands()[1:] == [
        ["restart", "loki"],
        ["up", "--detach", "--no-recreate", "--wait", "--wait-timeout", "60", "loki"],
    ]
    with pytest.raises(StackError, match="nginx is not a component here"):
        docker.backend().restart(["nginx"], timeout=60)


def test_a_restart_refuses_what_compose_would_not_apply(docker: FakeDocker) -> None:
    """`compose restart` keeps the containers as they were made; `up` makes them anew."""
    docker.backend().up(timeout=90)
    with pytest.raises(StackError) as failure:
        docker.backend(OTEL_FORGE_RETENTION="3d", OTEL_FORGE_ALERTING="prometheus").restart([], timeout=60)
    assert "OTEL_FORGE_RETENTION=3d (it runs with 15d), OTEL_FORGE_ALERTING=prometheus (it runs with grafana)" in str(
        failure.value
    )
    assert str(failure.value).endswith("Run `otel-forge up` to change that.")
    assert [command[0] for command in docker.commands()] == ["up"]


def test_logs_are_those_of_compose(docker: FakeDocker) -> None:
    """Errors can be picked out of them."""
    docker.backend().up(timeout=90)
    lines = list(docker.backend().logs(["loki"], lines=20, follow=False, errors=True))
    assert lines == ['loki-1  | level=error msg="no disk"']
    list(docker.backend().logs([], lines=5, follow=True, errors=False))
    assert docker.commands()[1:] == [
        ["logs", "--no-color", "--tail", "20", "--no-log-prefix", "loki"],
        ["logs", "--no-color", "--tail", "5", "--follow"],
    ]


def test_a_failing_up_points_to_what_compose_said(docker: FakeDocker, capfd: pytest.CaptureFixture[str]) -> None:
    """Its own words are on the terminal already; `down` still knows what to stop."""
    (docker.home / "broken").touch()
    with pytest.raises(StackError, match="`docker compose up` failed with exit code 1; what it said is above"):
        docker.backend().up(timeout=90)
    assert "container otel-forge-loki-1 is unhealthy" in capfd.readouterr().err
    assert last_engine(StackSettings.from_env(docker.environ)) == "docker"


def test_a_taken_port_is_told_before_images_are_pulled(docker: FakeDocker) -> None:
    """Docker's own message names no setting."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", int(docker.environ["OTEL_FORGE_PORT_GRAFANA"])))
        holder.listen()
        with pytest.raises(PortTaken, match="OTEL_FORGE_PORT_GRAFANA"):
            docker.backend().up(timeout=90)
    assert docker.commands() == []


def test_ports_that_stay_inside_the_containers_may_be_taken(docker: FakeDocker) -> None:
    """They are not published."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", int(docker.environ["OTEL_FORGE_PORT_LOKI_GRPC"])))
        holder.listen()
        assert docker.backend().up(timeout=90).status == "running"


def test_no_docker_no_daemon_and_no_compose_are_told_apart(docker: FakeDocker) -> None:
    """Each has another remedy."""
    assert why_not(docker.environ) == ""
    (docker.home / "no-compose").touch()
    assert why_not(docker.environ).startswith("`docker compose` is not there (install the compose plugin)")
    (docker.home / "no-daemon").touch()
    assert why_not(docker.environ).startswith("The Docker daemon does not answer: Cannot connect to the Docker daemon")
    assert why_not({"PATH": "/nowhere"}) == "There is no `docker` on PATH."
    with pytest.raises(StackError, match="The engine `docker` cannot be used: .* `--engine native` needs no Docker."):
        docker.backend().up(timeout=90)


def test_the_real_compose_accepts_what_we_fill_in(docker: FakeDocker) -> None:
    """Every port that is told to the user is published there, on loopback, and the password's file is ours."""
    beside = Path(sys.executable).with_name("docker-compose")
    compose = beside if beside.is_file() else require_tool("docker-compose")
    backend = docker.backend()
    command = [str(compose), *backend._command("config", "--format", "json")[2:]]
    shown = subprocess.run(command, env=backend._environment(), capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    model = json.loads(shown.stdout)
    published = {
        f"http://{port['host_ip']}:{port['published']}"
        for service in model["services"].values()
        for port in service.get("ports", [])
    }
    assert set(addresses(backend.settings.ports, NAMES).values()) <= published
    assert model["secrets"]["grafana_admin_password"]["file"] == str(backend.folder.password_file)
    assert {name for name in model["services"] if "ports" in model["services"][name]} == set(NAMES)


def test_both_forms_of_ps_are_read() -> None:
    """Older releases of compose print an array, newer ones an object a line."""
    assert _rows('[{"Service": "loki"}]') == _rows('{"Service": "loki"}\n') == [{"Service": "loki"}]
    assert _rows("") == []
    with pytest.raises(StackError, match="is not JSON"):
        _rows("NAME   STATUS")


def test_auto_takes_docker_where_it_works_and_native_elsewhere(docker: FakeDocker) -> None:
    """And says why when it does not."""
    said: list[str] = []
    settings = StackSettings.from_env(docker.environ)
    assert choose("auto", settings, docker.environ, said.append) == "docker"
    assert said == []
    (docker.home / "no-daemon").touch()
    assert choose("auto", settings, docker.environ, said.append) == "native"
    assert said == ["engine native: the Docker daemon does not answer"]


def test_another_engine_is_refused_while_one_runs(docker: FakeDocker) -> None:
    """Two engines would fight for the ports; auto means the one that runs."""
    docker.backend().up(timeout=90)
    settings = StackSettings.from_env(docker.environ)
    with pytest.raises(StackError, match="running with the engine docker; run `otel-forge down` before"):
        choose("native", settings, docker.environ, lambda _: None)
    (docker.home / "no-daemon").touch()
    assert choose("auto", settings, docker.environ, lambda _: None) == "docker"
    (docker.home / "no-daemon").unlink()
    docker.backend().down(data=False)
    assert choose("native", settings, docker.environ, lambda _: None) == "native"
