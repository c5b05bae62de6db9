"""The state folder of the demo: who runs, how it is doing, logs, data and the last ledger."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any


def forge_state_dir(environ: Mapping[str, str]) -> Path:
    """Return the state folder of otel-forge."""
    if own := environ.get("OTEL_FORGE_STATE_DIR"):
        return Path(own)
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "otel-forge"


@dataclass(frozen=True)
class DemoState:
    """The paths below one folder, and the lock that makes one demo the only one in it."""

    folder: Path

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> DemoState:
        """Return the demo's folder inside the state folder of otel-forge."""
        return cls(forge_state_dir(environ) / "demo")

    @property
    def ledger(self) -> Path:
        """Where the ledger of the last run is."""
        return self.folder / "ledger.json"

    @property
    def own_log(self) -> Path:
        """Where a detached demo writes what it would print."""
        return self.folder / "demo.log"

    @property
    def data(self) -> Path:
        """Where the asset database is."""
        return self.folder / "data"

    @property
    def logs(self) -> Path:
        """Where all logs are."""
        return self.folder / "logs"

    def log(self, service: str) -> Path:
        """Where a service writes what it prints."""
        return self.logs / f"{service}.log"

    def access_log(self, service: str) -> Path:
        """Where a service writes a line for each request."""
        return self.logs / f"{service}.access.log"

    def faults(self, service: str) -> Path:
        """Where the workers of a service share their fault switch."""
        return self.folder / "faults" / f"{service}.json"

    def begin(self) -> IO[str] | None:
        """Take the lock and clear what an earlier demo left; None if another demo is running here."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = self._take_lock()
        if lock is None:
            return None
        for service_file in ("logs/*.log*", "faults/*.json", "data/assets.db*", "ledger.json", "status.json"):
            for path in self.folder.glob(service_file):
                path.unlink(missing_ok=True)
        for name in ("logs", "faults", "data"):
            (self.folder / name).mkdir(exist_ok=True)
        return lock

    def running_pid(self) -> int | None:
        """Return the process id of the demo that holds the lock, None if none does."""
        if not self._lock_path.exists():
            return None
        lock = self._take_lock(write_pid=False)
        if lock is not None:
            lock.close()
            return None
        text = self._lock_path.read_text().strip()
        return int(text) if text.isdigit() else None

    def write_status(self, status: Mapping[str, object]) -> None:
        """Replace the status file at once."""
        temporary = self.folder / f"status.json.{os.getpid()}"
        temporary.write_text(json.dumps(status, indent=1) + "\n")
        temporary.replace(self.folder / "status.json")

    def read_status(self) -> dict[str, Any]:
        """Return the last status, empty if there is none."""
        try:
            status: dict[str, Any] = json.loads((self.folder / "status.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return status

    @property
    def _lock_path(self) -> Path:
        return self.folder / "lock"

    def _take_lock(self, write_pid: bool = True) -> IO[str] | None:
        """Lock the lock file; the kernel frees it when the process ends, however it ends."""
        handle = self._lock_path.open("a+")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            return None
        if write_pid:
            handle.truncate(0)
            handle.write(f"{os.getpid()}\n")
            handle.flush()
        return handle
