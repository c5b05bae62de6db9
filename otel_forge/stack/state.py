"""The state folder: where everything of a running stack is kept, who owns it, and what is known of it.

Ownership is a lock (`flock`) on `supervisor.lock`, which the kernel drops when the owner dies, however
it dies: a file that says "running" is never believed without it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from otel_forge.errors import StackError

FORMAT = 1


@dataclass(frozen=True)
class ProcessIdentity:
    """One process, told apart from a later one with the same pid by its time of birth."""

    pid: int
    create_time: float

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """Return the identity of a living process; raise psutil.Error when there is none."""
        return cls(pid, psutil.Process(pid).create_time())

    def is_alive(self) -> bool:
        """Tell whether this very process still runs; a zombie does not."""
        try:
            process = psutil.Process(self.pid)
            return self._is(process) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def is_replaced(self) -> bool:
        """Tell whether another process has this pid now."""
        try:
            return not self._is(psutil.Process(self.pid))
        except psutil.Error:
            return False

    def _is(self, process: psutil.Process) -> bool:
        # The clock may be corrected while we run, and the birth time is derived from it.
        return abs(process.create_time() - self.create_time) < 2.0


@dataclass
class ComponentState:
    """What is known of one component."""

    status: str = "waiting"
    pid: int | None = None
    create_time: float = 0.0
    restarts: int = 0
    since: float = 0.0
    detail: str = ""
    program: str = ""
    ready: str = ""

    @property
    def identity(self) -> ProcessIdentity | None:
        """The identity of its process, if it ever had one."""
        return None if self.pid is None else ProcessIdentity(self.pid, self.create_time)


@dataclass
class StackState:
    """What the state file holds."""

    engine: str
    status: str
    version: str = ""
    pid: int | None = None
    create_time: float = 0.0
    started: float = 0.0
    error: str = ""
    config: str = ""
    """The folder that the configuration files were taken from."""
    ports: dict[str, int] = field(default_factory=dict)
    retention: dict[str, str] = field(default_factory=dict)
    lane: str = ""
    """Which alerting lane notifies."""
    components: dict[str, ComponentState] = field(default_factory=dict)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> StackState:
        """Build the state from a parsed state file; raise TypeError, KeyError or AttributeError for another shape."""
        fields = {name: value for name, value in document.items() if name != "format"}
        components = {name: ComponentState(**known) for name, known in fields.pop("components").items()}
        return cls(**fields, components=components)


class StateFolder:
    """The folder of one stack: `config/`, `data/`, `logs/` and the files by which its parts find each other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config"
        self.data = path / "data"
        self.logs = path / "logs"
        self.lock_file = path / "supervisor.lock"
        self.start_lock_file = path / "up.lock"
        self.state_file = path / "state.json"
        self.plan_file = path / "plan.json"
        self.socket = path / "control.sock"
        self.password_file = path / "grafana" / "admin-password"

    def create(self) -> None:
        """Make the folders, for this user only; raise StackError saying what to do where that fails."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self.config, self.data, self.logs):
                folder.mkdir(exist_ok=True, mode=0o700)
            tempfile.TemporaryFile(dir=self.path).close()
        except OSError as error:
            raise StackError(
                f"The state folder {self.path} cannot be written ({error.strerror}). "
                "Choose another one with --state-dir or OTEL_FORGE_STATE_DIR."
            ) from error

    def read(self) -> StackState | None:
        """Return what the state file says, or None where there is none that can be read."""
        try:
            document = json.loads(self.state_file.read_text(encoding="utf-8"))
            if document.get("format") != FORMAT:
                return None
            return StackState.from_json(document)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def write(self, state: StackState) -> None:
        """Replace the state file in one step."""
        write_atomically(self.state_file, json.dumps({"format": FORMAT, **asdict(state)}, indent=1))

    def log_file(self, component: str) -> Path:
        """Return where a component's output goes."""
        return self.logs / f"{component}.log"

    def is_owned(self) -> bool:
        """Tell whether a living supervisor owns this folder."""
        try:
            descriptor = os.open(self.lock_file, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def owner(self) -> ProcessIdentity | None:
        """Return the supervisor that owns this folder, if one does."""
        if not self.is_owned():
            return None
        try:
            document = json.loads(self.lock_file.read_text(encoding="utf-8"))
            identity = ProcessIdentity(int(document["pid"]), float(document["create_time"]))
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return identity if identity.is_alive() else None

    @contextlib.contextmanager
    def starting(self, timeout: float) -> Iterator[bool]:
        """Hold the right to start the stack, one `up` at a time; yield whether another one had to be awaited."""
        descriptor = os.open(self.start_lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            waited = not try_lock(descriptor)
            if waited and not lock_within(descriptor, timeout):
                raise StackError(f"Another `otel-forge up` has held {self.path} for {timeout:.0f} s; try again later.")
            yield waited
        finally:
            os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Take an exclusive lock if nobody holds one."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_within(descriptor: int, timeout: float) -> bool:
    """Take an exclusive lock, waiting at most `timeout` seconds for its holder."""
    deadline = time.monotonic() + timeout
    while not try_lock(descriptor):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def write_atomically(path: Path, text: str) -> None:
    """Write a whole file so that a reader sees the old or the new one, never a part."""
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
