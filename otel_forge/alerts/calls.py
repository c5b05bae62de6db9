"""Calls of conditions and actions: each on a thread of its own, waited for until its timeout and no longer.

Nothing can end a Python thread that hangs; so there is never more than one for each name, and while it hangs no other
is started: a hung condition is a timeout at each evaluation, and costs one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from itertools import islice
from threading import Event
from typing import Any

from otel_forge.health.attempts import awaited, start_thread
from otel_forge.logs.values import plain_text
from otel_forge.sdk.current import suppress_in_this_thread

AT_A_TIME = 8
"""How many calls of one round run at the same time, not counting those that hang since an earlier one."""

TIMEOUT = "timeout"


@dataclass(frozen=True)
class Job:
    """A function to call; `quiet` lets it make no telemetry."""

    function: Callable[[], Any]
    timeout: float
    quiet: bool = True


@dataclass(frozen=True)
class Answer:
    """What a call returned; `problem` says why there is nothing: `TIMEOUT`, or the exception."""

    value: Any = None
    problem: str = ""


class _Call:
    """A call on its way."""

    def __init__(self, name: str, job: Job) -> None:
        self._job = job
        self._over = Event()
        self._answer = Answer()
        self._deadline = time.monotonic() + job.timeout
        try:
            start_thread(self._run, f"otel-forge alert {name}")
        except RuntimeError as error:  # no thread to be had
            self._answer = Answer(problem=str(error))
            self._over.set()

    def _run(self) -> None:
        try:
            if self._job.quiet:
                suppress_in_this_thread()
            value = self._job.function()
            self._answer = Answer(awaited(value, self._job.timeout) if isawaitable(value) else value)
        except TimeoutError:
            self._answer = Answer(problem=TIMEOUT)
        except BaseException as error:  # noqa: BLE001 - the application's function may raise whatever it likes
            self._answer = Answer(problem=in_words(error))
        self._over.set()

    @property
    def is_over(self) -> bool:
        """Whether the thread came back."""
        return self._over.is_set()

    def answer(self) -> Answer:
        """Return the answer as soon as there is one, a timeout at the deadline."""
        is_over = self._over.wait(max(0.0, self._deadline - time.monotonic()))
        return self._answer if is_over else Answer(problem=TIMEOUT)


class Calls:
    """Makes the calls of one process, for one thread that asks for them."""

    def __init__(self) -> None:
        self._hung: dict[str, _Call] = {}

    def make(self, jobs: Mapping[str, Job]) -> dict[str, Answer]:
        """Return the answer of each job by its name, after the longest timeouts at the latest."""
        self._hung = {name: call for name, call in self._hung.items() if not call.is_over}
        answers = {name: Answer(problem=TIMEOUT) for name in jobs if name in self._hung}
        waiting = iter([name for name in jobs if name not in self._hung])
        while names := list(islice(waiting, AT_A_TIME)):
            answers |= self._together(names, jobs)
        return answers

    @property
    def hung(self) -> int:
        """How many calls have not come back."""
        return sum(not call.is_over for call in self._hung.values())

    def _together(self, names: Sequence[str], jobs: Mapping[str, Job]) -> dict[str, Answer]:
        calls = {name: _Call(name, jobs[name]) for name in names}
        answers = {name: call.answer() for name, call in calls.items()}
        self._hung |= {name: call for name, call in calls.items() if not call.is_over}
        return answers


def in_words(error: BaseException) -> str:
    """Return what an exception says in one line, secrets included. Never raises."""
    text = " ".join(plain_text(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
