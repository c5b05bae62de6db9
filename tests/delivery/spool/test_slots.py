"""The instance id of a worker: the lowest free number's, which the one that comes in its place has again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from otel_forge.delivery.spool import Slot, SpoolDirectory
from otel_forge.delivery.spool.slots import MOST_SLOTS
from tests.delivery.spool.spools import descriptors

PROGRAM = """
import sys
from otel_forge.delivery.spool import Slot, SpoolDirectory
print(Slot(SpoolDirectory(sys.argv[1], "shop")).instance_id(), flush=True)
sys.stdin.read()
"""


class Worker:
    """Another process with an instance id in the same place."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.id = self.process.stdout.readline().strip()

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(how)
        self.process.communicate()


def a_slot(root: Path, service: str = "shop") -> Slot:
    """Return a slot of this process."""
    return Slot(SpoolDirectory(root, service))


def test_workers_differ_and_the_one_that_comes_in_place_of_another_has_its_id(tmp_path: Path) -> None:
    """Also if that was killed, and whichever it was."""
    workers = [Worker(tmp_path) for _ in range(3)]
    names = [worker.id for worker in workers]
    assert len(set(names)) == 3
    workers[1].end()
    replaced = Worker(tmp_path)
    assert replaced.id == names[1]
    for worker in (workers[0], workers[2], replaced):
        worker.end(signal.SIGTERM)
    after_restart = [Worker(tmp_path) for _ in range(3)]
    assert [worker.id for worker in after_restart] == names
    for worker in after_restart:
        worker.end()


def test_ids_differ_by_service_and_by_place(tmp_path: Path) -> None:
    """Two places are two machines, as far as anybody can tell."""
    names = {a_slot(tmp_path / place, service).instance_id() for place in "ab" for service in ("shop", "till")}
    assert len(names) == 4


def test_a_forked_child_takes_a_number_of_its_own_and_the_parent_keeps_its_own(tmp_path: Path) -> None:
    """The lock is not inherited, and the child's going does not give up the parent's."""
    slot = a_slot(tmp_path)
    mine = slot.instance_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        before = descriptors()
        slot.become_child()
        closed = len(before - descriptors())
        os.write(writing, slot.instance_id().encode())
        os._exit(closed)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1, "the parent's lock file stays open"
    other = os.read(reading, 100).decode()
    os.close(reading)
    os.close(writing)
    assert other != mine
    worker = Worker(tmp_path)
    assert worker.id == other
    worker.end()
    slot.leave()
    worker = Worker(tmp_path)
    assert worker.id == mine
    worker.end()


def test_where_there_is_no_place_for_locks_the_id_is_random(tmp_path: Path) -> None:
    """No directory, a file in its place, or one that others can write to."""
    (tmp_path / "file").touch()
    (tmp_path / "open" / "shop").mkdir(parents=True)
    (tmp_path / "open" / "shop").chmod(0o777)
    slots = [Slot(None), a_slot(tmp_path / "file" / "spool"), a_slot(tmp_path / "open")]
    names = [slot.instance_id() for slot in slots + slots]
    assert len(set(names)) == 6
    assert {name[14] for name in names} == {"4"}


def test_a_damaged_seed_is_replaced(tmp_path: Path) -> None:
    """Half a file, after a power cut for instance."""
    slot = a_slot(tmp_path)
    first = slot.instance_id()
    slot.leave()
    (seed,) = tmp_path.glob("seed-*")
    assert seed.stat().st_mode & 0o777 == 0o600
    seed.write_text("abc")
    second, third = a_slot(tmp_path), a_slot(tmp_path)
    assert first != second.instance_id() != third.instance_id()
    second.leave()
    third.leave()
    assert len(seed.read_text()) == 32
    assert list(tmp_path.glob("seed-*")) == [seed]


def test_it_costs_a_few_files_however_many_numbers_are_taken(tmp_path: Path) -> None:
    """One descriptor stays open for each slot that is held; none once it is left."""
    before = descriptors()
    slots = [a_slot(tmp_path) for _ in range(5)]
    assert len({slot.instance_id() for slot in slots}) == 5
    assert len(descriptors() - before) == 5
    for slot in slots:
        slot.leave()
    assert descriptors() == before
    assert MOST_SLOTS > len(list((tmp_path / "shop").glob("slot-*"))) == 5
