"""Traffic: requests and server errors of the last while, exactly, and of this process alone."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from otel_forge.metrics import traffic as served
from otel_forge.metrics.traffic import LONGEST, Counts, Traffic
from tests.programs import Programs


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.25

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The time that a test sets."""
    return Clock()


@pytest.fixture
def traffic(clock: Clock) -> Traffic:
    """Counts by that clock."""
    return Traffic(clock)


def test_nothing_served_is_nothing(traffic: Traffic) -> None:
    """At the beginning."""
    assert traffic.window(60) == Counts(0, 0)


def test_a_window_holds_what_was_served_within_it(traffic: Traffic, clock: Clock) -> None:
    """The current second included, and no older one."""
    for second in range(100):
        clock.now = 1000.5 + second
        traffic.count(second % 10 == 0)
    assert traffic.window(10) == Counts(10, 1)
    assert traffic.window(60) == Counts(60, 6)
    assert traffic.window(LONGEST) == Counts(100, 10)
    clock.now += 50
    assert traffic.window(60) == Counts(10, 1)
    assert traffic.window(0.5) == Counts(0, 0)


def test_after_a_quarter_of_an_hour_all_is_forgotten(traffic: Traffic, clock: Clock) -> None:
    """Whether or not a slot was used again."""
    traffic.count(True)
    clock.now += LONGEST - 1
    assert traffic.window(LONGEST) == Counts(1, 1)
    clock.now += 1
    assert traffic.window(LONGEST) == Counts(0, 0)
    traffic.count(False)
    assert traffic.window(LONGEST) == Counts(1, 0)


def test_threads_lose_no_request(traffic: Traffic) -> None:
    """Eight of them at once."""

    def serve(_: int) -> None:
        for number in range(5000):
            traffic.count(number % 2 == 0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(serve, range(8)))
    assert traffic.window(60) == Counts(40000, 20000)


@pytest.mark.parametrize("seconds", [0, -1, LONGEST + 1])
def test_a_window_that_is_not_kept_is_an_error(traffic: Traffic, seconds: float) -> None:
    """It says what is allowed."""
    with pytest.raises(ValueError, match=f"seconds={seconds} is not a number above 0 and up to {LONGEST}"):
        traffic.window(seconds)


def test_a_forked_child_begins_at_zero(programs: Programs) -> None:
    """What its parent has served, the parent tells."""
    code = """
        import os
        from otel_forge.metrics import traffic
        traffic.count(True)
        child = os.fork()
        if not child:
            before = tuple(traffic.window(60))
            traffic.count(False)
            print("child", before, tuple(traffic.window(60)), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print("parent", tuple(traffic.window(60)))
    """
    program = programs.start(sys.executable, str(programs.write("forking.py", code)))
    assert program.wait() == 0, program.err
    assert program.out == "child (0, 0) (1, 0)\nparent (1, 1)\n"


def test_the_totals_are_never_forgotten(traffic: Traffic, clock: Clock) -> None:
    """Alerts sum the traffic of several processes by their increase."""
    for _ in range(3):
        traffic.count(False)
        clock.now += LONGEST
        traffic.count(True)
    assert traffic.totals() == Counts(6, 3)


def test_the_first_request_says_that_the_process_serves(clock: Clock) -> None:
    """Once."""
    said: list[int] = []
    traffic = Traffic(clock, first=lambda: said.append(1))
    assert said == []
    for _ in range(3):
        traffic.count(False)
    assert said == [1]


def test_who_waits_for_a_process_to_serve_is_called_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever says it how often; who comes later is called at once."""
    monkeypatch.setattr(served, "_waiting", [])
    monkeypatch.setattr(served, "_is_serving", False)
    called: list[str] = []
    served.when_serving(lambda: called.append("early"))
    assert called == []
    served.serves()
    served.serves()
    served.when_serving(lambda: called.append("late"))
    assert called == ["early", "late"]
