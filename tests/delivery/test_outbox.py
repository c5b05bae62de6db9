"""The outbox: what is held up is written, memory stays bounded, errors go last, and the accounts follow every step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from otel_forge.delivery.accounts import Reason
from otel_forge.delivery.batch import Batch
from otel_forge.delivery.outbox import HELD_UP, SWEEP, Shipment
from otel_forge.delivery.spool import OsFiles, Quota, Spool, SpoolDirectory
from tests.delivery.parts import Parts, Sending, spool


class Scene(Parts):
    """An outbox with its surroundings, and the clock it lives by."""

    def __init__(self, folder: Path | None, **options: Any) -> None:
        self.now = 100.0
        self.number = 0
        super().__init__(Sending(), folder=folder, clock=lambda: self.now, **options)

    def add(self, body: bytes = b"x" * 10, *, important: bool = False) -> str:
        self.number += 1
        batch = Batch(f"{self.number:016x}", "traces", body, 1, 1000.0, important)
        self.accounts.accept("traces", batch.items, batch.size)
        self.outbox.add(batch)
        return batch.id

    def take(self, *, fresh: bool = True) -> Shipment:
        shipment = self.outbox.take(fresh=fresh)
        assert shipment is not None
        return shipment


def test_what_is_delivered_in_time_never_touches_the_disk(tmp_path: Path) -> None:
    """No folder, no file."""
    scene = Scene(tmp_path)
    scene.add()
    scene.outbox.keep()
    scene.outbox.deliver(scene.take())
    scene.outbox.keep(everything=True)
    assert list(tmp_path.iterdir()) == []
    assert scene.counts == {"created": 1, "delivered": 1}


def test_what_is_held_up_is_written_and_settled_once_delivered(tmp_path: Path) -> None:
    """Also what is on its way; nothing comes back after a restart."""
    scene = Scene(tmp_path)
    scene.add()
    shipment = scene.take()
    scene.now += HELD_UP
    scene.outbox.keep()
    assert scene.counts == {"created": 1, "on_disk": 1}
    scene.outbox.deliver(shipment)
    assert scene.counts == {"created": 1, "delivered": 1}
    scene.outbox.close()
    assert spool(tmp_path).take_over() == []


def test_the_next_process_takes_over_what_was_left(tmp_path: Path) -> None:
    """Oldest first, before what it has itself, with the same ids, once."""
    first = Scene(tmp_path)
    names = [first.add(), first.add()]
    first.outbox.close()
    assert first.counts == {"created": 2, "on_disk": 2}
    assert first.outbox.place.startswith(str(tmp_path))
    second = Scene(tmp_path)
    second.outbox.sweep()
    assert second.counts == {"created": 2, "taken_over": 2, "on_disk": 2}
    shipment = second.take(fresh=False)
    assert shipment.ids == names
    second.outbox.deliver(shipment)
    second.now += SWEEP
    second.outbox.sweep()
    assert second.counts == {"created": 2, "taken_over": 2, "delivered": 2}


def test_bodies_leave_memory_when_they_are_on_the_disk_and_come_back_when_their_turn_comes(tmp_path: Path) -> None:
    """So that an outage does not cost more memory the longer it lasts."""
    scene = Scene(tmp_path, capacity=1000)
    bodies = [bytes([97 + number]) * 100 for number in range(26)]
    for body in bodies:
        scene.add(body)
        scene.outbox.keep(everything=True)
        assert scene.outbox._bodies <= 600
    assert scene.counts == {"created": 26, "on_disk": 26}
    sent = b""
    while (shipment := scene.outbox.take(fresh=True)) is not None:
        sent += shipment.body
        scene.outbox.deliver(shipment)
    assert sent == b"".join(bodies)
    assert scene.counts == {"created": 26, "delivered": 26}


def test_without_a_spool_the_oldest_goes_and_errors_last() -> None:
    """Bounded by bytes, and counted."""
    scene = Scene(None, capacity=35)
    error = scene.add(important=True)
    names = [scene.add() for _ in range(5)]
    assert scene.counts == {"created": 6, "in_memory": 3, "queue_full": 3}
    assert scene.take().ids == [error, *names[3:]]


def test_one_batch_larger_than_memory_is_kept_all_the_same() -> None:
    """As long as it is the only one."""
    scene = Scene(None, capacity=5)
    scene.add()
    scene.add(b"y" * 20)
    assert scene.counts == {"created": 2, "in_memory": 1, "queue_full": 1}


def test_a_full_spool_gives_up_its_oldest_errors_last(tmp_path: Path) -> None:
    """Counted as such; what is on its way is not touched."""
    scene = Scene(None)
    scene.spool = Spool(
        SpoolDirectory(tmp_path, "s"), "traces", quota=Quota(20_000, ["traces"]), max_age=60, segment_bytes=1000
    )
    scene.outbox._spool = scene.spool
    error = scene.add(b"e" * 500, important=True)
    shipment = None
    for number in range(60):
        scene.add(b"x" * 500)
        scene.outbox.keep(everything=True)
        if number == 3:
            shipment = scene.take()
    assert shipment is not None
    assert shipment.ids[0] == error
    counts = scene.counts
    assert counts["spool_full"] > 20
    assert scene.spool.size <= 21_000
    scene.outbox.put_back(shipment)
    assert scene.take(fresh=False).ids[0] == error
    assert scene.counts == counts


class Refusing(OsFiles):
    """A file system on which nothing can be made any more once `reason` is set."""

    reason: OSError | None = None

    def create(self, path: str) -> int:
        if self.reason is not None:
            raise self.reason
        return super().create(path)


def test_a_spool_that_cannot_be_used_is_said_once_and_memory_serves(tmp_path: Path) -> None:
    """And what is left in memory alone at the end is lost, which is counted too."""
    files = Refusing()
    files.reason = OSError(28, "No space left on device")
    scene = Scene(None)
    scene.outbox._spool = Spool(SpoolDirectory(tmp_path, "s", files=files), "traces", quota=Quota(1 << 20), max_age=60)
    for _ in range(3):
        scene.add()
        scene.outbox.keep(everything=True)
    assert len(scene.said) == 1
    assert "the disk is full" in scene.said[0]
    assert scene.counts == {"created": 3, "in_memory": 3}
    scene.outbox.close()
    assert scene.counts == {"created": 3, "shutdown_timeout": 3}


def test_what_is_too_old_is_given_up(tmp_path: Path) -> None:
    """Counted as expired."""
    now = [0.0]
    scene = Scene(None)
    scene.outbox._spool = Spool(
        SpoolDirectory(tmp_path, "s"), "traces", quota=Quota(1 << 20), max_age=60, clock=lambda: now[0]
    )
    scene.outbox._clock = lambda: now[0]
    scene.add()
    scene.outbox.keep(everything=True)
    now[0] += 61
    scene.add()
    scene.outbox.sweep()
    assert scene.counts == {"created": 2, "in_memory": 1, "expired": 1}


def test_what_is_damaged_on_the_disk_is_counted(tmp_path: Path) -> None:
    """Its neighbours are delivered."""
    scene = Scene(tmp_path, capacity=40)
    for letter in b"abc":
        scene.add(bytes([letter]) * 30)
        scene.outbox.keep(everything=True)
    (segment,) = tmp_path.glob("*/*/traces-*.seg")
    data = segment.read_bytes()
    with segment.open("r+b") as file:
        file.seek(data.index(b"b" * 30))
        file.write(b"X")
    delivered = []
    while (shipment := scene.outbox.take(fresh=True)) is not None:
        delivered.append(shipment.body)
        scene.outbox.deliver(shipment)
    assert b"".join(delivered) == b"a" * 30 + b"c" * 30
    assert scene.counts == {"created": 3, "delivered": 2, "damaged": 1}


def test_what_is_refused_is_kept_for_a_person_to_look_at(tmp_path: Path) -> None:
    """In a file of its own, which nobody sends again."""
    scene = Scene(tmp_path)
    scene.add(b"poison")
    scene.outbox.give_up(scene.take(), Reason.REFUSED)
    (refused,) = tmp_path.glob("*/*/refused-traces.seg")
    assert b"poison" in refused.read_bytes()
    assert scene.counts == {"created": 1, "refused": 1}


def test_a_forked_child_has_nothing_of_its_parent_and_a_folder_of_its_own(tmp_path: Path) -> None:
    """Neither delivers or settles what is the other's."""
    scene = Scene(tmp_path)
    parents = scene.add()
    scene.outbox.keep(everything=True)
    child = os.fork()
    if child == 0:
        scene.outbox.forget()
        scene.add()
        scene.outbox.keep(everything=True)
        scene.outbox.sweep()
        alone = scene.outbox.items == 1 and len(list(tmp_path.glob("*/*/lock"))) == 2
        os._exit(0 if alone else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert scene.take().ids == [parents]
    scene.outbox.sweep()
    assert scene.counts == {"created": 2, "taken_over": 1, "on_disk": 2}


@pytest.mark.parametrize("written", [True, False])
def test_halves_take_the_place_of_the_whole_on_the_disk_as_well(tmp_path: Path, written: bool) -> None:
    """After a crash in the middle the same parts have the same ids."""
    from tests.delivery.parts import request_of

    whole = request_of([(None, b"\x12\x03\x2a\x01a", 1), (None, b"\x12\x03\x2a\x01b", 1)])
    names = []
    for _ in range(2):
        scene = Scene(tmp_path)
        batch = Batch("00000000000000aa", "traces", whole, 2, 1000.0)
        scene.accounts.accept("traces", 2, batch.size)
        scene.outbox.add(batch)
        if written:
            scene.outbox.keep(everything=True)
        assert scene.outbox.split(scene.take(), too_large=True)
        assert scene.counts == {"created": 2, "on_disk" if written else "in_memory": 2}
        shipments = []
        while (shipment := scene.outbox.take(fresh=True)) is not None:
            shipments.append(shipment)
            scene.outbox.deliver(shipment)
        names.append([shipment.ids for shipment in shipments])
        assert scene.counts == {"created": 2, "delivered": 2}
    assert names[0] == names[1]
    assert len(names[0]) == 2
