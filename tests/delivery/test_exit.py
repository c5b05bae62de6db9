"""The way out: parallel, bounded, once, and honest."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from threading import Barrier, Event

from otel_forge.delivery.accounts import Accounts, Reason
from otel_forge.delivery.exit import Exit


def test_signals_are_closed_at_the_same_time() -> None:
    """Three closers that wait for each other can only end if they run in parallel."""
    barrier = Barrier(3, timeout=10)
    closed: list[str] = []

    def closer(name: str) -> None:
        barrier.wait()
        closed.append(name)

    Exit(
        {
            "traces": lambda: closer("traces"),
            "metrics": lambda: closer("metrics"),
            "logs": lambda: closer("logs"),
        },
        Accounts(),
        budget=10,
    ).close()
    assert sorted(closed) == ["logs", "metrics", "traces"]


def test_a_closer_that_hangs_costs_the_budget_and_what_is_missing_is_said() -> None:
    """The line has the numbers and the reason."""
    accounts, said, never = Accounts(), list[str](), Event()
    accounts.created("traces", 3)
    accounts.delivered("traces", 1)
    leaving = Exit({"traces": lambda: bool(never.wait(60))}, accounts, 0.05, lambda name: "timed out", said.append)
    leaving.close()
    assert said == ["exit: 2 spans could not be sent (timed out)."]
    never.set()


def test_closing_twice_does_it_once() -> None:
    """SIGTERM followed by atexit must not shut down a second time."""
    closed: list[int] = []
    leaving = Exit({"traces": lambda: closed.append(1)}, Accounts(), 1)
    leaving.close()
    leaving.close()
    assert closed == [1]


def test_nothing_is_said_when_nothing_is_missing() -> None:
    """A clean exit is silent."""
    accounts, said = Accounts(), list[str]()
    accounts.created("logs", 4)
    accounts.delivered("logs", 4)
    Exit({}, accounts, 1, say=said.append).close()
    assert said == []


def test_what_was_lost_while_running_is_told_apart_from_what_is_left() -> None:
    """An outage of an hour ago must not read like a failure of the exit."""
    accounts, said = Accounts(), list[str]()
    accounts.created("traces", 10)
    accounts.failed("traces", 4)
    accounts.delivered("traces", 3)
    Exit({"traces": lambda: accounts.delivered("traces", 3)}, accounts, 5, say=said.append).close()
    assert said == ["exit: Lost earlier, while telemetry was not taken: 4 spans."]


def test_what_is_kept_on_the_disk_is_said_with_the_place_and_not_counted_as_lost() -> None:
    """Apart from what really is."""
    accounts, said = Accounts(), list[str]()
    accounts.accept("traces", 9, 900)

    def close() -> None:
        accounts.write("traces", 7, 700)
        accounts.drop("traces", Reason.SHUTDOWN_TIMEOUT, 2, 200)

    Exit(
        {"traces": close}, accounts, 5, lambda name: "connection refused", said.append, place=lambda: "/spool/1"
    ).close()
    assert said == [
        "exit: 7 spans kept in /spool/1 for the next start (connection refused). "
        "2 spans could not be sent (connection refused)."
    ]


def test_a_process_that_multiprocessing_forks_closes_as_well(tmp_path: Path) -> None:
    """It ends without the functions of atexit."""
    leaving = Exit({"traces": (tmp_path / "closed").touch}, Accounts(), 5)
    leaving.install(sigterm=False)
    child = multiprocessing.get_context("fork").Process(target=int)
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert (tmp_path / "closed").exists()
