"""Ends what a killed supervisor has left behind.

On Linux the kernel kills a supervisor's children with it. Elsewhere, and for what those children had
started, the pids and birth times in the state file tell who is ours.
"""

from __future__ import annotations

import contextlib
import os

import psutil

from otel_forge.stack.state import ProcessIdentity, StackState


def reap(state: StackState, grace: float = 5.0) -> list[str]:
    """End every process of the components in `state`; return the names of those that were still there."""
    found: list[str] = []
    processes: list[psutil.Process] = []
    sessions = _processes_by_session()
    for name, component in state.components.items():
        if component.identity is None:
            continue
        members = _members(component.identity, sessions)
        if members:
            found.append(name)
            processes += members
    _end(processes, grace)
    return found


def _processes_by_session() -> dict[int, list[int]]:
    sessions: dict[int, list[int]] = {}
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            sessions.setdefault(os.getsid(pid), []).append(pid)
    return sessions


def _members(leader: ProcessIdentity, sessions: dict[int, list[int]]) -> list[psutil.Process]:
    """Return the living processes of the session that `leader` began; it may itself be gone."""
    if leader.is_replaced():
        return []  # somebody else's process has that pid now, so the session is not ours either
    members = []
    for pid in sessions.get(leader.pid, []):
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE and process.create_time() > leader.create_time - 2.0:
                members.append(process)
    return members


def _end(processes: list[psutil.Process], grace: float) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=grace)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=grace)
