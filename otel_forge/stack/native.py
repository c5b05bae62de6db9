"""The engine `native`: the servers as plain processes of this machine, under our own supervisor."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from otel_forge.errors import StackError
from otel_forge.stack import control, grafana, lifecycle, readiness, workingcopy
from otel_forge.stack.backend import (
    API_ONLY,
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
from otel_forge.stack.components import BY_NAME, LOOPBACK, NAMES, Place
from otel_forge.stack.differences import check_restart, default_lane, differences, refuse
from otel_forge.stack.following import read_logs
from otel_forge.stack.leftovers import reap
from otel_forge.stack.ports import check_free
from otel_forge.stack.process import Policy, ProcessSpec
from otel_forge.stack.settings import StackSettings
from otel_forge.stack.state import StackState, StateFolder
from otel_forge.stack.supervisor import Plan
from otel_forge.version import VERSION

FindPrograms = Callable[[Sequence[str]], Mapping[str, Path]]
"""Returns the executable of every engine asked for, building what is not there."""

CHANGE = "Run `otel-forge down` and then `otel-forge up` to change that."


@dataclass(frozen=True)
class NativeBackend:
    """Drives the supervisor of one state folder."""

    settings: StackSettings
    environ: Mapping[str, str]
    find_programs: FindPrograms
    report: Report = lambda message: None
    policy: Policy = field(default_factory=Policy)
    name: str = "native"

    @property
    def folder(self) -> StateFolder:
        """The state folder that this backend works on."""
        return StateFolder(self.settings.state_dir)

    def up(self, timeout: float) -> StackStatus:
        """Start everything, or find it running; raise StackError with the reason where that cannot be."""
        folder = self.folder
        folder.create()
        with folder.starting(timeout=timeout + 3600) as waited:
            if waited:
                self.report("another `otel-forge up` was at work on this state folder; it is done")
            lifecycle.await_stopping(folder, self.report)
            if folder.is_owned():
                return self._found_running()
            self._clear_leftovers()
            plan = self._plan(timeout)
            lifecycle.run_plan(folder, plan, self._child_environment(), self.report)
        return self._with_notes(self.status())

    def _found_running(self) -> StackStatus:
        """Return what runs; raise StackError when it is with other settings than those asked for."""
        state = self.folder.read()
        if state is None:
            raise StackError(
                f"A supervisor owns {self.folder.path} but says nothing; run `otel-forge down`, then `up`."
            )
        refuse(differences(self.settings, state), CHANGE)
        return self._with_notes(self.status(), already_running=True)

    def _clear_leftovers(self) -> None:
        state = self.folder.read()
        if state is None or state.engine != self.name:
            return
        if ended := reap(state):
            self.report(f"ended what an earlier run had left behind: {', '.join(ended)}")

    def _plan(self, timeout: float) -> Plan:
        grafana_command = grafana.find_command(self.environ)
        names = [name for name in NAMES if name != "grafana" or grafana_command is not None]
        used = [port for name in names for port in BY_NAME[name].ports]
        check_free(used, self.settings.ports, LOOPBACK)
        programs = self.find_programs([BY_NAME[name].engine for name in names if name != "grafana"])
        # Building may have taken minutes: look again, so that the message is about ports, not about a crash.
        check_free(used, self.settings.ports, LOOPBACK)
        bundle = self.settings.config_dir or bundle_root()
        lane = self.settings.alerting or default_lane(dict.fromkeys(names))
        self._lay(bundle, names, workingcopy.Run(names, self.settings.ports, lane), programs.get("tempo"))
        return Plan(
            processes=[self._spec(name, programs, grafana_command) for name in names],
            policy=replace(self.policy, ready_timeout=timeout),
            version=VERSION,
            config=str(bundle),
            ports=dict(self.settings.ports),
            retention=dict(self.settings.retention),
            lane=lane,
        )

    def _lay(self, bundle: Path, names: Sequence[str], run: workingcopy.Run, tempo: Path | None) -> None:
        """Lay the configuration of `names`, for this run and this Tempo."""
        major = major_version(tempo) if tempo and "tempo" in names else 3
        workingcopy.lay(bundle, self.folder, names, replace(run, tempo_major=major))

    def _spec(self, name: str, programs: Mapping[str, Path], grafana_command: list[str] | None) -> ProcessSpec:
        component = BY_NAME[name]
        data = self.folder.data / name
        data.mkdir(mode=0o700, exist_ok=True)
        place = Place(LOOPBACK, str(self.folder.config / name), str(data), self.settings.ports, self.settings.retention)
        variables = component.variables(place)
        command = [str(programs[component.engine])] if name != "grafana" else list(grafana_command or [])
        if name == "grafana":
            variables["GF_SECURITY_ADMIN_PASSWORD__FILE"] = str(grafana.ensure_password(self.folder))
        return ProcessSpec(
            name=name,
            argv=[*command, *component.command(place)],
            environment=variables,
            folder=str(data),
            ready=place.fill(component.ready),
            after=list(component.after),
            stop_grace=component.stop_grace,
        )

    def _child_environment(self) -> dict[str, str]:
        """Return what the servers see: without OTEL_*, which some of them would obey for themselves."""
        kept = {name: value for name, value in self.environ.items() if not name.startswith("OTEL_")}
        package_home = str(Path(__file__).resolve().parents[2])
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, [package_home, kept.get("PYTHONPATH", "")]))
        return kept

    def down(self, *, data: bool) -> bool:
        """Stop everything and free its ports; with `data` remove what was stored; tell whether anything ran."""
        ran = lifecycle.stop(self.folder, self.report)
        if data:
            for path in (self.folder.data, self.folder.config):
                shutil.rmtree(path, ignore_errors=True)
            self.report(f"removed the data in {self.folder.data}")
        return ran

    def status(self) -> StackStatus:
        """Look at everything now: what the supervisor knows, and whether each server answers."""
        state, folder = self.folder.read(), self.folder
        if state is None or state.engine != self.name:
            return StackStatus(self.name, STOPPED, state_dir=str(folder.path))
        if not folder.is_owned():
            died = "its supervisor was killed; `otel-forge up` starts it again"
            detail = died if state.status in ("starting", "running", "stopping") else state.error
            return StackStatus(self.name, STOPPED, detail=detail, state_dir=str(folder.path))
        components = _look(state)
        status = state.status
        if status == RUNNING and not all(component.is_ready for component in components):
            status = DEGRADED
        return StackStatus(
            engine=self.name,
            status=status,
            components=components,
            addresses=addresses(state.ports, list(state.components)) if state.ports else {},
            state_dir=str(folder.path),
            password_file=str(folder.password_file) if "grafana" in state.components else "",
            api_only=self._api_only(state),
        )

    def _api_only(self, state: StackState) -> list[str]:
        """Return who has no web pages: Prometheus neither, when it was built here (its Go module carries none)."""
        prometheus = state.components.get("prometheus")
        built = prometheus is not None and Path(prometheus.program).is_relative_to(self.settings.cache_dir)
        return [*(["Prometheus"] if built else []), *API_ONLY]

    def _with_notes(self, status: StackStatus, *, already_running: bool = False) -> StackStatus:
        notes = [] if status.password_file else [grafana.MISSING]
        state = self.folder.read()
        if state is not None and state.version not in ("", VERSION):
            notes.append(f"It was started by otel-forge {state.version}; `down` and `up` bring it to {VERSION}.")
        return replace(status, notes=notes, already_running=already_running)

    def restart(self, names: Sequence[str], timeout: float) -> list[str]:
        """Restart these components, or all, with their configuration read anew; return their names."""
        state = self.folder.read()
        if state is None or not self.folder.is_owned():
            raise StackError("The stack is not running; `otel-forge up` starts it.")
        chosen = known_names(names, list(state.components)) or list(state.components)
        if kept := check_restart(self.settings, self.environ, state, CHANGE):
            self.report(f"the stack keeps what it was started with: {', '.join(kept)}")
        self._lay_again(state, chosen)
        self.report(f"restarting {', '.join(chosen)}")
        grace = sum(BY_NAME[name].stop_grace for name in chosen if name in BY_NAME)
        control.request(self.folder.socket, {"do": "restart", "names": chosen}, timeout + grace)
        return chosen

    def _lay_again(self, state: StackState, chosen: Sequence[str]) -> None:
        """Take the configuration of these components anew, for the ports that the stack runs on."""
        known = [name for name in chosen if name in BY_NAME]
        if not state.config or not known:
            return
        tempo = Path(state.components["tempo"].program) if "tempo" in state.components else None
        lane = state.lane or self.settings.alerting or default_lane(state.components)
        self._lay(Path(state.config), known, workingcopy.Run(list(state.components), state.ports, lane), tempo)

    def logs(self, names: Sequence[str], *, lines: int, follow: bool, errors: bool) -> Iterator[str]:
        """Yield the last lines of these components, or of all; with `follow` those to come, for ever."""
        return read_logs(self.folder, names, lines=lines, following=follow, errors=errors)


def _look(state: StackState) -> list[ComponentStatus]:
    """Ask every server that should be ready whether it still is."""
    urls = {name: known.ready for name, known in state.components.items() if known.status == "ready" and known.ready}
    answers = readiness.ask_now(urls)
    found = []
    for name, known in state.components.items():
        good, answer = answers.get(name, (True, ""))
        found.append(
            ComponentStatus(
                name=name,
                status=known.status if good else "not answering",
                pid=known.pid if known.status not in ("waiting", "restarting", "failed", "stopped") else None,
                restarts=known.restarts,
                since=known.since,
                detail=known.detail if good else answer,
            )
        )
    return found


def major_version(program: Path) -> int:
    """Return the first number of what a program says to `--version`; raise StackError when it says none."""
    try:
        said = subprocess.run([str(program), "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"{program} cannot be asked for its version: {error}.") from error
    found = re.search(r"version v?(\d+)\.", said.stdout + said.stderr)
    if not found:
        raise StackError(f"{program} --version does not name a version: {(said.stdout + said.stderr)[:200]!r}.")
    return int(found.group(1))
