"""The engine `docker`: the same components as containers, through `docker compose`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from otel_forge.errors import StackError
from otel_forge.stack import grafana
from otel_forge.stack.backend import (
    DEGRADED,
    RUNNING,
    STOPPED,
    ComponentStatus,
    Report,
    StackStatus,
    addresses,
    known_names,
)
from otel_forge.stack.bundle import bundle_root
from otel_forge.stack.components import BY_NAME, NAMES
from otel_forge.stack.differences import check_restart
from otel_forge.stack.lifecycle import stop
from otel_forge.stack.logfile import is_serious
from otel_forge.stack.ports import PORTS, check_free
from otel_forge.stack.settings import StackSettings
from otel_forge.stack.state import StackState, StateFolder
from otel_forge.version import VERSION

PROJECT = "otel-forge"


def why_not(environ: Mapping[str, str], timeout: float = 10.0) -> str:
    """Return why Docker cannot be used here, in one sentence, or nothing when it can."""
    docker = shutil.which("docker", path=environ.get("PATH"))
    if docker is None:
        return "There is no `docker` on PATH."
    for arguments, problem in (
        (["version", "--format", "{{.Server.Version}}"], "The Docker daemon does not answer"),
        (["compose", "version"], "`docker compose` is not there (install the compose plugin)"),
    ):
        try:
            asked = subprocess.run(
                [docker, *arguments], env=dict(environ), capture_output=True, text=True, timeout=timeout, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{problem}: {error}."
        if asked.returncode != 0:
            said = asked.stderr.strip().splitlines()
            return problem + (f": {said[0].split('. ')[0].rstrip('.')}." if said else ".")
    return ""


@dataclass(frozen=True)
class DockerBackend:
    """Drives the compose project of the bundle."""

    settings: StackSettings
    environ: Mapping[str, str]
    report: Report = lambda message: None
    name: str = "docker"

    @property
    def folder(self) -> StateFolder:
        """The state folder: with this engine it holds the password and what is known of the run."""
        return StateFolder(self.settings.state_dir)

    def up(self, timeout: float) -> StackStatus:
        """Start everything and wait until all health checks pass; compose itself leaves alone what runs unchanged."""
        self._require_docker()
        folder = self.folder
        folder.create()
        with folder.starting(timeout=timeout + 3600):
            before = self._containers()
            if not before:
                check_free([port for port in PORTS if _is_published(port.key)], self.settings.ports)
            grafana.ensure_password(folder)
            stop(folder, self.report)  # what a native run may have left behind, before its pids are overwritten
            # Written first: whatever happens next, `down` knows what there is to stop.
            folder.write(self._state("starting"))
            self.report("docker compose up: pulling images where needed, then waiting for the health checks")
            self._compose("up", "--detach", "--wait", "--wait-timeout", str(round(timeout)))
            folder.write(self._state(RUNNING))
        status = self.status()
        same = {c.container for c in before} == {c.container for c in status.components}
        return replace(status, already_running=bool(before) and same)

    def down(self, *, data: bool) -> bool:
        """Remove the containers, and the volumes too with `data`; tell whether any ran."""
        self._require_docker()
        ran = bool(self._containers())
        self._compose("down", "--remove-orphans", *(["--volumes"] if data else []))
        if self.settings.state_dir.is_dir():
            self.folder.write(self._state(STOPPED))
        return ran

    def status(self) -> StackStatus:
        """Look at everything now."""
        self._require_docker()
        components = self._containers()
        if not components:
            return StackStatus(self.name, STOPPED, state_dir=str(self.settings.state_dir))
        missing = [name for name in NAMES if name not in {component.name for component in components}]
        components += [ComponentStatus(name, "stopped") for name in missing]
        ready = all(component.is_ready for component in components)
        state = self.folder.read()
        numbers = (
            state.ports if state is not None and state.engine == self.name and state.ports else self.settings.ports
        )
        return StackStatus(
            engine=self.name,
            status=RUNNING if ready else DEGRADED,
            components=components,
            addresses=addresses(numbers, NAMES),
            state_dir=str(self.settings.state_dir),
            password_file=str(self.folder.password_file),
        )

    def restart(self, names: Sequence[str], timeout: float) -> list[str]:
        """Restart these containers, or all, and wait for their health checks; return their names."""
        self._require_docker()
        chosen = known_names(names, NAMES) or list(NAMES)
        if not self._containers():
            raise StackError("The stack is not running; `otel-forge up` starts it.")
        state = self.folder.read()
        if state is not None and state.engine == self.name:
            kept = check_restart(self.settings, self.environ, state, "Run `otel-forge up` to change that.")
            if kept:
                self.report(f"the containers keep what they were started with: {', '.join(kept)}")
        self.report(f"restarting {', '.join(chosen)}")
        self._compose("restart", *chosen)
        self._compose("up", "--detach", "--no-recreate", "--wait", "--wait-timeout", str(round(timeout)), *chosen)
        return chosen

    def logs(self, names: Sequence[str], *, lines: int, follow: bool, errors: bool) -> Iterator[str]:
        """Yield the last lines of these components, or of all; with `follow` those to come, for ever."""
        self._require_docker()
        chosen = known_names(names, NAMES)
        options = ["--no-color", "--tail", str(lines), *(["--follow"] if follow else [])]
        options += ["--no-log-prefix"] if len(chosen) == 1 else []
        command = self._command("logs", *options, *chosen)
        with subprocess.Popen(command, env=self._environment(), stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if not errors or is_serious(line):
                        yield line.rstrip("\n")
            finally:
                process.terminate()
        if process.returncode not in (0, -15):
            raise StackError(f"`docker compose logs` failed with exit code {process.returncode}.")

    def _containers(self) -> list[ComponentStatus]:
        """Return the containers that run or ought to."""
        listed = self._compose("ps", "--all", "--format", "json", capture=True)
        known = [row for row in _rows(listed) if row.get("Service") in BY_NAME]
        return [_component(row) for row in sorted(known, key=lambda row: NAMES.index(row["Service"]))]

    def _state(self, status: str) -> StackState:
        return StackState(
            engine=self.name,
            status=status,
            version=VERSION,
            started=time.time(),
            config=str(self._bundle()),
            ports=dict(self.settings.ports),
            retention=dict(self.settings.retention),
            lane=self.settings.alerting or "grafana",
        )

    def _bundle(self) -> Path:
        return self.settings.config_dir or bundle_root()

    def _command(self, *arguments: str) -> list[str]:
        return ["docker", "compose", "-p", PROJECT, "-f", str(self._bundle() / "docker-compose.yml"), *arguments]

    def _environment(self) -> dict[str, str]:
        """Return what the compose file's variables are filled from."""
        lane = {"OTEL_FORGE_ALERTING": self.settings.alerting or "grafana"}
        return {
            **self.environ,
            **self.settings.port_variables(),
            **self.settings.retention,
            **lane,
            "OTEL_FORGE_STATE_DIR": str(self.settings.state_dir),
            "OTEL_FORGE_GRAFANA_UID": str(os.getuid()),
        }

    def _compose(self, *arguments: str, capture: bool = False) -> str:
        """Run one compose command, its progress going where ours goes; raise StackError when it fails."""
        done = subprocess.run(
            self._command(*arguments),
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture else None,
            stderr=subprocess.PIPE if capture else None,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr or "").strip()
            raise StackError(
                f"`docker compose {arguments[0]}` failed with exit code {done.returncode}"
                + (f": {said}" if said else "; what it said is above, and `otel-forge logs` has more.")
            )
        return done.stdout or ""

    def _require_docker(self) -> None:
        if reason := why_not(self.environ):
            raise StackError(f"The engine `docker` cannot be used: {reason} `--engine native` needs no Docker.")


def _rows(listed: str) -> list[dict[str, Any]]:
    """Read what `ps --format json` prints: an array in older releases, one object a line in newer ones."""
    text = listed.strip()
    try:
        if text.startswith("["):
            return list(json.loads(text))
        return [json.loads(line) for line in text.splitlines()]
    except ValueError as error:
        raise StackError(f"`docker compose ps` printed something that is not JSON: {text[:200]!r}.") from error


def _component(row: Mapping[str, Any]) -> ComponentStatus:
    state, health = str(row.get("State", "")), str(row.get("Health", ""))
    if state == "running":
        status = {"": "ready", "healthy": "ready", "starting": "starting"}.get(health, "not answering")
    else:
        status = "restarting" if state == "restarting" else "stopped" if state == "exited" else state
    return ComponentStatus(
        name=str(row["Service"]), status=status, detail=str(row.get("Status", "")), container=str(row.get("ID", ""))
    )


def _is_published(key: str) -> bool:
    """Tell whether a port is open outside the containers: the stores' gRPC and Tempo's intake are not."""
    return key not in ("LOKI_GRPC", "TEMPO_GRPC", "TEMPO_OTLP")
