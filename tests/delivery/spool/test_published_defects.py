"""Defects that were published of other disk buffers, each by the name it is known by, and what happens here.

They were found in Vector's disk buffers, the Collector's persistent queue, and Fluent Bit's file storage.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from random import Random
from threading import Thread

import pytest

from otel_forge.delivery.spool import OsFiles, Quota, Spool, SpoolDirectory, SpoolFull
from tests.delivery.spool.disk import Disk, DiskFiles, Killed, watched
from tests.delivery.spool.spools import MAX_AGE, Clocks, a_batch, on_disk, open_spool, pending


def test_drop_not_metered(tmp_path: Path) -> None:
    """Every record is either held or was handed back as given up, through overflow, expiry and damage."""
    clocks = Clocks()
    spool = open_spool(tmp_path, capacity=20_000, segment_bytes=2000, clocks=clocks)
    created, given = 0, []
    for number in range(100):
        batch = a_batch(number, 900)
        created += batch.items
        try:
            spool.append(batch)
        except SpoolFull:
            given += spool.make_room(batch.size)
            spool.append(batch)
    entries = [entry for segment in spool._segments for entry in segment.entries.values()]
    path = entries[0].segment.path
    Path(path).write_bytes(b"x" * Path(path).stat().st_size)
    damaged = [entry for entry in entries if spool.read(entry) is None]
    assert damaged
    clocks.advance(MAX_AGE)
    expired = spool.expired()
    assert expired
    assert created == spool.held_items + sum([entry.items for entry in [*given, *damaged, *expired]])
    assert spool.held == 0


def test_counter_underflow(tmp_path: Path) -> None:
    """Settling what was settled, given up, expired or taken away counts nothing a second time."""
    clocks, quota = Clocks(), Quota(20_000, ("traces",))
    spool = open_spool(tmp_path, quota=quota, segment_bytes=2000, clocks=clocks)
    entries = []
    for number in range(40):
        try:
            entries.append(spool.append(a_batch(number, 900)))
        except SpoolFull:
            spool.make_room(900)
        if number == 20:
            spool.settle(entries[-1])
    clocks.advance(MAX_AGE)
    spool.expired()
    for entry in entries * 2:
        spool.settle(entry)
        assert spool.read(entry) is None
    assert (spool.held, spool.held_items, spool._important) == (0, 0, 0)
    assert spool.size == quota.total == on_disk(tmp_path) >= 0


def test_counter_underflow_when_files_vanish(tmp_path: Path) -> None:
    """A segment that somebody removed is taken off the count once."""
    spool = open_spool(tmp_path, segment_bytes=1000)
    entries = [spool.append(a_batch(number, 900)) for number in range(5)]
    for path in tmp_path.rglob("*.seg"):
        path.unlink()
    for entry in entries:
        spool.read(entry)
        spool.settle(entry)
    spool.sync()
    assert spool.held == 0
    assert spool.size in (0, 36 + 900 + 44, 40)


def test_writer_drop_without_flush() -> None:
    """A writer that is dropped, not closed, has written all that it acknowledged: there is no buffer of its own."""
    disk = Disk()
    files = DiskFiles(disk)
    spool = open_spool("/var/spool", files=files)
    for number in range(20):
        spool.append(a_batch(number))
    del spool
    files.kill()
    assert len(pending(open_spool("/var/spool", files=DiskFiles(disk)))) == 20


def test_writer_drop_without_flush_and_a_power_cut() -> None:
    """With `always`, not even the disk's own cache may have it."""
    for seed in range(20):
        disk = Disk()
        files = DiskFiles(disk)
        spool = open_spool("/var/spool", files=files, fsync="always", segment_bytes=400)
        for number in range(20):
            spool.append(a_batch(number))
        files.kill()
        disk.lose_power(Random(seed))
        assert len(pending(open_spool("/var/spool", files=DiskFiles(disk)))) == 20


def test_rejected_delivery_still_acknowledging(tmp_path: Path) -> None:
    """Reading is not settling: what was read and not settled is there again, as often as the delivery fails."""
    for _ in range(3):
        spool = open_spool(tmp_path)
        if not list(tmp_path.rglob("*.seg")):
            spool.append(a_batch(1))
        entries = spool.take_over() or [entry for segment in spool._segments for entry in segment.entries.values()]
        assert [spool.read(entry) for entry in entries] == [a_batch(1)]
        assert [spool.read(entry) for entry in entries] == [a_batch(1)]
        spool.close()


def test_file_id_wrap(tmp_path: Path) -> None:
    """The numbers of segments begin again at their end, where one that is still held is passed over."""
    clocks = Clocks()
    spool = open_spool(tmp_path, segment_bytes=150, clocks=clocks)
    first = spool.append(a_batch(1))
    spool._number = 99_999_998
    entries = []
    for number in range(2, 6):
        clocks.advance(1)
        entries.append(spool.append(a_batch(number)))
    names = sorted([path.name for path in tmp_path.rglob("*.seg")])
    assert names == [f"traces-{number:08d}.seg" for number in (1, 2, 3, 4, 99_999_999)]
    assert [spool.read(entry) for entry in (first, *entries)] == [a_batch(number) for number in range(1, 6)]
    spool.close()
    heir = open_spool(tmp_path)
    heir._number = 99_999_997
    assert [entry.id for entry in heir.take_over()] == [a_batch(number).id for number in range(1, 6)]
    assert sorted(pending_ids(heir)) == [a_batch(number).id for number in range(1, 6)]


def pending_ids(spool: Spool) -> list[str]:
    """Return the ids of what can be read of all that is held."""
    entries = [entry for segment in spool._segments for entry in segment.entries.values()]
    return [batch.id for entry in entries if (batch := spool.read(entry))]


@pytest.mark.parametrize("after", range(1, 60))
def test_crash_between_unlink_and_ledger_sync(after: int) -> None:
    """There is no ledger: a process killed at any operation leaves files that say themselves what is held."""
    disk, left = Disk(), after

    def count_down(_: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise Killed

    files = DiskFiles(disk)
    spool = open_spool("/var/spool", files=watched(files, count_down), segment_bytes=400)
    appended, settling, settled = set(), set(), set()
    try:
        for number in range(30):
            batch = a_batch(number)
            entry = spool.append(batch)
            appended.add(batch.id)
            if number % 3:
                settling.add(batch.id)
                spool.settle(entry)
                settled.add(batch.id)
    except Killed:
        pass
    files.kill()
    heir = open_spool("/var/spool", files=DiskFiles(disk))
    found = pending(heir)
    assert appended - settling <= set(found)
    assert not settled & set(found)
    assert heir.size == sum([len(inode.data) for inode in disk.segments("traces").values()])
    assert heir.held == len(found)


def test_a_file_that_cannot_be_deleted_is_settled_all_the_same() -> None:
    """Its bytes stay on the count until it is gone, and it is tried again."""
    disk, refuses = Disk(), True

    def refuse(operation: str) -> None:
        if refuses and operation == "unlink":
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    files = DiskFiles(disk)
    spool = open_spool("/var/spool", files=watched(files, refuse), segment_bytes=150)
    entries = [spool.append(a_batch(number)) for number in range(3)]
    spool.settle(entries[0])
    assert (spool.held, len(disk.segments("traces"))) == (2, 3)
    assert spool.size == sum([len(inode.data) for inode in disk.segments("traces").values()])
    refuses = False
    spool.sync()
    assert len(disk.segments("traces")) == 2
    assert spool.size == sum([len(inode.data) for inode in disk.segments("traces").values()])


@pytest.mark.parametrize("refused", ["unlink", "truncate"])
def test_what_is_settled_stays_so_when_its_file_can_be_neither_deleted_nor_cut(refused: str) -> None:
    """The state is overwritten instead, so it does not come back after a crash."""
    disk = Disk()

    def refuse(operation: str) -> None:
        if operation == refused:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    files = DiskFiles(disk)
    spool = open_spool("/var/spool", files=watched(files, refuse), segment_bytes=150)
    entries = [spool.append(a_batch(number)) for number in range(2)]
    for entry in entries:
        spool.settle(entry)
    files.kill()
    heir = open_spool("/var/spool", files=DiskFiles(disk))
    assert heir.take_over() == []
    assert (heir.size, disk.segments("traces")) == (0, {})


def test_one_oversize_record_stopping_everything(tmp_path: Path) -> None:
    """It is refused by itself, at once, and costs the others nothing."""
    spool = open_spool(tmp_path, capacity=10_000)
    kept = [spool.append(a_batch(1))]
    with pytest.raises(SpoolFull) as refusal:
        spool.append(a_batch(2, 20_000))
    assert refusal.value.too_large
    assert spool.make_room(20_000) == []
    kept.append(spool.append(a_batch(3)))
    assert [spool.read(entry) for entry in kept] == [a_batch(1), a_batch(3)]


def test_one_unreadable_directory_stopping_everything(tmp_path: Path) -> None:
    """What one dead process left can't be read; what the others left is taken over."""
    for number in range(3):
        spool = open_spool(tmp_path)
        spool.append(a_batch(number))
        if number == 1:
            broken = spool.path
        spool.close()

    class Broken(OsFiles):
        def names(self, path: str) -> list[str]:
            if path == broken:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().names(path)

    heir = open_spool(tmp_path, files=Broken())
    assert sorted(pending(heir)) == [a_batch(0).id, a_batch(2).id]
    assert list(pending(open_spool(tmp_path))) == [a_batch(1).id]


def test_a_crash_loop_does_not_fill_the_disk(tmp_path: Path) -> None:
    """A process that inherits more than its quota writes nothing more before it has given up as much."""
    for life in range(10):
        spool = open_spool(tmp_path, capacity=20_000, segment_bytes=2000)
        spool.take_over()
        for number in range(15):
            batch = a_batch(life * 100 + number, 900)
            try:
                spool.append(batch)
            except SpoolFull:
                spool.make_room(batch.size)
                spool.append(batch)
        spool.close()
        assert on_disk(tmp_path) <= 20_000
    assert len(list((tmp_path / "shop").iterdir())) == 1


def test_signals_of_one_process_inherit_side_by_side(tmp_path: Path) -> None:
    """Two threads that take over at once get all of it, each its own, and the dead one's directory is removed."""
    dead = SpoolDirectory(tmp_path, "shop")
    for name in ("traces", "logs"):
        spool = open_spool(tmp_path, directory=dead, signal=name, segment_bytes=150)
        for number in range(50):
            spool.append(a_batch(number, signal=name))
    for name in ("traces", "logs"):
        dead.leave(name)
    mine, quota = SpoolDirectory(tmp_path, "shop"), Quota(1 << 20)
    heirs = {name: open_spool(tmp_path, directory=mine, quota=quota, signal=name) for name in ("traces", "logs")}
    threads = [Thread(target=heir.take_over) for heir in heirs.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [heir.held for heir in heirs.values()] == [50, 50]
    assert [path.name for path in (tmp_path / "shop").iterdir()] == [Path(mine.path).name]
    assert quota.total == on_disk(tmp_path) + on_disk(tmp_path, "logs")
