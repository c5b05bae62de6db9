"""What a running process says of its telemetry, for other processes to read: ``otel-forge status``.

A small JSON file in the process's directory of the spool, written by the delivery threads, at most every few seconds
and for the first time when the process has lived that long; a script that is done sooner leaves no trace. Where no
spool can be used there is none. A reader believes a file whose process is alive; of the others it tells what they have
left for the next start.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import psutil

from otel_forge.delivery.accounts import Account, Column
from otel_forge.delivery.spool import SpoolDirectory
from otel_forge.fork import on_fork_in_child
from otel_forge.settings import Signal

NAME = "status.json"
INTERVAL = 3.0
"""Seconds between two writes."""

MAX_SIZE = 65536
"""Bytes of a status file that are read; ours have some 3,000."""

_VERSION = 1
_USER = "status"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_PROCESS = re.compile(r"(\d+)-[0-9a-f]{8}")


class StatusFile:
    """Writes what `describe` returns, after a round of any delivery thread, when it is time."""

    def __init__(
        self,
        directory: SpoolDirectory | None,
        describe: Callable[[], Mapping[str, Any]],
        *,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._describe = describe
        self._interval = interval
        self._clock = clock
        self._wall = wall
        self._renew()
        on_fork_in_child(self._renew)

    def _renew(self) -> None:
        self._lock = Lock()
        self._working: set[Signal] = set()
        self._started = self._wall()
        self._due = self._clock() + self._interval
        self._path = ""

    def told(self, signal: Signal, is_over: bool) -> None:
        """Take note that the thread of `signal` has done a round, which was its last if `is_over`; write if it is time.

        Never raises and never waits. The last thread that ends removes the file.
        """
        if self._directory is None or not self._lock.acquire(blocking=is_over, timeout=1 if is_over else -1):
            return
        try:
            (self._working.discard if is_over else self._working.add)(signal)
            if is_over and not self._working:
                self._remove(self._directory)
            elif self._clock() >= self._due:
                self._due = self._clock() + self._interval
                self._write(self._directory)
        except OSError:  # whoever needs the directory for records says so
            self._path = ""
        finally:
            self._lock.release()

    def _write(self, directory: SpoolDirectory) -> None:
        self._path = directory.enter(_USER, durable=False)
        told = {"version": _VERSION, "pid": os.getpid(), "started": self._started, "written": self._wall()}
        data = json.dumps({**told, **self._describe()}).encode()
        fresh = os.path.join(self._path, f"{NAME}.new")
        descriptor = os.open(fresh, _FLAGS, 0o600)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
        Path(fresh).replace(os.path.join(self._path, NAME))

    def _remove(self, directory: SpoolDirectory) -> None:
        if not self._path:
            return
        path, self._path = self._path, ""
        Path(path, NAME).unlink(missing_ok=True)
        directory.leave(_USER)


def described(
    service: str,
    routes: Mapping[Signal, tuple[str, str]],
    accounts: Mapping[Signal, Account],
    oldest: Mapping[Signal, float | None],
) -> Mapping[str, Any]:
    """Return what a process says of itself; `routes` holds address and last failure of the signals that it sends."""
    return {
        "service": service,
        "signals": {
            signal: {
                "address": address,
                "failure": failure,
                "oldest": oldest.get(signal),
                **_column(accounts[signal]),
                "bytes": _column(accounts[signal].in_bytes),
            }
            for signal, (address, failure) in routes.items()
        },
    }


def _column(column: Column) -> Mapping[str, Any]:
    return {
        "created": column.created,
        "delivered": column.delivered,
        "held": column.held,
        "waiting": column.waiting,
        "in_memory": column.in_memory,
        "on_disk": column.on_disk,
        "taken_over": column.taken_over,
        "dropped": {reason.value: count for reason, count in column.dropped.items()},
    }


# -- reading -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ServiceStatus:
    """What there is of one service: its living processes as they describe themselves, and what dead ones have left."""

    service: str
    processes: list[Mapping[str, Any]] = field(default_factory=list)
    left_bytes: int = 0
    """Of requests that dead processes could not deliver; the next process of the service takes them over."""
    refused_bytes: int = 0
    """Of requests that the back end refused and that were set aside."""


def read_all(folder: Path | None, is_alive: Callable[[int], bool] = psutil.pid_exists) -> list[ServiceStatus]:
    """Return what the services say that keep their spool in `folder`; what can't be read is left out."""
    if folder is None:
        return []
    return [found for path in _folders(folder) if (found := _service(path, is_alive)) is not None]


def _service(path: Path, is_alive: Callable[[int], bool]) -> ServiceStatus | None:
    processes, left = [], 0
    for folder in _folders(path):
        match = _PROCESS.fullmatch(folder.name)
        if match is None:
            continue
        if not is_alive(int(match[1])):
            left += _size(folder, "[!r]*.seg")
        elif told := _told(folder / NAME):
            processes.append(told)
    refused = _size(path, "refused-*.seg") + _size(path, "*/refused-*.seg")
    if not (processes or left or refused):
        return None
    names = [process["service"] for process in processes]
    return ServiceStatus(names[0] if names else path.name, processes, left, refused)


def _folders(path: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.is_symlink())


def _size(path: Path, pattern: str) -> int:
    size = 0
    with suppress(OSError):
        for file in path.glob(pattern):
            with suppress(OSError):
                size += file.lstat().st_size
    return size


def _told(path: Path) -> Mapping[str, Any] | None:
    """Return what a process says of itself; None if it is not there, or not of this version."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(MAX_SIZE))
    except (OSError, ValueError):
        return None
    is_ours = isinstance(found, dict) and found.get("version") == _VERSION and isinstance(found.get("signals"), dict)
    return found if is_ours else None
