"""What a process tells the monitor that watches it (``otel-forge watch``), and how the monitor reads it.

The monitor names a folder in ``OTEL_FORGE_WATCH_DIR``. Each process that serves requests writes a small file there
every second, ``<pid>.beat``: that it lives, what it works on and what that waits for. Every process can be made to
write the stacks of all its threads to ``<pid>.stacks``, even when it is deadlocked, by a real-time signal
(`STACKS_SIGNAL`). ``draining`` in that folder tells the processes that they are about to be stopped: readiness falls.
``restart-request.json`` is how the application asks for a restart; the monitor does that only on evidence of its own.

Without that variable nothing of this exists. The thread is started in the process that serves, never before it is
forked.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard
from otel_forge.health import in_flight
from otel_forge.health.in_flight import InFlight, Load

STACKS_SIGNAL = signal.SIGRTMIN + 6 if hasattr(signal, "SIGRTMIN") else 0
"""The signal at which a process writes its stacks; 0 where there are no real-time signals."""
DRAINING, REQUEST = "draining", "restart-request.json"
INTERVAL = 1.0
_MOST_BYTES = 65536


@dataclass(frozen=True)
class Beat:
    """What one process said last; times in seconds of ``time.monotonic``, which all processes of a machine share."""

    pid: int
    beaten: float
    in_flight: int = 0
    completed: int = 0
    oldest: float | None = None
    newest: float | None = None
    ended: float = 0.0
    waits: tuple[str, ...] = ()
    capacity: int = 0
    """How many requests it can work on at the same time; 0 if that is not known."""


class Heartbeat:
    """The heartbeat of this process, written to `folder` every `interval` seconds once it has been started."""

    def __init__(
        self, folder: Path, *, interval: float = INTERVAL, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = folder
        self._interval = interval
        self._clock = clock
        self._stacks: IO[bytes] | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.requests = InFlight(self._clock)
        self.capacity = 0
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_drained = False

    def install(self) -> None:
        """Have servers count requests and start the beat, and take the signal for stacks; in forked children, too."""
        in_flight.count_requests(self._begin_request, lambda key: self.requests.end(key))
        in_flight.when_worker_starts(self._begin_worker)
        self.take_signal()
        on_fork_in_child(self._renew)

    def take_signal(self) -> None:
        """Write stacks to the file of this process whenever the signal comes."""
        if not STACKS_SIGNAL:
            return
        import faulthandler

        earlier, self._stacks = self._stacks, _private(self.folder / f"{os.getpid()}.stacks")
        faulthandler.register(STACKS_SIGNAL, file=self._stacks, all_threads=True, chain=False)
        if earlier is not None:
            earlier.close()  # the parent's file, in a child

    def start(self) -> None:
        """Begin to beat, unless this process does already; the thread keeps no process alive.

        Not under uWSGI, where threads of ours may run during requests only: its idle workers would seem dead. Raises
        RuntimeError if the process can have no more threads.
        """
        if "uwsgi" in sys.modules:
            return
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="otel-forge heartbeat", daemon=True)
                thread.start()
                self._thread = thread

    def beat(self) -> None:
        """Write the file, and lower readiness if the monitor is about to stop us.

        One that cannot be written, as on a full disk, is removed: its age would say that we are dead. Raises OSError.
        """
        path = self.folder / f"{os.getpid()}.beat"
        try:
            _replace(path, asdict(self._beat_of(self.requests.load())))
        except OSError:
            with suppress(OSError):
                path.unlink()
            raise
        if not self._is_drained and (self.folder / DRAINING).exists():
            self._is_drained = True
            _drain()

    def _beat_of(self, load: Load) -> Beat:
        return Beat(
            pid=os.getpid(),
            beaten=self._clock(),
            in_flight=load.in_flight,
            completed=load.completed,
            oldest=load.oldest,
            newest=load.newest,
            ended=load.ended,
            waits=load.waits,
            capacity=self.capacity,
        )

    def _run(self) -> None:
        with suppress(PermissionError):  # rights that were given up since: nobody could hear us
            while self.folder.is_dir():  # the monitor removes it when it ends
                with guard("writing the heartbeat"):
                    self.beat()
                time.sleep(self._interval)

    def _begin_request(self) -> int:
        if self._thread is None:
            with guard("starting the heartbeat"):
                self.start()
        return self.requests.begin()

    def _begin_worker(self, capacity: int) -> None:
        self.capacity = capacity
        self.start()

    def _renew(self) -> None:
        """Begin anew in a forked child, which has the parent's counts and none of its threads."""
        self._begin_anew()
        self.take_signal()


_current: Heartbeat | None = None


def install(folder: Path) -> None:
    """Have this process and its children tell the monitor that owns `folder` how they do; the second call is none."""
    global _current
    if _current is None and folder.is_dir():
        with guard("starting the heartbeat"):
            heartbeat = Heartbeat(folder)
            heartbeat.install()
            _current = heartbeat


def start() -> None:
    """Begin to beat in a process that serves, under a server that does not do it by itself; nothing if not watched."""
    if _current is not None:
        with guard("starting the heartbeat"):
            _current.start()


def request_restart(reason: str) -> bool:
    """Ask the monitor for a restart; return whether there is a monitor to ask.

    It looks for evidence of its own that a restart would help (a process without heartbeat, requests that hang, a
    liveness probe without answer) and is then quicker to act on it. Without any it declines, and logs why. It never
    raises.
    """
    if _current is None:
        return False
    with guard("asking for a restart"), suppress(FileNotFoundError):
        _replace(_current.folder / REQUEST, {"pid": os.getpid(), "reason": str(reason)[:500]})
        return True
    return False


def read_beats(folder: Path) -> list[Beat]:
    """Return what the processes of `folder` said last; a file that cannot be read is left out."""
    found = (read_json(path) for path in sorted(folder.glob("*.beat")))
    return [beat for document in found if document is not None and (beat := _beat(document)) is not None]


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a small file; None where there is none that can be read."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _beat(document: dict[str, Any]) -> Beat | None:
    try:
        return Beat(**{**document, "waits": tuple(document["waits"])})
    except (TypeError, KeyError):
        return None


def _drain() -> None:
    with guard("draining"):
        health: Any = import_module("otel_forge.health")
        health.drain("the monitor is about to stop this process")


def _private(path: Path) -> IO[bytes]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "wb", buffering=0)


def _replace(path: Path, document: dict[str, Any]) -> None:
    """Write a whole file in one step."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
