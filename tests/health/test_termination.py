"""SIGTERM and draining: readiness falls at once, and everything else goes its usual way."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_forge import health
from otel_forge.health import draining
from otel_forge.health.termination import Termination, _holds
from tests.health.build import Clock, wait_for
from tests.otlp_receiver import free_port
from tests.programs import Programs, get

ROOT = Path(__file__).parents[2]
SERVER = """
    import time
    from flask import Flask
    from otel_forge.web.health import HealthRoutes

    app = Flask("plain")
    HealthRoutes(app)

    @app.get("/slow")
    def slow():
        time.sleep(2)
        return "done"

    app.run(port={port})
"""


@pytest.fixture
def received() -> Iterator[list[int]]:
    """The signals that the application's own handler of SIGTERM gets."""
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
    yield got
    signal.signal(signal.SIGTERM, before)


_built: list[Termination] = []


@pytest.fixture(autouse=True)
def _uninstalled() -> Iterator[None]:
    """No test leaves a handler behind."""
    yield
    while _built:
        _built.pop().uninstall()


def build_termination(seconds: float, clock: Clock, is_watched: bool = True) -> Termination:
    made = Termination(seconds, is_watched=lambda: is_watched, clock=clock)
    made.install()
    _built.append(made)
    return made


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0)  # where Python looks for signals


def test_without_a_drain_the_other_handler_is_called_at_once(received: list[int]) -> None:
    """And the process drains."""
    build_termination(0, Clock())
    terminate()
    assert received == [signal.SIGTERM] and health.is_draining()


def test_with_a_drain_the_signal_is_sent_again_when_it_is_over(received: list[int]) -> None:
    """Not before, and further signals change nothing."""
    clock = Clock()
    draining.drain("SIGTERM", clock=clock)
    termination = build_termination(10, clock)
    terminate()
    terminate()
    assert received == [] and termination.advance(clock.now + 9) == clock.now + 10
    clock.now += 10
    termination.advance(clock.now)
    assert received == [signal.SIGTERM]
    termination.advance(clock.now + 1)
    assert received == [signal.SIGTERM]


def test_what_has_drained_long_enough_before_does_not_drain_again(received: list[int]) -> None:
    """`otel-forge watch --drain` has waited already."""
    clock = Clock()
    draining.drain("the monitor", clock=clock)
    build_termination(10, clock)
    clock.now += 11
    terminate()
    assert received == [signal.SIGTERM]


def test_without_a_background_loop_nothing_waits(received: list[int]) -> None:
    """Nobody would send the signal again."""
    build_termination(10, Clock(), is_watched=False)
    terminate()
    assert received == [signal.SIGTERM]


def test_where_sigterm_just_ends_the_process_it_is_left_alone() -> None:
    """Unless a drain is asked for."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        build_termination(0, Clock())
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


class Worker:
    """A worker of gunicorn, as far as we look at it."""

    def __init__(self, listening: socket.socket, graceful_timeout: int = 30) -> None:
        self.sockets = [listening]
        self.cfg = type("Config", (), {"graceful_timeout": graceful_timeout})


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc here")
def test_a_worker_that_is_only_replaced_does_not_drain(received: list[int]) -> None:
    """Its master, here our parent's stand-in, still listens: new workers serve."""
    termination = build_termination(10, Clock())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        termination._worker = Worker(listening)
        assert not termination._is_replaced(), "our real parent has no such socket"
        assert _holds(os.getpid(), [listening])


def test_a_drain_is_shorter_than_the_time_after_which_gunicorn_kills(received: list[int]) -> None:
    """Half of it is left for requests to finish."""
    clock = Clock()
    draining.drain("SIGTERM", clock=clock)
    termination = build_termination(60, clock)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        termination._worker = Worker(listening, graceful_timeout=20)
        terminate()
    assert termination.advance(clock.now) == clock.now + 10


def test_draining_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """By the background loop: a signal handler must not log."""
    caplog.set_level(logging.INFO, "otel_forge.health")
    health.drain("a new release")
    health.drain("another reason")
    assert caplog.records == [] and health.is_draining() and not health.is_ready()
    for _ in range(3):
        draining.advance(time.monotonic())
    [record] = caplog.records
    assert record.getMessage() == "draining (a new release): readiness has fallen, requests under way finish"


@pytest.mark.gate
def test_no_secret_in_a_reason_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """S1: a view of the application's own writes records as they are."""
    caplog.set_level(logging.INFO, "otel_forge.health")
    health.drain("asked by postgresql://shop:hunter2-hunter2@db/shop")
    draining.advance(time.monotonic())
    [record] = caplog.records
    assert "draining (asked by postgresql://" in record.getMessage()
    assert "hunter2" not in record.getMessage() + str(record.__dict__)


@pytest.fixture
def plain(programs: Programs) -> Iterator[Any]:
    """Starts werkzeug's server with health routes and a drain of a second."""

    def start(**environ: str) -> tuple[Any, str]:
        port = free_port()
        programs.write("server.py", SERVER.format(port=port))
        program = programs.start(sys.executable, "server.py", PYTHONPATH=str(ROOT), **environ)
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: get(f"{url}/ready")[0] == 200)
        return program, url

    yield start


@pytest.mark.gate
def test_a_plain_server_drains_and_finishes_what_it_works_on(plain: Any) -> None:
    """H4: readiness falls at once, liveness does not, a request under way is answered, and the status is as ever."""
    program, url = plain(OTEL_FORGE_HEALTH_DRAIN="1")
    answers: list[tuple[int, str]] = []
    slow = threading.Thread(target=lambda: answers.append(get(f"{url}/slow")))
    slow.start()
    time.sleep(0.2)  # until it is under way
    program.terminate()
    wait_for(lambda: get(f"{url}/ready")[0] == 503)
    assert get(f"{url}/live")[0] == 200
    slow.join(20)
    assert answers == [(200, "done")]
    assert program.wait(20) == -signal.SIGTERM


def test_without_a_drain_a_plain_server_ends_as_ever(plain: Any) -> None:
    """At once, with the status of a signal."""
    program, _ = plain()
    program.terminate()
    assert program.wait(20) == -signal.SIGTERM
