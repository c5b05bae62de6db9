"""Gate R2, with the real Collector: stopped, killed, its queue full. Every number that a program sends arrives."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.delivery.scripted import eventually
from tests.delivery.test_faults import CHECKOUT, EMITTER, INSTRUMENT, quick_settings, settled_accounts, told
from tests.numbered import NUMBER, Number
from tests.otlp_receiver import attributes, points
from tests.programs import Program, Programs
from tests.stack_config.collector_runs import CollectorRun
from tests.stack_config.conftest import FindEngine, FreePorts, StartServer
from tests.stack_config.stores import Stores

pytestmark = pytest.mark.gate

RATE = 500
QUEUE = 100_000
SMALL_QUEUE = {
    "queue_size: 536870912": f"queue_size: {QUEUE}",
    "min_size: 262144": f"min_size: {QUEUE // 4}",
    "max_size: 2097152": f"max_size: {QUEUE // 2}",
}


class Scene:
    """A program that sends to a Collector, and the stores behind that."""

    def __init__(self, collector: CollectorRun, programs: Programs, folder: Path) -> None:
        self.collector = collector
        self.stores = collector.stores
        self._programs = programs
        self._folder = folder

    def start(self) -> Program:
        """Start the Collector and the program; return when numbers arrive."""
        self.collector.up()
        program = self._programs.start(
            INSTRUMENT, "python", str(EMITTER), str(RATE), PYTHONPATH=str(CHECKOUT), OTEL_SERVICE_NAME="emitter",
            OTEL_EXPORTER_OTLP_ENDPOINT=self.collector.endpoint, **quick_settings(self._folder),
        )  # fmt: skip
        eventually(lambda: self.numbers("traces") and self.numbers("logs"), 30)
        return program

    def numbers(self, name: str) -> Counter[Number]:
        """Return how often each number has arrived at the stores."""
        received = self.stores.received
        records = received.spans() if name == "traces" else received.logs()
        found = (attributes(record.attributes).get(NUMBER) for record in list(records))
        return Counter(number for number in found if number is not None)

    def counted(self) -> float:
        """Return the program's own count, as the metrics store has it last."""
        metric = self.stores.received.metrics().get("test.emitted")
        return sum(point.as_int for point in points(metric)) if metric is not None else 0

    def check(self, program: Program, repeats: int = 0) -> None:
        """Fail unless every number is at its store; at most so many may be there twice."""
        emitted = int(told(program, "emitted").split()[0])
        for name in ("traces", "logs"):
            eventually(lambda name=name: len(self.numbers(name)) == emitted, 60)  # type: ignore[misc]
            assert self.numbers(name).total() - emitted <= repeats
        accounts = settled_accounts(program)
        for name in ("traces", "logs"):
            assert (accounts[name]["delivered"], accounts[name]["dropped"]) == (emitted, {})
        program.wait(30)
        eventually(lambda: self.counted() == emitted, 30)


@pytest.fixture
def scene(
    request: pytest.FixtureRequest,
    engine: FindEngine,
    bundle: Path,
    start: StartServer,
    free_ports: FreePorts,
    programs: Programs,
    tmp_path: Path,
) -> Iterator[Scene]:
    """The one-machine Collector; with the parameter ``small queue``, one whose queues are soon full."""
    text = (bundle / "collector/config-single.yaml").read_text()
    if getattr(request, "param", "") == "small queue":
        for shipped, small in SMALL_QUEUE.items():
            assert shipped in text
            text = text.replace(shipped, small)
    config = tmp_path / "collector.yaml"
    config.write_text(text)
    with Stores() as stores:
        state = tmp_path / "state"
        yield Scene(
            CollectorRun.prepare(engine("collector"), config, stores, start, free_ports, state), programs, tmp_path
        )


def test_a_collector_that_stops_answering_loses_nothing(scene: Scene) -> None:
    """Silent for five seconds: what it had taken in before is sent again, one request of each signal at the most."""
    program = scene.start()
    assert scene.collector.server is not None
    os.kill(scene.collector.server.process.pid, signal.SIGSTOP)
    try:
        time.sleep(5)  # the length of the outage is what is tested
    finally:
        os.kill(scene.collector.server.process.pid, signal.SIGCONT)
    scene.check(program, repeats=RATE * 5)


def test_a_collector_that_is_killed_loses_nothing(scene: Scene) -> None:
    """SIGKILL under traffic, three seconds of nothing, and a new one on the same queues."""
    program = scene.start()
    assert scene.collector.server is not None
    scene.collector.server.kill()
    time.sleep(3)
    scene.collector.up()
    scene.check(program, repeats=RATE)


@pytest.mark.parametrize("scene", ["small queue"], indirect=True)
def test_a_collector_whose_queue_is_full_loses_nothing(scene: Scene) -> None:
    """The stores answer 503 until the queues are full and the program is told to wait; then they take it all."""
    program = scene.start()
    scene.stores.behaviour = "503"
    program.wait_for_output("does not take telemetry")
    time.sleep(2)
    scene.stores.behaviour = "ok"
    scene.check(program)
