"""A stack of small real processes under the real supervisor, for tests that need to see what becomes of them."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
import requests

from otel_forge.stack.lifecycle import run_plan, stop
from otel_forge.stack.ports import is_free
from otel_forge.stack.process import Policy, ProcessSpec
from otel_forge.stack.state import ComponentState, StackState, StateFolder
from otel_forge.stack.supervisor import Plan

SERVER = Path(__file__).with_name("small_server.py")
PROJECT = Path(__file__).resolve().parents[2]
QUICK = Policy(ready_timeout=20, first_delay=0.1, longest_delay=0.4, stable_after=30, failed_after=3, slow_delay=0.6)

Value = TypeVar("Value")


_given: set[int] = set()


def free_port() -> int:
    """Return a port that nobody listens on now, another one with each call.

    It is of no system's range for outgoing connections, so none of those takes it before the test does.
    """
    while True:
        number = random.randint(20_000, 32_000)
        if number not in _given and is_free(number):
            _given.add(number)
            return number


def wait_for(what: Callable[[], Value], timeout: float = 15.0) -> Value:
    """Return the first true answer of `what`, or fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        if value := what():
            return value
        assert time.monotonic() < deadline, f"waited {timeout} s in vain for {what}"
        time.sleep(0.02)


@dataclass
class Bench:
    """One state folder with its supervisor and processes, cleaned up at the end of the test."""

    home: Path
    ports: dict[str, int] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @property
    def folder(self) -> StateFolder:
        """The state folder."""
        return StateFolder(self.home / "state")

    def spec(self, name: str, *options: str, after: tuple[str, ...] = (), grace: float = 5.0) -> ProcessSpec:
        """Return the spec of a small server on a free port of its own."""
        port = self.ports.setdefault(name, free_port())
        return ProcessSpec(
            name=name,
            argv=[sys.executable, "-ES", str(SERVER), "--home", str(self.home), "--name", name]
            + ["--port", str(port), *options],
            ready=f"http://127.0.0.1:{port}/ready",
            after=list(after),
            stop_grace=grace,
        )

    def up(self, *specs: ProcessSpec, policy: Policy = QUICK) -> None:
        """Start these processes under a supervisor and wait until they are ready."""
        self.folder.create()
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        run_plan(self.folder, Plan(list(specs), policy), environment, self.said.append)

    def down(self) -> bool:
        """Stop everything."""
        return stop(self.folder, self.said.append)

    def ask(self, name: str, path: str) -> None:
        """Send a request to one of the servers; one that ends on it need not answer."""
        try:
            requests.get(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=10)
        except requests.ConnectionError:
            assert path == "/crash"

    def state(self) -> StackState:
        """Return what the state file says."""
        state = self.folder.read()
        assert state is not None
        return state

    def component(self, name: str) -> ComponentState:
        """Return what the state file says of one component."""
        return self.state().components[name]

    def supervisor(self) -> psutil.Process:
        """Return the supervisor's process."""
        owner = self.folder.owner()
        assert owner is not None
        return psutil.Process(owner.pid)

    def events(self, kind: str) -> list[str]:
        """Return the names of those that had an event of this kind, in the order of time."""
        lines = (self.home / "events").read_text().splitlines()
        return [name for _, event, name in sorted(line.split(" ") for line in lines) if event == kind]

    def survivors(self) -> list[psutil.Process]:
        """Return every living process that this test has started."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = str(self.home) in process.cmdline() or str(self.folder.path) in process.cmdline()
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def close(self) -> None:
        """Leave nothing running, however the test ended."""
        stop(self.folder, self.said.append)
        for process in self.survivors():
            process.kill()
