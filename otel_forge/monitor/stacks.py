"""Stacks of all threads of all processes of the app, deadlocked ones included.

A process that runs with otel-forge writes them to its file in the watch folder when `STACKS_SIGNAL` comes
(`otel_forge.health.heartbeat`); Python's `faulthandler` does it without the interpreter's lock. The signal ends a
process that does not expect it, so it is sent only to those that catch it, which the kernel tells.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from otel_forge.health.heartbeat import STACKS_SIGNAL

_DEADLINE = 2.0
_SETTLED = 0.15
_MOST_BYTES = 1_000_000


def gather(folder: Path, pids: Sequence[int], *, sleep: Callable[[float], object] = time.sleep) -> str:
    """Return the stacks of the processes, a heading for each; of one that gives none, why."""
    before = {pid: _size(_file(folder, pid)) for pid in pids}
    asked = {pid: before[pid] for pid in pids if _ask(folder, pid)}
    _await_silence(folder, asked, sleep)
    return "\n".join(_of_one(folder, pid, asked.get(pid)) for pid in pids)


def _file(folder: Path, pid: int) -> Path:
    return folder / f"{pid}.stacks"


def _ask(folder: Path, pid: int) -> bool:
    if not _file(folder, pid).exists() or not catches(pid, STACKS_SIGNAL):
        return False
    with contextlib.suppress(OSError):
        os.kill(pid, STACKS_SIGNAL)
        return True
    return False


def catches(pid: int, number: int) -> bool:
    """Return whether the process has a handler for the signal (SigCgt in /proc/PID/status; False where unknown)."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def _await_silence(folder: Path, asked: Mapping[int, int], sleep: Callable[[float], object]) -> None:
    """Wait until all have written and nothing more comes, for `_DEADLINE` seconds at the most."""
    earlier = dict(asked)
    for _ in range(round(_DEADLINE / _SETTLED) if asked else 0):
        sleep(_SETTLED)
        sizes = {pid: _size(_file(folder, pid)) for pid in asked}
        if sizes == earlier and all(sizes[pid] > start for pid, start in asked.items()):
            return
        earlier = sizes


def _of_one(folder: Path, pid: int, start: int | None) -> str:
    heading = f"=== process {pid} ==="
    if start is None:
        return f"{heading}\nIt runs without otel-forge, so it cannot be asked.\n"
    with contextlib.suppress(OSError), _file(folder, pid).open("rb") as file:
        file.seek(start)
        if text := file.read(_MOST_BYTES).decode("utf-8", "replace"):
            return f"{heading}\n{text}"
    return f"{heading}\nIt gave no answer: it is stopped, or stands still in the kernel.\n"


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
