"""The monitor and a real server with a sick app, as a user starts them; and clients that make it sick."""

from __future__ import annotations

import contextlib
import http.client
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.otlp_receiver import free_port
from tests.programs import Program, Programs

CHECKOUT = Path(__file__).resolve().parents[2]
QUICK = ("--interval", "0.2", "--patience", "3", "--probe-timeout", "1", "--grace", "2")
"""Options with which sickness is found out about seven times as fast as by default."""


def watch(programs: Programs, *words: str, **environ: str) -> Program:
    """Start ``otel-forge watch`` with these words, without telemetry unless `environ` says so."""
    own = {
        "PYTHONPATH": str(CHECKOUT),
        "OTEL_SDK_DISABLED": "true",
        "OTEL_SERVICE_NAME": "sick",
        "OTEL_FORGE_STATE_DIR": str(programs.folder / "state"),
        "OTEL_FORGE_WATCH_FIRST_DELAY": "0.1",
        "OTEL_FORGE_STARTUP_LINE": "false",
    }
    return programs.start(sys.executable, "-m", "otel_forge.cli", "watch", *words, **{**own, **environ})


class SickServer:
    """A gunicorn with the sick app under the monitor."""

    def __init__(
        self,
        programs: Programs,
        *gunicorn: str,
        options: tuple[str, ...] = QUICK,
        probe: str = "/live",
        program: str = "gunicorn",
    ) -> None:
        self.folder = programs.folder
        self.port = free_port()
        probing = ("--live-url", f"http://127.0.0.1:{self.port}{probe}") if probe else ()
        self.monitor = watch(
            programs, *options, *probing, "--", program, "--bind", f"127.0.0.1:{self.port}", "--no-control-socket",
            "--access-logfile", "-", *gunicorn, "tests.monitor.sick_app:app",
        )  # fmt: skip
        self._pool = ThreadPoolExecutor(16)
        self.pid()

    def get(self, path: str, timeout: float = 1.0) -> str:
        """Return the text of an answer; empty if none comes in time."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", path, headers={"Connection": "close"})
            return connection.getresponse().read().decode()
        return ""

    def send(self, path: str, times: int = 1, timeout: float = 60.0) -> None:
        """Send requests without waiting for the answers."""
        for _ in range(times):
            self._pool.submit(self.get, path, timeout)

    def pid(self, timeout: float = 40.0) -> int:
        """Return the process that answers, as soon as one does."""
        return int(self.until(lambda: self.get("/pid"), timeout))

    def until(self, condition: Callable[[], str], timeout: float) -> str:
        """Return what `condition` says as soon as it says something; fail after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not (said := condition()):
            assert time.monotonic() < deadline, f"not within {timeout} s: {self.monitor.out}{self.monitor.err}"
            time.sleep(0.05)
        return said

    def another_pid_than(self, *pids: int, timeout: float = 40.0) -> int:
        """Return the process that answers as soon as it is none of `pids`."""

        def other() -> str:
            pid = self.get("/pid")
            return pid if pid and int(pid) not in pids else ""

        return int(self.until(other, timeout))

    def until_probed(self) -> None:
        """Wait for an answer to the probe: before the first the app only counts as starting."""
        self.monitor.wait_for_output('"otel-forge-watch"')

    def incidents(self) -> list[Path]:
        """Return the folders of all incidents, the oldest first."""
        return incidents_in(self.folder)

    def restarts(self) -> list[str]:
        """Return the lines that tell of restarts."""
        return [line for line in self.monitor.notices() if line.startswith("watch: restarting ")]

    def close(self) -> None:
        """End the monitor, and with it the server."""
        self.monitor.end()
        self._pool.shutdown(wait=False, cancel_futures=True)


def incidents_in(folder: Path) -> list[Path]:
    """Return the folders of all incidents under the state folder of a test."""
    return sorted((folder / "state" / "watch").glob("*/incidents/*"))
