"""Calls of conditions: bounded in time and threads, whatever they do."""

from __future__ import annotations

import asyncio
import threading
import time
from threading import Event
from typing import Any

import pytest

from otel_forge.alerts.calls import AT_A_TIME, TIMEOUT, Answer, Calls, Job
from otel_forge.instruments.spans import is_suppressed
from otel_forge.sdk.current import current_context
from tests.delivery.scripted import eventually


def call(function: Any, timeout: float = 10.0) -> Answer:
    return Calls().make({"one": Job(function, timeout)})["one"]


async def later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


def test_a_function_is_called() -> None:
    """Sync or async, or one that returns a coroutine."""
    assert call(lambda: True) == Answer(True)
    assert call(lambda: later(False)) == Answer(False)


class Unprintable(Exception):
    """An exception of an application that is wrong itself."""

    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(3), KeyboardInterrupt(), Unprintable()])
def test_what_it_raises_is_a_problem(error: BaseException) -> None:
    """Even what would end a program, or cannot be printed."""

    def condition() -> bool:
        raise error

    assert call(condition).problem.startswith(type(error).__name__)


def test_a_coroutine_that_hangs_is_cancelled() -> None:
    """Nothing of it is left."""
    cancelled = Event()

    async def hanging() -> bool:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return True

    calls = Calls()
    assert calls.make({"one": Job(hanging, 0.05)})["one"].problem == TIMEOUT
    assert cancelled.wait(10)
    eventually(lambda: calls.hung == 0)


def test_a_function_that_hangs_is_a_timeout_and_one_thread() -> None:
    """However often it is evaluated; and it is asked again once it has come back."""
    release, asked = Event(), []

    def condition() -> bool:
        asked.append(1)
        return release.wait(60)

    calls, before = Calls(), threading.active_count()
    for _ in range(20):
        assert calls.make({"one": Job(condition, 0.02)})["one"].problem == TIMEOUT
    assert (len(asked), calls.hung) == (1, 1)
    assert threading.active_count() <= before + 1
    release.set()
    eventually(lambda: calls.make({"one": Job(condition, 1.0)})["one"] == Answer(True))


def test_many_rules_share_few_threads() -> None:
    """And some that hang do not keep the others from being asked."""
    release, running, most = Event(), [], []

    def condition() -> bool:
        running.append(1)
        most.append(len(running))
        time.sleep(0.001)
        running.pop()
        return True

    jobs = {f"rule {number}": Job(condition, 5.0) for number in range(60)}
    jobs["hung"] = Job(lambda: release.wait(60), 0.05)
    answers = Calls().make(jobs)
    release.set()
    assert answers.pop("hung").problem == TIMEOUT
    assert set(answers.values()) == {Answer(True)}
    assert max(most) <= AT_A_TIME


def test_a_condition_makes_no_telemetry_and_an_action_may() -> None:
    """A rule that is evaluated every minute for ever would fill the store with spans that nobody asked for."""

    def suppressed() -> bool:
        return is_suppressed(current_context())

    assert call(suppressed) == Answer(True)
    assert Calls().make({"one": Job(suppressed, 5.0, quiet=False)})["one"] == Answer(False)
