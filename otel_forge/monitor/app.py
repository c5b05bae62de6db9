"""The application that is looked after: started by us, or running already."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import IO, Protocol

import psutil

from otel_forge.errors import ForgeError

_LEASH = str(Path(__file__).with_name("leash.py"))
_LINES_KEPT = 100
_LONGEST_LINE = 10_000
_LAST_WORDS = 5.0
"""Seconds that are waited for what an app wrote before it ended; a process that it left may hold the pipe for ever."""
Pause = Callable[[float], object]
"""Waits so many seconds at the most; returns early when something has happened."""


class App(Protocol):
    """A running application."""

    pid: int

    def ended(self) -> int | None:
        """Return the exit code once it has ended, None while it runs."""

    def send(self, number: int) -> None:
        """Send a signal to its first process."""

    def kill(self) -> None:
        """End all of it by force."""

    def last_output(self) -> list[str]:
        """Return the last lines that it has written; none where its output does not pass through us."""


class StartedApp:
    """An application that the monitor has started: a session of its own, so that Ctrl-C reaches it through us alone.

    It has our standard streams. With `capture` its output passes through us, byte for byte, and the last lines stay.
    It is asked to end (SIGTERM) should the monitor die. Start it from the main thread: the kernel ties it to that.
    Raises ForgeError where the machine has no room for a process.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], *, capture: bool = False) -> None:
        streams = subprocess.PIPE if capture else None
        leash = [sys.executable, "-I", "-S", _LEASH, str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                [*leash, *command], env=dict(environ), start_new_session=True, stdout=streams, stderr=streams
            )
        except OSError as error:
            raise ForgeError(f"{command[0]!r} cannot be started ({error.strerror}).") from error
        self.pid = self._process.pid
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        pairs = ((self._process.stdout, sys.stdout), (self._process.stderr, sys.stderr))
        self._copiers = [
            Thread(target=self._copy, args=(source, target.fileno()), name="otel-forge watch output", daemon=True)
            for source, target in pairs
            if source is not None
        ]
        for copier in self._copiers:
            copier.start()

    def ended(self) -> int | None:
        """Return the exit code once it has ended, as a shell gives it: 128 and the number of the signal."""
        code = self._process.poll()
        return 128 - code if code is not None and code < 0 else code

    def send(self, number: int) -> None:
        """Send a signal to its first process, unless that has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End all of its process group by force, take its exit code, and pass on what it wrote last."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        for copier in self._copiers:
            copier.join(_LAST_WORDS)

    def last_output(self) -> list[str]:
        """Return the last lines that it has written, if they pass through us."""
        return list(self._lines)

    def _copy(self, source: IO[bytes], target: int) -> None:
        """Pass output on as it comes."""
        rest = b""
        while chunk := os.read(source.fileno(), 65536):
            with contextlib.suppress(OSError):
                _write_all(target, chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            self._lines.extend(line[:_LONGEST_LINE].decode("utf-8", "replace") for line in lines)
            rest = rest[-_LONGEST_LINE:]
        source.close()


class AttachedApp:
    """An application that runs already, and not as our child: its exit code cannot be known, and counts as 0."""

    def __init__(self, pid: int) -> None:
        """Raises ForgeError if there is no such process, it belongs to somebody else, or we are part of it."""
        try:
            self._process = psutil.Process(pid)
            os.kill(pid, 0)
        except (psutil.Error, OSError, OverflowError) as error:
            raise ForgeError(f"--attach {pid}: there is no process of yours with that id.") from error
        if self._process in [psutil.Process(), *psutil.Process().parents()]:
            raise ForgeError(f"--attach {pid}: watch itself was started by that process, and would end with it.")
        self.pid = pid

    def ended(self) -> int | None:
        """Return 0 once it has ended."""
        with contextlib.suppress(psutil.Error):
            if self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE:
                return None
        return 0

    def send(self, number: int) -> None:
        """Send a signal to it, unless it has ended."""
        with contextlib.suppress(psutil.Error):
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it and its descendants by force."""
        with contextlib.suppress(psutil.Error):
            for process in [*self._process.children(recursive=True), self._process]:
                with contextlib.suppress(psutil.Error):
                    process.kill()

    def last_output(self) -> list[str]:
        """Return nothing: its output goes elsewhere."""
        return []

    def command(self) -> list[str]:
        """Return its command line."""
        try:
            return list(self._process.cmdline())
        except psutil.Error:
            return []

    def watch_folder(self) -> Path | None:
        """Return the folder in which its processes tell how they do, if it was started with one."""
        try:
            text = self._process.environ().get("OTEL_FORGE_WATCH_DIR", "")
        except psutil.Error:
            return None
        return Path(text) if text and Path(text).is_dir() else None


def end_process(pid: int, born: float, grace: float, pause: Pause) -> None:
    """End one process of the app: SIGTERM, `grace` seconds, SIGKILL. Its parent takes its exit code.

    Nothing is done to a process that was not born then (Unix time): it only has the same id.
    """
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.create_time() != born:
            return
        process.terminate()
        if not _gone_within(lambda: not _is_alive(process), grace, pause):
            process.kill()


def end_app(app: App, grace: float, pause: Pause) -> None:
    """End all of the app: SIGTERM to its first process, `grace` seconds, SIGKILL to what is left."""
    app.send(signal.SIGTERM)
    _gone_within(lambda: app.ended() is not None, grace, pause)
    app.kill()


def reap_orphans(own: int | None) -> None:
    """Take the exit codes of all children that have ended but `own`.

    For the first process of a container, to which all orphans come, and stay as zombies where it does not do that.
    """
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == own:
                return
            os.waitpid(ended.si_pid, 0)


def _gone_within(is_gone: Callable[[], bool], grace: float, pause: Pause) -> bool:
    """Wait until it is gone; return whether that was in time. Every wait is short: others' children send no news."""
    left = grace
    while not is_gone():
        if left <= 0:
            return False
        step = min(left, 0.1)
        pause(step)
        left -= step
    return True


def _is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _write_all(target: int, chunk: bytes) -> None:
    while chunk:
        chunk = chunk[os.write(target, chunk) :]
