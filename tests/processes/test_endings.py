"""Gates F4, R3, R5: however a program ends, it ends soon, and its last batch arrives then or at the next start."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import faults
from tests.delivery.test_faults import CHECKOUT, EXIT_BUDGET, INSTRUMENT, quick_settings
from tests.faults import Fault, FaultProxy
from tests.numbered import NumberedReceiver
from tests.processes import ending
from tests.programs import Program, Programs

pytestmark = pytest.mark.gate

PROGRAM = Path(ending.__file__)
STATUS = {"returns": 0, "exit": 3, "exception": 1, "SIGTERM": -signal.SIGTERM, "SIGINT": -signal.SIGINT}
LAST = ending.LAST_BATCH
WINDOW = 1.0
"""Seconds of records that a SIGKILL may take."""


class Scene:
    """A program's folder, and a receiver behind a fault proxy."""

    def __init__(self, programs: Programs, receiver: NumberedReceiver, proxy: FaultProxy, folder: Path) -> None:
        self.receiver = receiver
        self.proxy = proxy
        self._programs = programs
        self._folder = folder

    def start(self, way: str, first: int, *more: str, **environ: str) -> Program:
        return self._programs.start(
            INSTRUMENT, "python", str(PROGRAM), way, str(first), *more,
            PYTHONPATH=str(CHECKOUT), OTEL_SERVICE_NAME="ending",
            OTEL_EXPORTER_OTLP_ENDPOINT=self.proxy.url, **{**quick_settings(self._folder), **environ},
        )  # fmt: skip

    def expect(self, numbers: range) -> None:
        """Fail unless each of these numbers is here, or comes soon, once."""
        self.receiver.wait_for_all({"traces": numbers, "logs": numbers})
        for name in ("traces", "logs"):
            assert self.receiver.tally.repeated(name) == []


@pytest.fixture
def scene(programs: Programs, tmp_path: Path) -> Iterator[Scene]:
    """A receiver behind a proxy, and programs that share a folder."""
    with NumberedReceiver() as receiver, FaultProxy(receiver.url) as proxy:
        yield Scene(programs, receiver, proxy, tmp_path)


@pytest.mark.parametrize("way", STATUS)
def test_the_last_batch_has_arrived_when_the_program_has_ended(scene: Scene, way: str) -> None:
    """With its own exit status, and its counts."""
    program = scene.start(way, 0)
    assert program.wait(30) == STATUS[way], program.err
    assert scene.receiver.tally.missing("traces", range(LAST)) == []
    assert scene.receiver.tally.missing("logs", range(LAST)) == []
    assert scene.receiver.tally.total("test.made") == LAST


@pytest.mark.parametrize(
    ("way", "fault"),
    [("returns", faults.refuse), ("SIGTERM", faults.black_hole), ("exception", faults.slow_answer)],
    ids=["returns, refused", "SIGTERM, black hole", "exception, slow answer"],
)
def test_with_a_dead_back_end_it_ends_in_time_and_the_next_start_delivers(scene: Scene, way: str, fault: Fault) -> None:
    """F4: at most two seconds, nothing lost: it is said where it is kept, and the next process finds it."""
    scene.proxy.be(fault)
    program = scene.start(way, 0)
    status, _ = program.ended_within(30)
    assert status == STATUS[way], program.err
    assert scene.receiver.tally.numbers["traces"].total() == 0
    assert any("kept in" in notice for notice in program.notices())
    scene.proxy.be(faults.healthy)
    assert scene.start("returns", LAST).wait(30) == 0
    scene.start("goes on", 2 * LAST, "0.01")
    scene.expect(range(2 * LAST))
    assert scene.receiver.tally.total("test.made") >= 2 * LAST


@pytest.mark.parametrize("fault", [faults.refuse, faults.black_hole], ids=lambda fault: fault.__name__)
def test_the_exit_takes_two_seconds_at_the_most(scene: Scene, fault: Fault) -> None:
    """F4: counted from the signal to the end of the process."""
    scene.proxy.be(fault)
    program = scene.start("goes on", 0, "0.002")
    program.wait_for_output("made 300\n")
    program.terminate()
    _, seconds = program.ended_within(30)
    assert seconds <= EXIT_BUDGET


@pytest.mark.parametrize("fault", [faults.healthy, faults.refuse, faults.black_hole], ids=lambda fault: fault.__name__)
def test_a_kill_costs_the_last_second_at_the_most(scene: Scene, fault: Fault) -> None:
    """R3: what is older has arrived, or the next process delivers it; nothing comes damaged."""
    scene.proxy.be(fault)
    between = 0.005
    program = scene.start("goes on", 0, str(between))
    program.wait_for_output("made 400\n")
    made = int(program.out.split()[-1]) if program.out.endswith("\n") else 400
    os.kill(program.pid, signal.SIGKILL)
    program.wait(10)
    killed = time.monotonic()
    scene.proxy.be(faults.healthy)
    scene.start("goes on", 100_000, "0.05")
    safe = range(made - round(WINDOW / between))
    scene.receiver.wait_for_all({"traces": safe, "logs": safe})
    assert time.monotonic() - killed < 30
    for name in ("traces", "logs"):
        assert scene.receiver.tally.repeated(name) == [] or fault is faults.healthy


def test_the_programs_that_follow_each_other_deliver_what_each_left(scene: Scene) -> None:
    """Three runs with no back end, and a fourth with one: all four runs' records arrive, once."""
    scene.proxy.be(faults.refuse)
    for start in range(3):
        assert scene.start("returns", start * LAST).wait(30) == 0
    scene.proxy.be(faults.healthy)
    scene.start("goes on", 3 * LAST, "0.01")
    scene.expect(range(4 * LAST))
