"""A service of several gunicorns, a load balancer in front of it that goes by their readiness, and users.

The balancer asks each instance for its readiness twenty times a second and sends requests to those that are ready, in
turn. It tries another one only where no connection could be made, as one may with any request: what was sent may have
been done. Everything else that does not end in a 200 has failed.
"""

from __future__ import annotations

import http.client
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from typing import Any

from tests.otlp_receiver import free_port
from tests.programs import BIN, Program, Programs

CHECKOUT = Path(__file__).resolve().parents[2]
_ASKED_EVERY = 0.05


class Instance:
    """One gunicorn with workers of a kind; its port stays the same over restarts."""

    def __init__(
        self,
        programs: Programs,
        kind: str,
        *,
        bin_folder: Path = BIN,
        options: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._programs = programs
        threads = ("--threads=8",) if kind == "gthread" else ()
        self._command = (
            str(bin_folder / "python"), "-m", "gunicorn", f"--bind=127.0.0.1:{self.port}", f"--worker-class={kind}",
            "--no-control-socket", "--graceful-timeout=20", "--log-level=warning", *threads, *options,
            "tests.health.app:app",
        )  # fmt: skip
        self._environ = {"PYTHONPATH": str(CHECKOUT), **(environ or {})}
        self._program: Program | None = None

    def start(self) -> None:
        """Start it."""
        self._program = self._programs.start(*self._command, **self._environ)

    def signal(self, number: int) -> None:
        """Send its master a signal."""
        if self._program is not None:
            self._program.process.send_signal(number)

    def end(self, timeout: float = 40) -> int:
        """End it as a deployment does, with SIGTERM; return its exit status."""
        self.signal(signal.SIGTERM)
        return self._program.wait(timeout) if self._program else 0

    def wait_until_it_said(self, text: str) -> None:
        """Wait until it wrote `text` to standard error, or anywhere."""
        if self._program is not None:
            self._program.wait_for_output(text, 60)

    @property
    def said(self) -> str:
        """What it wrote to standard error."""
        return self._program.err if self._program else ""

    def ask(self, path: str, timeout: float = 20) -> tuple[int, str]:
        """Return status and text of one request on a connection of its own. Raises OSError or HTTPException."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.connect()
        except OSError as error:
            raise NotConnected from error
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


class NotConnected(Exception):
    """No connection could be made: nothing was sent."""


class Balancer(AbstractContextManager["Balancer"]):
    """Sends requests to the instances that say that they are ready; `failures` holds what went wrong."""

    def __init__(self, instances: list[Instance]) -> None:
        self._ready = dict.fromkeys(instances, False)
        self._turn = count()
        self._over = threading.Event()
        self.succeeded = 0
        self.tried_elsewhere = 0
        self.failures: list[str] = []
        self._counting = threading.Lock()
        self._threads = [threading.Thread(target=self._look_at, args=(one,), daemon=True) for one in instances]
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def is_ready(self, instance: Instance) -> bool:
        """Return whether it takes requests, as far as is known."""
        return self._ready[instance]

    def wait_until_ready(self, instance: Instance, timeout: float = 60) -> None:
        """Wait until requests are sent to it."""
        deadline = time.monotonic() + timeout
        while not self._ready[instance]:
            assert time.monotonic() < deadline, f"it did not become ready: {instance.said}"
            time.sleep(0.02)

    def send(self, path: str) -> None:
        """Send one request, and count what comes of it."""
        for instance in self._candidates():
            try:
                status, _ = instance.ask(path)
            except NotConnected:
                self._ready[instance] = False
                self._count("tried_elsewhere")
                continue
            except (OSError, http.client.HTTPException) as error:
                self._fail(f"{type(error).__name__}: {error}")
                return
            if status == 200:
                self._count("succeeded")
            else:
                self._fail(f"status {status}")
            return

    def _candidates(self) -> Iterator[Instance]:
        """Yield ready instances, in turn, for ten seconds at the most."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            ready = [instance for instance, is_ready in self._ready.items() if is_ready]
            if ready:
                yield ready[next(self._turn) % len(ready)]
            else:
                time.sleep(0.01)
        self._fail("no instance was ready for ten seconds")

    def _look_at(self, instance: Instance) -> None:
        while not self._over.wait(_ASKED_EVERY):
            try:
                self._ready[instance] = instance.ask("/ready", timeout=5)[0] == 200
            except (NotConnected, OSError, http.client.HTTPException):
                self._ready[instance] = False

    def _count(self, name: str) -> None:
        with self._counting:
            setattr(self, name, getattr(self, name) + 1)

    def _fail(self, why: str) -> None:
        with self._counting:
            self.failures.append(why)


class Users(AbstractContextManager["Users"]):
    """Send requests as fast as they are answered, most of them short, some long, until they are told to stop."""

    def __init__(self, balancer: Balancer, number: int = 4) -> None:
        self._balancer = balancer
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._use, args=(user,), daemon=True) for user in range(number)]

    def __enter__(self) -> Users:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _use(self, user: int) -> None:
        for number in count(user):
            if self._over.is_set():
                return
            self._balancer.send(f"/work?ms={400 if number % 10 == 0 else 10}")


def roll(instances: list[Instance], balancer: Balancer, restarts: int) -> None:
    """Restart one instance after the other, `restarts` times in all, each when the last one is ready again."""
    for number in range(restarts):
        instance: Any = instances[number % len(instances)]
        status = instance.end()
        assert status == 0, f"it ended with status {status}: {instance.said}"
        instance.start()
        balancer.wait_until_ready(instance)
