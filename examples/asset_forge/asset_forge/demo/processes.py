"""Starting services, waiting until they answer, and stopping them, always by process id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from asset_forge.demo.services import DemoError, Service
from asset_forge.traffic import Address, Request, send

START_S = 60.0
STOP_S = 15.0
POLL_S = 0.1


class Child:
    """One started service; it dies with this process."""

    def __init__(self, service: Service, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        """Start the service. Call from the main thread: the kernel ties the child to the starting thread."""
        self.service = service
        self.log = log
        leash = [sys.executable, "-m", "asset_forge.demo.leash", str(os.getpid())]
        with log.open("ab") as output:
            # A session of its own keeps Ctrl-C away from it, so that it is stopped in order.
            self._process = subprocess.Popen(
                [*leash, *command],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id of the service (of gunicorn's arbiter)."""
        return self._process.pid

    def ended(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.poll()

    def wait_until_it_answers(self, stop: threading.Event) -> int:
        """Ask its health route until an answer comes; returns how many of these requests it may have seen.

        Raises DemoError when it ends or does not answer in a minute.
        """
        seen = 0
        address = Address("127.0.0.1", self.service.port)
        request = Request("GET", self.service.health, self.service.health)
        deadline = time.monotonic() + START_S
        while not stop.wait(POLL_S):
            if self.ended() is not None:
                raise DemoError(f"The {self.service.label} ended while starting.\n{tail(self.log)}")
            outcome = send(address, request, START_S)
            if outcome.failure != "not_sent":
                seen += 1
            if outcome.status is not None:
                break
            if time.monotonic() > deadline:
                raise DemoError(f"The {self.service.label} does not answer.\n{tail(self.log)}")
        return seen

    def terminate(self) -> None:
        """Ask it to end."""
        if self.ended() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, deadline: float) -> None:
        """Wait for its end until a time.monotonic() deadline, then kill it and its workers."""
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # the session is its own; we made it
            self._process.wait()


def stop_all(children: Sequence[Child]) -> None:
    """Stop services, first the last started, which calls the others; each has ended when this returns."""
    for group in (children[-1:], children[:-1]):
        for child in group:
            child.terminate()
        deadline = time.monotonic() + STOP_S
        for child in group:
            child.wait(deadline)


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log."""
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join([f"The end of {log}:", *text.splitlines()[-lines:]])


def check_ports(services: Sequence[Service]) -> None:
    """Raise DemoError, naming port, holder and option, if a service's port is taken."""
    for service in services:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", service.port))
            except OSError as error:
                raise DemoError(
                    f"Port {service.port} for the {service.label} is taken by {holder(service.port)}. "
                    f"Stop that, or choose another port with {service.port_option}."
                ) from error


def holder(port: int) -> str:
    """Name the process that listens on a port, as well as we may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if listens and connection.pid is not None:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return "another process"
