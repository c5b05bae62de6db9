"""Starts and stops the supervisor of a state folder, whatever it is that it supervises."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping

from otel_forge.errors import StackError
from otel_forge.stack.backend import RUNNING, STOPPED, Report
from otel_forge.stack.components import BY_NAME
from otel_forge.stack.leftovers import reap
from otel_forge.stack.logfile import tail
from otel_forge.stack.state import ProcessIdentity, StackState, StateFolder
from otel_forge.stack.supervisor import Plan, write_plan


def run_plan(folder: StateFolder, plan: Plan, environment: Mapping[str, str], report: Report) -> None:
    """Start a supervisor and wait until all is ready; raise StackError, with nothing left running, if that fails."""
    write_plan(folder, plan)
    folder.state_file.unlink(missing_ok=True)
    with folder.log_file("supervisor").open("wb") as log:
        starter = subprocess.run(
            [sys.executable, "-m", "otel_forge.stack.supervisor", "--state-dir", str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(environment),
            cwd=folder.path,
            start_new_session=True,
            check=False,
        )
    if starter.returncode != 0:
        raise StackError(f"The supervisor did not start:\n{_supervisor_words(folder)}")
    try:
        _await_running(folder, report)
    except BaseException:  # Ctrl-C, too, must leave nothing half started
        stop(folder, report)
        raise


def _await_running(folder: StateFolder, report: Report) -> None:
    """Tell how the start goes on; the supervisor itself keeps the deadline."""
    shown: dict[str, str] = {}
    begun = time.monotonic()
    while True:
        owned = folder.is_owned()
        state = folder.read()
        if state is not None:
            for name, component in state.components.items():
                if component.status != shown.get(name) and component.status in ("starting", "ready"):
                    report(f"{name} is {component.status} ({time.monotonic() - begun:.1f} s)")
                shown[name] = component.status
            if state.status == RUNNING:
                return
            if state.status == "failed" and not owned:
                raise StackError(state.error)
        if not owned:
            raise StackError(f"The stack was stopped while it was starting.\n{_supervisor_words(folder)}".strip())
        time.sleep(0.1)


def await_stopping(folder: StateFolder, report: Report, patience: float = 90.0) -> None:
    """Wait for a supervisor that is about to end, so that a start right after a `down` finds the folder free."""
    deadline = time.monotonic() + patience
    told = False
    while folder.is_owned() and time.monotonic() < deadline:
        state = folder.read()
        if state is None or state.status not in ("stopping", "stopped", "failed"):
            return
        if not told:
            report("waiting for the running stack to stop")
            told = True
        time.sleep(0.1)


def _supervisor_words(folder: StateFolder) -> str:
    return "\n".join(tail(folder.log_file("supervisor"), 15))


def stop(folder: StateFolder, report: Report, patience: float = 30.0) -> bool:
    """Stop the supervisor and all it runs, by force where need be; tell whether anything ran."""
    ran = folder.is_owned()
    if ran:
        _stop_supervisor(folder, report, patience)
    state = folder.read()
    if state is None or state.engine != "native":
        return ran
    if ended := reap(state):
        report(f"ended what was left behind: {', '.join(ended)}")
        ran = True
    if state.status in ("starting", "running", "stopping"):
        state.status = STOPPED
        folder.write(state)
    return ran


def _stop_supervisor(folder: StateFolder, report: Report, patience: float) -> None:
    """Ask with SIGTERM, wait as long as the stops take, then use force."""
    owner = _await_owner(folder)
    if owner is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(owner.pid, signal.SIGTERM)
    state = folder.read()
    grace = sum(BY_NAME[name].stop_grace for name in state.components if name in BY_NAME) if state else 0.0
    deadline = time.monotonic() + patience + grace
    shown: dict[str, str] = {}
    while folder.is_owned():
        _report_stops(folder.read(), shown, report)
        if time.monotonic() > deadline:
            report(f"the supervisor (pid {owner.pid}) does not end; killing it")
            if owner.is_alive():
                os.kill(owner.pid, signal.SIGKILL)
            deadline = time.monotonic() + patience
        time.sleep(0.05)
    _report_stops(folder.read(), shown, report)


def _await_owner(folder: StateFolder, patience: float = 5.0) -> ProcessIdentity | None:
    """Return the supervisor's process; one that has only just begun may not have written its name yet."""
    deadline = time.monotonic() + patience
    while folder.is_owned():
        if owner := folder.owner():
            return owner
        if time.monotonic() > deadline:
            raise StackError(f"{folder.lock_file} is locked by a process that does not say who it is (`lsof` does).")
        time.sleep(0.05)
    return None


def _report_stops(state: StackState | None, shown: dict[str, str], report: Report) -> None:
    known = sorted((state.components if state else {}).items(), key=lambda item: item[1].since)
    for name, component in known:
        if component.status == STOPPED and shown.get(name) != STOPPED:
            report(f"{name} has stopped" + (f" ({component.detail})" if component.detail else ""))
        shown[name] = component.status
