"""Registering checks, and what is known of them while they hang, fail and come back: with real threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from otel_forge import health
from otel_forge.health.background import LOST_AFTER, Background
from otel_forge.health.checks import MOST_CHECKS
from otel_forge.health.results import FAIL, PASS, WARN, Result
from tests.health.build import Clock, build_checks, wait_for


class Hung:
    """A check that hangs until it is released; counts its calls and those under way."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        self.release.wait(60)


@pytest.fixture
def hung() -> Iterator[Hung]:
    found = Hung()
    yield found
    found.release.set()


def health_threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("otel-forge health"))


def test_nothing_runs_before_it_is_started() -> None:
    """Registering starts no thread: the process may fork yet."""
    before = health_threads()
    checks = build_checks()
    checks.check("database", lambda: None)
    assert health_threads() == before
    assert checks.status() == FAIL and not checks.has_started() and checks.required_down() == ()


def test_checks_of_all_kinds_become_known() -> None:
    """Decorated, async, required or not; the worst of them is how it stands."""
    checks = build_checks()
    assert (checks.status(), checks.has_started()) == (PASS, True), "nothing to look at is well"

    @checks.check("decorated")
    def decorated() -> bool:
        return True

    @checks.check("coroutine", required=False)
    async def coroutine() -> Result:
        return Result(WARN, "nearly full")

    assert decorated() is True, "the function is what it was"
    checks.start()
    wait_for(lambda: checks.status() == WARN)
    checks.check("later", lambda: False)
    wait_for(lambda: checks.required_down() == ("later",))
    assert checks.status() == FAIL and not checks.has_started()
    checks.remove("later")
    assert checks.status() == WARN and list(checks.known()) == ["decorated", "coroutine"]


def test_what_is_down_is_told_by_name() -> None:
    """All that is ill, and what of it is required."""
    checks = build_checks()
    checks.check("required", lambda: False)
    checks.check("optional", lambda: False, required=False)
    checks.check("well", lambda: True)
    assert checks.down() == ()
    checks.start()
    wait_for(lambda: checks.down() == ("required", "optional"))
    assert checks.required_down() == ("required",)


def test_a_second_check_of_the_same_name_takes_the_place_of_the_first() -> None:
    """Application factories run more than once in a process."""
    checks = build_checks()
    checks.check("database", lambda: False)
    checks.check("database", lambda: True)
    checks.start()
    wait_for(lambda: checks.status() == PASS)


@pytest.mark.gate
def test_hung_checks_cost_a_thread_each_and_no_more(hung: Hung) -> None:
    """H2: however often they are due, each is called once; the others go on."""
    checks, elsewhere = build_checks(), len(health_threads())
    for number in range(5):
        checks.check(f"hung_{number}", hung)
    checks.check("well", lambda: None)
    checks.start()
    wait_for(lambda: len(checks.required_down()) == 5)
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        assert len(health_threads()) - elsewhere <= 6 + 1
        time.sleep(0.01)
    assert hung.calls == 5
    assert checks.known()["well"][1].status == PASS
    hung.release.set()
    wait_for(lambda: checks.status() == PASS)


def test_a_check_that_raises_into_nowhere_costs_the_others_nothing() -> None:
    """Each call is on a thread of its own."""
    checks = build_checks()

    @checks.check("broken")
    def broken() -> None:
        raise SystemExit

    checks.check("well", lambda: None)
    checks.start()
    wait_for(lambda: checks.known()["well"][1].status == PASS and checks.required_down() == ("broken",))


@pytest.mark.parametrize(
    ("name", "function", "options", "error", "text"),
    [
        ("", print, {}, ValueError, "'' is no name for a check"),
        ("image server", print, {}, ValueError, "'image server' is no name for a check"),
        ("x", "select 1", {}, TypeError, "The check 'x' needs a function, not 'str'."),
        ("x", print, {"timeout": 0}, ValueError, "timeout=0 of the check 'x' is not a number of seconds above 0."),
        ("x", print, {"interval": float("inf")}, ValueError, "interval=inf of the check 'x'"),
        ("x", print, {"fall": 0}, ValueError, "fall=0 of the check 'x' is not a whole number from 1 up."),
        ("x", print, {"rise": 1.5}, ValueError, "rise=1.5 of the check 'x'"),
    ],
)
def test_what_cannot_be_a_check_is_an_error_at_once(
    name: str, function: Any, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """It names the check, the value and what is allowed."""
    with pytest.raises(error) as raised:
        build_checks().check(name, function, **options)
    assert str(raised.value).startswith(text)


def test_there_are_not_more_checks_than_can_be_looked_after() -> None:
    """Names become label values: they are few."""
    checks = build_checks()
    for number in range(MOST_CHECKS):
        checks.check(f"check_{number}", print)
    checks.check("check_0", print)
    with pytest.raises(ValueError, match="one check too many: there can be 100"):
        checks.check("another", print)


def test_defaults_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing else is said."""
    for name, value in {"INTERVAL": "3", "TIMEOUT": "0.25", "FALL": "1", "RISE": "4"}.items():
        monkeypatch.setenv(f"OTEL_FORGE_HEALTH_{name}", value)
    checks = build_checks(None)
    checks.check("database", print, rise=5)
    check, _ = checks.known()["database"]
    assert (check.interval, check.timeout, check.fall, check.rise, check.required) == (3, 0.25, 1, 5, True)


def test_the_public_names_are_there() -> None:
    """Each is imported when it is first used."""
    assert all(callable(getattr(health, name)) for name in health.__all__)
    assert set(health.__all__) <= set(dir(health))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        health.nothing  # noqa: B018


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_knows_nothing_and_starts_its_own_thread(hung: Hung) -> None:
    """Its parent's connections are no evidence, and its parent's threads are not there."""
    checks = build_checks()
    checks.check("database", lambda: None)
    checks.start()
    wait_for(lambda: checks.status() == PASS)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            told = f"{checks.status()} {checks.background.is_started} "
            checks.start()
            wait_for(lambda: checks.status() == PASS)
            os.write(writing, (told + str(checks.status())).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert answer.read() == "fail False pass"
    os.waitpid(child, 0)


def test_a_background_that_no_longer_turns_is_lost() -> None:
    """After thirty seconds, not before; one that was never started is not."""
    clock, stuck, turned = Clock(), threading.Event(), threading.Event()

    def advance(now: float) -> float:
        turned.set()
        stuck.wait(60)
        return now

    background = Background(advance, clock)
    assert not background.is_lost()
    background.start()
    assert turned.wait(10)
    clock.now += LOST_AFTER - 1
    assert not background.is_lost()
    clock.now += 2
    assert background.is_lost() and not background.is_alive
    stuck.set()
    wait_for(lambda: not background.is_lost())
    background.stop()


def test_a_process_that_was_stopped_is_given_a_chance() -> None:
    """Its clock went on while none of its threads could: the next turn comes at once."""
    clock = Clock()
    background = Background(lambda now: now + 1000, clock)
    background.start()
    wait_for(lambda: background.is_alive)
    clock.now += 3600
    wait_for(lambda: not background.is_lost())
    background.stop()


def test_the_first_requests_start_it_together_and_it_is_started_once() -> None:
    """Who comes second waits for nothing, and makes no instruments a second time."""
    background = Background(lambda now: now + 1000)
    made: list[str] = []
    entered, may_go_on = threading.Event(), threading.Event()

    def make() -> None:
        made.append(threading.current_thread().name)
        entered.set()
        may_go_on.wait(10)

    first = threading.Thread(target=lambda: background.start(before=make), name="first")
    first.start()
    assert entered.wait(10)
    background.start(before=make)
    may_go_on.set()
    first.join(10)
    background.start(before=make)
    assert made == ["first"] and background.is_started
    background.stop()


def test_nothing_is_checked_while_the_application_is_still_loading() -> None:
    """What a check uses may not be there yet; the heartbeat is."""
    asked, may = threading.Event(), threading.Event()
    background = Background(lambda now: asked.set() or now + 1000)  # type: ignore[func-returns-value]
    background.start(may.is_set)
    wait_for(lambda: background.is_alive)
    assert not asked.wait(0.2)
    may.set()
    assert asked.wait(10)
    background.stop()
