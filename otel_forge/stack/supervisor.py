"""The supervisor: a detached process that owns a state folder and keeps the planned processes running.

Started by `otel_forge.stack.native` as `python -m otel_forge.stack.supervisor --state-dir FOLDER` with a
plan in `FOLDER/plan.json`. It holds the folder's lock for as long as it lives, starts what is planned in
order of dependency, gives up as a whole when something does not come up the first time, restarts what dies
later, and stops everything in reverse order on SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from otel_forge.errors import StackError
from otel_forge.stack import control
from otel_forge.stack.process import Policy, ProcessSpec, SupervisedProcess
from otel_forge.stack.state import ProcessIdentity, StackState, StateFolder, lock_within, write_atomically

EXIT_OWNED = 75  # EX_TEMPFAIL: somebody else owns the state folder


@dataclass(frozen=True)
class Plan:
    """What one supervisor is to run."""

    processes: list[ProcessSpec]
    policy: Policy = field(default_factory=Policy)
    version: str = ""
    config: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    retention: dict[str, str] = field(default_factory=dict)
    lane: str = ""

    def to_json(self) -> str:
        """Return the text of the plan file."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read the text of a plan file."""
        document = json.loads(text)
        processes = [ProcessSpec(**spec) for spec in document.pop("processes")]
        return cls(processes=processes, policy=Policy(**document.pop("policy")), **document)


class Supervisor:
    """Runs one plan from the first start to the last stop."""

    def __init__(self, folder: StateFolder, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        self.processes = {
            spec.name: SupervisedProcess(spec, plan.policy, folder.log_file(spec.name), self._publish)
            for spec in plan.processes
        }
        me = ProcessIdentity.of(os.getpid())
        self.state = StackState(
            engine="native",
            status="starting",
            version=plan.version,
            pid=me.pid,
            create_time=me.create_time,
            started=time.time(),
            config=plan.config,
            ports=dict(plan.ports),
            retention=dict(plan.retention),
            lane=plan.lane,
            components={name: process.state for name, process in self.processes.items()},
        )
        self._said: dict[str, str] = {}
        self._stopping = asyncio.Event()
        self._commands = asyncio.Lock()

    async def run(self) -> int:
        """Start everything, wait for the signal to stop, stop everything; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        self._publish()
        server = await control.serve(self.folder.socket, self._obey)
        try:
            failure = await self._start_all()
            if failure:
                say(failure)
            else:
                await self._stopping.wait()
        finally:
            server.close()
        await self._stop_all()
        self._finish(failure)
        return 1 if failure else 0

    async def _start_all(self) -> str:
        """Start everything in order; return why that failed, or nothing (also when told to stop meanwhile)."""
        try:
            done = await self._unless_stopped(self._in_order(list(self.processes), self._after(), self._start))
        except StackError as error:
            return str(error)
        if done:
            self.state.status = "running"
            self._publish()
            say("everything is ready")
        return ""

    async def _stop_all(self) -> None:
        self.state.status = "stopping"
        self._publish()
        async with self._commands:
            await self._in_order(list(self.processes), self._before(), self._stop)

    def _finish(self, failure: str) -> None:
        self.state.status = "failed" if failure else "stopped"
        self.state.error = failure
        self._publish()
        for path in (self.folder.socket, self.folder.plan_file):
            path.unlink(missing_ok=True)
        say("stopped")

    async def _start(self, name: str) -> None:
        say(f"starting {name}")
        await self.processes[name].start()

    async def _stop(self, name: str) -> None:
        say(f"stopping {name}")
        await self.processes[name].stop()

    def _after(self) -> dict[str, list[str]]:
        """Return what each component's start waits for."""
        return {name: list(process.spec.after) for name, process in self.processes.items()}

    def _before(self) -> dict[str, list[str]]:
        """Return what each component's stop waits for: all that needs it."""
        needs = self._after()
        return {name: [other for other in needs if name in needs[other]] for name in needs}

    async def _in_order(
        self, names: Sequence[str], waits_for: Mapping[str, Sequence[str]], act: Callable[[str], Awaitable[None]]
    ) -> None:
        """Act on every name once those it waits for are done, the independent ones at the same time."""
        tasks: dict[str, asyncio.Task[None]] = {}

        async def one(name: str) -> None:
            earlier = [tasks[other] for other in waits_for[name] if other in tasks]
            if earlier:
                await asyncio.wait(earlier)
                if any(task.cancelled() or task.exception() for task in earlier):
                    raise asyncio.CancelledError
            await act(name)

        tasks.update({name: asyncio.create_task(one(name)) for name in names})
        try:
            done, _ = await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.wait(tasks.values())
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _obey(self, command: dict[str, Any]) -> None:
        """Carry out one command from the control socket; raise StackError with the reason when that fails."""
        if command.get("do") == "ping":
            return
        if command.get("do") != "restart":
            raise StackError(f"The supervisor knows no command {command.get('do')!r}.")
        names = [str(name) for name in command.get("names", [])] or list(self.processes)
        unknown = [name for name in names if name not in self.processes]
        if unknown:
            raise StackError(f"{', '.join(unknown)} does not run here; what runs is {', '.join(self.processes)}.")
        await self._restart(names)

    async def _restart(self, names: list[str]) -> None:
        if self.state.status != "running":
            raise StackError(f"The stack is {self.state.status}; nothing was restarted.")
        failures: list[str] = []

        async def start(name: str) -> None:
            say(f"starting {name} again")
            try:
                await self.processes[name].start(keep_trying=True)
            except StackError as error:
                failures.append(str(error))

        async with self._commands:
            await self._in_order(names, self._before(), self._stop)
            if not await self._unless_stopped(self._in_order(names, self._after(), start)):
                raise StackError("The stack was told to stop meanwhile.")
        if failures:
            raise StackError("\n".join(failures))

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do the work, or drop it when the signal to stop comes first; tell whether it was done."""
        task = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
            return False
        await task
        return True

    def _publish(self) -> None:
        for name, component in self.state.components.items():
            line = f"{name} is {component.status}" + (f": {component.detail}" if component.detail else "")
            if self._said.get(name) != line and component.status in ("restarting", "failed", "ready"):
                say(line)
            self._said[name] = line
        try:
            self.folder.write(self.state)
        except OSError as error:  # a full disk must not end what we watch
            say(f"cannot write {self.folder.state_file}: {error}")


def say(message: str) -> None:
    """Write one line to the supervisor's own log, which is its standard error."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{stamp} {message}\n")
        sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the folder's lock, let the starter go on, and supervise until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m otel_forge.stack.supervisor")
    parser.add_argument("--state-dir", required=True, type=Path)
    folder = StateFolder(parser.parse_args(arguments).state_dir)
    # Not to be inherited by what we start: the lock must go when we go.
    lock = os.open(folder.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not lock_within(lock, 2.0):
        say(f"{folder.path} is owned by another supervisor")
        return EXIT_OWNED
    plan = Plan.from_json(folder.plan_file.read_text(encoding="utf-8"))
    if os.fork():  # the starter waits for this process only; the lock lives on in the child
        os._exit(0)
    identity = asdict(ProcessIdentity.of(os.getpid()))
    write_in_place(lock, json.dumps(identity))
    folder.write(
        StackState(engine="native", status="starting", started=time.time(), ports=dict(plan.ports), **identity)
    )
    return asyncio.run(_supervise(folder, plan))


async def _supervise(folder: StateFolder, plan: Plan) -> int:
    return await Supervisor(folder, plan).run()


def write_in_place(descriptor: int, text: str) -> None:
    """Replace the content of an open file: one that carries a lock must not be replaced itself."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def write_plan(folder: StateFolder, plan: Plan) -> None:
    """Leave a plan for the supervisor that is about to start."""
    write_atomically(folder.plan_file, plan.to_json())


if __name__ == "__main__":
    sys.exit(main())
