"""Real servers in an environment of their own, and clients that send them numbered requests."""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from benchmarks.environments import CannotInstall, cache_folder, environment
from benchmarks.variants import Variant
from tests.conftest import missing
from tests.delivery.test_faults import quick_settings
from tests.numbered import NumberedReceiver
from tests.otlp_receiver import free_port
from tests.programs import Program, Programs

CHECKOUT = Path(__file__).resolve().parents[2]
SERVERS = Variant(
    "servers",
    packages=("--editable", "{checkout}", "celery==5.7.0", "gevent==26.9.0", "greenlet==3.5.6", "uwsgi==2.0.31"),
    freed=("greenlet",),
)
"""What the development environment can't hold: httpbin wants an old greenlet, and uWSGI is compiled (once)."""


def bin_of_servers() -> Path:
    """Return the folder with gunicorn, uwsgi and celery; made once and kept in the user's cache."""
    try:
        return environment(SERVERS, cache_folder(os.environ), CHECKOUT)
    except CannotInstall as error:
        missing(f"an environment with gevent, uWSGI and Celery ({error})")
        raise


class Running(AbstractContextManager["Running"]):
    """A server under opentelemetry-instrument, and the receiver of all that it sends."""

    def __init__(self, bin_folder: Path, folder: Path, *, url: str = "", **environ: str) -> None:
        self._stack = ExitStack()
        self._bin = bin_folder
        self._folder = folder
        self._programs = self._stack.enter_context(Programs(folder))
        self.receiver = self._stack.enter_context(NumberedReceiver())
        self.port = free_port()
        self.environ = {
            "PYTHONPATH": str(CHECKOUT),
            "PATH": f"{bin_folder}{os.pathsep}{os.environ.get('PATH', '')}",
            "OTEL_SERVICE_NAME": "numbered",
            "OTEL_EXPORTER_OTLP_ENDPOINT": url or self.receiver.url,
            **quick_settings(folder),
            **environ,
        }

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, *command: str, **environ: str) -> Program:
        """Run a program of the servers' environment under opentelemetry-instrument."""
        launcher, program = str(self._bin / "opentelemetry-instrument"), str(self._bin / command[0])
        return self._programs.start(launcher, program, *command[1:], **{**self.environ, **environ})

    def gunicorn(self, *options: str) -> Program:
        """Start gunicorn, and return when it accepts connections."""
        bind = f"--bind=127.0.0.1:{self.port}"
        server = self.start("gunicorn", bind, "--no-control-socket", *options, "tests.processes.app:app")
        return self._when_listening(server)

    def uwsgi(self, *options: str) -> Program:
        """Start uWSGI, and return when it accepts connections."""
        address = f"127.0.0.1:{self.port}"
        home = str(self._bin.parent)
        server = self.start(
            "uwsgi", "--http-socket", address, "--master", "--home", home, "--die-on-term", "--need-app", "--wsgi",
            "tests.processes.app:app", "--worker-reload-mercy", "10", *options,
        )  # fmt: skip
        return self._when_listening(server)

    def _when_listening(self, server: Program) -> Program:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and server.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return server
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"the server did not start: {server.out}{server.err}")

    def ask(self, numbers: Iterable[int], clients: int = 4) -> dict[int, int]:
        """Send a request of each number; return which process answered each of those that were answered."""
        with ThreadPoolExecutor(clients) as pool:
            answers = pool.map(self._one, wanted := list(numbers))
            return {number: pid for number, pid in zip(wanted, answers, strict=True) if pid}

    def _one(self, number: int) -> int:
        status, text = self.get(f"/number/{number}")
        return int(text) if status == 200 else 0

    def get(self, path: str, timeout: float = 20) -> tuple[int, str]:
        """Return status and text of one request; status 0 if the connection broke."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()
