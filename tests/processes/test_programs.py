"""Gate R5: programs that make processes themselves. Every record once, whoever made it, and each counts its own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.delivery.test_faults import CHECKOUT, INSTRUMENT, quick_settings
from tests.numbered import NumberedReceiver, Tally, numbers_by_instance
from tests.processes import parents
from tests.processes.servers import Running
from tests.programs import Programs

pytestmark = pytest.mark.gate

PROGRAM = Path(parents.__file__)
CHILDREN, RECORDS = 4, 25
WAYS = [way for way in parents.WAYS if way != "child"]
POOLED = {"pool fork", "pool spawn"}


def run(way: str, folder: Path, **environ: str) -> Tally:
    """Run the program until it and its children have ended; a second run finds what they left on disk."""
    with NumberedReceiver() as receiver, Programs(folder) as programs:
        settings = {
            **quick_settings(folder),
            "PYTHONPATH": str(CHECKOUT),
            "OTEL_SERVICE_NAME": "parents",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            **environ,
        }
        program = programs.start(INSTRUMENT, "python", str(PROGRAM), way, str(CHILDREN), str(RECORDS), **settings)
        assert program.wait(60) == 0, program.err
        return receiver.tally


@pytest.fixture(scope="module")
def tallies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Tally]]:
    """What arrived, by the way in which processes were made."""
    with ThreadPoolExecutor(3) as pool:
        folders = [tmp_path_factory.mktemp("program") for _ in WAYS]
        yield dict(zip(WAYS, pool.map(run, WAYS, folders), strict=True))


@pytest.mark.parametrize("way", [way for way in WAYS if way != "fork and _exit"])
def test_every_record_of_every_process_arrives_once(tallies: dict[str, Tally], way: str) -> None:
    """All is there when the program has ended: spans, log records and counts, those before the fork included."""
    tally = tallies[way]
    expected = range(parents.BEFORE, CHILDREN * RECORDS)
    for name in ("traces", "logs"):
        assert tally.missing(name, expected) == []
        assert tally.repeated(name) == []
    assert tally.total("test.made") == len(expected)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "fork and _exit"])
def test_each_process_speaks_under_its_own_name(tallies: dict[str, Tally], way: str) -> None:
    """One instance id for the parent and one for each child, or for each worker of a pool."""
    by_instance = numbers_by_instance(tallies[way])
    parent = next(numbers for numbers in by_instance.values() if parents.BEFORE in numbers)
    assert sorted(parent, key=int) == [parents.BEFORE, parents.AFTER]
    if way in POOLED:
        assert 1 < len(by_instance) <= 3
    else:
        assert len(by_instance) == 1 + CHILDREN


def test_a_child_that_ends_without_a_word_loses_nothing_of_its_parent(tallies: dict[str, Tally]) -> None:
    """``os._exit`` runs nothing: what the child made in its last moments may go, what the parent made may not."""
    tally = tallies["fork and _exit"]
    for name in ("traces", "logs"):
        assert tally.missing(name, [parents.BEFORE, parents.AFTER]) == []
        assert tally.repeated(name) == []


def test_an_instance_id_that_the_user_chose_is_kept_by_every_process(tmp_path: Path) -> None:
    """Nothing overwrites it, in parent or child."""
    tally = run("fork", tmp_path, OTEL_RESOURCE_ATTRIBUTES="service.instance.id=mine")
    assert set(tally.instances.values()) == {"mine"}
    assert tally.missing("traces", range(parents.BEFORE, CHILDREN * RECORDS)) == []


def test_every_celery_task_is_recorded_once(servers_bin: Path, tmp_path: Path) -> None:
    """The prefork pool, with recycled workers: its children end without running Python's exit functions."""
    tasks = 45
    broker = tmp_path / "broker"
    (broker / "control").mkdir(parents=True)
    with Running(servers_bin, tmp_path, TEST_BROKER=str(broker)) as running:
        assert running.start("python", "-m", "tests.processes.tasks", str(tasks)).wait(60) == 0
        command = ("-A", "tests.processes.tasks", "worker", "--concurrency=2", "--loglevel=warning")
        worker = running.start("celery", *command, "--without-gossip", "--without-mingle", "--max-tasks-per-child=10")
        for number in range(tasks):
            worker.wait_for_output(f"task {number} done\n")
        worker.terminate()
        assert worker.wait(30) == 0, worker.err
        tally = running.receiver.tally
        for name in ("traces", "logs"):
            assert tally.missing(name, range(tasks)) == []
            assert tally.repeated(name) == []
        assert tally.total("test.tasks") == tasks
        assert len(tally.by_instance("test.tasks")) >= tasks // 10
