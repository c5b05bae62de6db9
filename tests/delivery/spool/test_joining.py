"""Small neighbours joined to one record: nothing is lost and nothing is there twice, wherever a crash cuts in."""

from __future__ import annotations

import pytest

from otel_forge.delivery.batch import joined
from otel_forge.delivery.spool import SpoolFailed, SpoolFull
from tests.delivery.spool.disk import Disk, DiskFiles, Killed, watched
from tests.delivery.spool.spools import Clocks, a_batch, open_spool

ROOT = "/var/spool"
BATCHES = [a_batch(number, 30) for number in range(1, 6)]
WHOLE = joined(BATCHES[:4])


def test_a_joined_record_is_one_request_that_names_its_parts() -> None:
    """It is as old as its oldest part, and important if one of them is."""
    disk, clocks = Disk(), Clocks()
    spool = open_spool(ROOT, files=DiskFiles(disk), clocks=clocks)
    first = spool.append(a_batch(1, 30))
    clocks.advance(100)
    second = spool.append(a_batch(2, 30, important=True))
    whole = spool.join(joined([a_batch(1, 30), a_batch(2, 30, important=True)]), [first, second])
    assert (whole.items, whole.size, whole.parts, whole.important) == (6, 60, 2, True)
    assert whole.born == first.born
    assert spool.held == 1
    batch = spool.read(whole)
    assert batch is not None
    assert batch.body == a_batch(1, 30).body + a_batch(2, 30).body
    assert list(batch.ids) == [a_batch(1).id, a_batch(2).id]
    clocks.advance(3500)
    assert spool.expired() == [whole]


@pytest.mark.parametrize("policy", ["always", "interval", "never"])
def test_a_crash_at_any_operation_leaves_the_whole_or_the_parts(policy: str) -> None:
    """The heir finds each record once, whichever way."""
    for operations in range(1, 40):
        disk = Disk()
        process = DiskFiles(disk)
        left = [0]

        def before(_: str, left: list[int] = left) -> None:
            if left[0]:
                left[0] -= 1
                if not left[0]:
                    raise Killed

        spool = open_spool(ROOT, files=watched(process, before), fsync=policy)
        entries = [spool.append(batch) for batch in BATCHES]
        left[0] = operations
        try:
            spool.join(WHOLE, entries[:4])
            survived = not left[0] or operations > 30
        except Killed:
            survived = False
        process.kill()
        heir = open_spool(ROOT, files=DiskFiles(disk))
        found = [heir.read(entry) for entry in heir.take_over()]
        names = sorted(name for batch in found if batch is not None for name in batch.ids)
        assert names == [batch.id for batch in BATCHES], f"killed at operation {operations}"
        assert heir.damaged_items == 0
        if survived:
            assert len(found) == 2
            return
    raise AssertionError("the join never ended")


def test_a_power_cut_after_joining_loses_nothing_that_was_on_the_disk() -> None:
    """The whole is synced before its parts are settled."""
    from random import Random

    for seed in range(60):
        disk = Disk()
        process = DiskFiles(disk)
        clocks = Clocks()
        spool = open_spool(ROOT, files=process, fsync="interval", clocks=clocks)
        entries = [spool.append(batch) for batch in BATCHES]
        clocks.advance(2)
        spool.sync()
        spool.join(WHOLE, entries[:4])
        disk.lose_power(Random(seed))
        process.kill()
        heir = open_spool(ROOT, files=DiskFiles(disk))
        found = [heir.read(entry) for entry in heir.take_over()]
        names = [name for batch in found if batch is not None for name in batch.ids]
        assert sorted(set(names)) == [batch.id for batch in BATCHES], f"seed {seed}"
        assert len(names) == len(set(names))


def test_without_room_or_with_a_failing_disk_the_parts_stay() -> None:
    """Said by the two exceptions that the spool knows."""
    disk = Disk()
    spool = open_spool(ROOT, files=DiskFiles(disk), capacity=3000)
    entries = [spool.append(batch) for batch in BATCHES]
    with pytest.raises(SpoolFull):
        spool.join(joined([a_batch(9, 2900)]), entries)
    assert spool.held == 5
    disk.room = 10
    with pytest.raises(SpoolFailed):
        spool.join(WHOLE, entries[:4])
    assert [spool.read(entry) for entry in entries] == BATCHES
