"""What the host and the processes of the app take: CPU, memory, disk, threads, files."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

_COMPUTING = 0.1
"""A process that uses this share of one CPU computes; one that is stuck uses next to none."""
_Key = tuple[int, float]
"""Id and birth of a process."""


@dataclass(frozen=True)
class Host:
    """What the machine does, in percent; `modes` is CPU time by mode as shares of one."""

    cpu: float
    memory: float
    disk: float
    modes: Mapping[str, float] = field(default_factory=dict)
    memory_bytes: Mapping[str, int] = field(default_factory=dict)
    disk_bytes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ProcessSample:
    """One process of the app; `cpu` in shares of one CPU over the sampler's span, sizes in bytes."""

    pid: int
    parent: int
    name: str
    status: str
    cpu: float
    rss: int
    virtual: int
    threads: int
    files: int
    started: float

    @property
    def computes(self) -> bool:
        """Whether it used the CPU."""
        return self.cpu >= _COMPUTING


@dataclass(frozen=True)
class Sample:
    """The host and the app at one moment (Unix time)."""

    time: float
    host: Host
    processes: tuple[ProcessSample, ...] = ()
    user_seconds: float = 0.0
    system_seconds: float = 0.0
    """CPU time that all processes of the app have used since the monitor watches them, those that are gone included."""

    @property
    def memory(self) -> int:
        """Resident bytes of all processes."""
        return sum(process.rss for process in self.processes)

    @property
    def computing(self) -> set[int]:
        """The processes that use the CPU, and all that they descend from: those wait for them."""
        parents = {process.pid: process.parent for process in self.processes}
        found: set[int] = set()
        for process in self.processes:
            pid: int | None = process.pid if process.computes else None
            while pid in parents and pid not in found:
                found.add(pid)
                pid = parents[pid]
        return found


class Sampler:
    """Takes samples of the host and of the processes that `root` is the ancestor of.

    What a process uses of the CPU is told over `span` seconds: on a crowded machine one that computes may get nothing
    for a while.
    """

    def __init__(self, disk_path: str = "/", span: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._disk_path = disk_path
        self._span = span
        self._clock = clock
        self._past: deque[tuple[float, dict[_Key, tuple[float, float]]]] = deque()
        self._user = self._system = 0.0
        self._modes = psutil.cpu_times()

    def take(self, root: int | None) -> Sample:
        """Return a sample; of the host alone where the app does not run."""
        processes = tuple(self._processes(root, self._clock()))
        return Sample(time.time(), self._host(), processes, self._user, self._system)

    def _processes(self, root: int | None, now: float) -> list[ProcessSample]:
        used: dict[_Key, tuple[float, float]] = {}
        samples = []
        for process in family(root):
            with suppress(psutil.Error):
                samples.append(self._sample(process, now, used))
        self._past.append((now, used))
        while now - self._past[0][0] > self._span and len(self._past) > 2:
            self._past.popleft()
        return samples

    def _sample(self, process: psutil.Process, now: float, used: dict[_Key, tuple[float, float]]) -> ProcessSample:
        with process.oneshot():
            times, memory, key = process.cpu_times(), process.memory_info(), (process.pid, process.create_time())
            used[key] = times.user, times.system
            user, system = self._past[-1][1].get(key, (0.0, 0.0)) if self._past else (0.0, 0.0)
            self._user += times.user - user
            self._system += times.system - system
            return ProcessSample(
                pid=process.pid,
                parent=process.ppid(),
                name=process.name(),
                status=process.status(),
                cpu=self._share(key, times.user + times.system, now),
                rss=memory.rss,
                virtual=memory.vms,
                threads=process.num_threads(),
                files=_files_of(process),
                started=process.create_time(),
            )

    def _share(self, key: _Key, seconds: float, now: float) -> float:
        """Return the share of one CPU that the process has used since the oldest sample of it."""
        for then, used in self._past:
            if key in used and now > then:
                return max(0.0, seconds - sum(used[key])) / (now - then)
        return 0.0

    def _host(self) -> Host:
        modes, memory = self._modes_since(), psutil.virtual_memory()
        idle = modes.get("idle", 0.0) + modes.get("iowait", 0.0)
        disk_used, disk_free, disk = 0, 0, 0.0
        with suppress(OSError):
            usage = psutil.disk_usage(self._disk_path)
            disk_used, disk_free, disk = usage.used, usage.free, usage.percent
        return Host(
            cpu=100.0 * max(0.0, 1.0 - idle) if modes else 0.0,
            memory=memory.percent,
            disk=disk,
            modes=modes,
            memory_bytes={"used": memory.total - memory.available, "free": memory.available},
            disk_bytes={"used": disk_used, "free": disk_free},
        )

    def _modes_since(self) -> dict[str, float]:
        """Return the shares of CPU time by mode since the last sample; empty if no time has passed."""
        earlier, self._modes = self._modes, psutil.cpu_times()
        spent = {mode: max(0.0, now - getattr(earlier, mode)) for mode, now in _modes_of(self._modes).items()}
        total = sum(spent.values())
        return {mode: seconds / total for mode, seconds in spent.items()} if total else {}


def family(root: int | None) -> list[psutil.Process]:
    """Return the process `root` and all its descendants; none if it is gone."""
    if root is None:
        return []
    try:
        process = psutil.Process(root)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _modes_of(times: Any) -> dict[str, float]:
    """Return CPU times by mode; time of guests is counted by the kernel among the user's."""
    return {mode: seconds for mode, seconds in times._asdict().items() if not mode.startswith("guest")}


def _files_of(process: psutil.Process) -> int:
    try:
        return process.num_fds()
    except (psutil.Error, AttributeError):
        return 0
