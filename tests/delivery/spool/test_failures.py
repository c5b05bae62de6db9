"""R4: the file system may refuse anything at any time; only the two exceptions come out, and the counts stay exact."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path

import pytest

from otel_forge.delivery.spool import Entry, Files, OsFiles, Spool, SpoolFailed, SpoolFull
from tests.delivery.spool.disk import Disk, DiskFiles, watched
from tests.delivery.spool.spools import MAX_AGE, Clocks, a_batch, descriptors, on_disk, open_spool, pending

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE, errno.EACCES, errno.EDQUOT, errno.ESTALE)


class Failing:
    """Lets the operations pass but the `first`; if it is lasting, none after it but looking at an open file."""

    def __init__(self, first: int, error: int, *, lasting: bool = False) -> None:
        self.first, self.error, self.lasting = first, error, lasting
        self.seen = 0
        self.failed = ""

    def __call__(self, operation: str) -> None:
        self.seen += 1
        if self.seen == self.first or (self.lasting and self.seen > self.first and operation != "about"):
            self.failed = self.failed or operation
            raise OSError(self.error, os.strerror(self.error))


def _use_all(root: Path, files: Files, policy: str) -> tuple[Spool, dict[str, Entry], set[str]]:
    """Use every part of a spool; return it with what it should hold, and what was appended in vain."""
    clocks = Clocks()
    spool = open_spool(root, capacity=6000, segment_bytes=1500, files=files, clocks=clocks, fsync=policy)
    held = {entry.id: entry for entry in spool.take_over()}
    refused = set()
    for number in range(1, 16):
        batch = a_batch(number, 500, important=number % 4 == 0)
        for _ in range(2):
            try:
                held[batch.id] = spool.append(batch)
                refused.discard(batch.id)
                break
            except SpoolFull:
                for entry in spool.make_room(batch.size):
                    del held[entry.id]
            except SpoolFailed as failure:
                assert failure.reason
                refused.add(batch.id)
                clocks.advance(61)
        if number % 5 == 0 and held:
            spool.settle(held.pop(min(held)))
        if number % 6 == 0:
            for entry in list(held.values()):
                try:
                    if spool.read(entry) is None:
                        del held[entry.id]
                except SpoolFailed:
                    continue
        clocks.advance(1.5)
        spool.sync()
    spool.refuse(a_batch(99))
    clocks.advance(MAX_AGE - 12)
    for entry in spool.expired():
        del held[entry.id]
    return spool, held, refused


@pytest.mark.gate
@pytest.mark.parametrize(
    ("error", "policy"),
    [(errno.ENOSPC, "never"), (errno.EIO, "interval"), *[(error, "always") for error in ERRORS]],
    ids=lambda value: errno.errorcode.get(value, value),
)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from-then-on"])
def test_every_operation_may_fail(tmp_path: Path, error: int, policy: str, lasting: bool) -> None:
    """R4: the first, the second, ... operation fails, once or from then on, until a run has none left to fail."""
    first = 1
    while True:
        disk = Disk()
        _leave_something(disk)
        failing, process = Failing(first, error, lasting=lasting), DiskFiles(disk)
        spool, held, refused = _use_all(Path("/var/spool"), watched(process, failing), policy)
        assert (spool.held, spool.held_items) == (len(held), 3 * len(held)), (first, failing.failed)
        assert spool.size == sum([len(inode.data) for inode in disk.segments("traces").values()]) - _strangers(
            spool, disk
        ), (first, failing.failed)
        assert len(process.opened) <= 3, (first, failing.failed)
        spool.close()
        process.kill()
        heir = open_spool("/var/spool", files=DiskFiles(disk))
        found = pending(heir)
        assert set(held) <= set(found), (first, failing.failed)
        if not failing.failed:
            assert set(held) == set(found)
            assert not refused
            break
        first += 1
    assert first > 60


def _leave_something(disk: Disk) -> None:
    files = DiskFiles(disk)
    dead = open_spool("/var/spool", files=files)
    dead.append(a_batch(50))
    files.kill()


def _strangers(spool: Spool, disk: Disk) -> int:
    """Return the bytes of segments that are not the spool's: a dead process's, not taken over yet."""
    segments = disk.segments("traces").items()
    return sum([len(inode.data) for path, inode in segments if os.path.dirname(path) != spool.path])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EMFILE, "the process has too many open files"),
        (errno.EIO, "the disk reports an input/output error"),
        (errno.EACCES, "permission denied"),
    ],
)
def test_the_reason_is_said_in_words(tmp_path: Path, error: int, reason: str) -> None:
    spool = open_spool(tmp_path, files=watched(OsFiles(), Failing(1, error, lasting=True)))
    with pytest.raises(SpoolFailed) as failure:
        spool.append(a_batch(1))
    assert failure.value.reason == spool.problem == f"{reason} ({tmp_path})"


def test_after_a_failure_there_is_a_pause_that_grows_and_then_all_is_well(tmp_path: Path) -> None:
    """While it lasts, an append costs no operation."""
    clocks, failing = Clocks(), Failing(1, errno.EROFS, lasting=True)
    spool = open_spool(tmp_path, files=watched(OsFiles(), failing), clocks=clocks)
    for pause in (1, 2, 4, 8, 16, 32, 60, 60):
        with pytest.raises(SpoolFailed):
            spool.append(a_batch(1))
        seen = failing.seen
        clocks.advance(pause - 0.1)
        with pytest.raises(SpoolFailed, match="read-only"):
            spool.append(a_batch(1))
        assert failing.seen == seen
        clocks.advance(0.1)
    failing.lasting = False
    spool.append(a_batch(1))
    spool.append(a_batch(2))
    assert (spool.problem, spool.held) == ("", 2)


def test_a_disk_that_fills_up_in_the_middle_of_a_record_keeps_what_was_written_before() -> None:
    """The half is cut off, and a new segment is begun when there is room again."""
    disk, clocks = Disk(), Clocks()
    files = DiskFiles(disk)
    spool = open_spool("/var/spool", files=files, clocks=clocks)
    spool.append(a_batch(1))
    before = spool.size
    disk.room = 50
    with pytest.raises(SpoolFailed, match="the disk is full"):
        spool.append(a_batch(2, 1000))
    assert spool.size == before == sum([len(inode.data) for inode in disk.segments("traces").values()])
    disk.room = None
    clocks.advance(1)
    spool.append(a_batch(3))
    files.kill()
    heir = open_spool("/var/spool", files=DiskFiles(disk))
    assert pending(heir) == {a_batch(1).id: a_batch(1), a_batch(3).id: a_batch(3)}
    assert heir.damaged == 0


def test_a_segment_that_was_not_begun_whole_and_cannot_be_removed_counts() -> None:
    """What lies on a full disk is on the quota until it is gone."""
    disk, clocks = Disk(), Clocks()
    is_refusing = [True]

    def refuse(operation: str) -> None:
        if operation == "unlink" and is_refusing[0]:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    spool = open_spool("/var/spool", files=watched(DiskFiles(disk), refuse), clocks=clocks)
    disk.room = 30
    with pytest.raises(SpoolFailed):
        spool.append(a_batch(1))
    assert spool.size == sum([len(inode.data) for inode in disk.segments("traces").values()]) > 0
    disk.room, is_refusing[0] = None, False
    clocks.advance(1)
    spool.append(a_batch(2))
    spool.sync()
    assert spool.size == sum([len(inode.data) for inode in disk.segments("traces").values()])


def test_a_real_full_disk_is_a_reason_to_go_on_in_memory(tmp_path: Path) -> None:
    """With a limit of the kernel's own on the size of files, and what it tells of it by EFBIG."""
    spool = open_spool(tmp_path)
    spool.append(a_batch(1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(SpoolFailed, match="File too large"):
            spool.append(a_batch(2, 5000))
        assert spool.size == on_disk(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    spool.close()
    heir = open_spool(tmp_path)
    assert (pending(heir), heir.damaged) == ({a_batch(1).id: a_batch(1)}, 0)


def test_running_out_of_descriptors_does_not_lose_what_is_held(tmp_path: Path) -> None:
    """It can't be read for the moment; it is not taken for damaged."""
    spool = open_spool(tmp_path, segment_bytes=400)
    entries = [spool.append(a_batch(number)) for number in range(3)]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(SpoolFailed, match="too many open files"):
            spool.read(entries[0])
        spool.settle(entries[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    spool.sync()
    assert spool.read(entries[0]) == a_batch(0)
    spool.close()
    assert sorted(pending(open_spool(tmp_path))) == [a_batch(0).id, a_batch(2).id]


def test_few_descriptors_are_open_however_many_segments_there_are(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, segment_bytes=200)
    before = len(descriptors())
    entries = [spool.append(a_batch(number)) for number in range(100)]
    for entry in entries[::2]:
        assert spool.read(entry)
        spool.settle(entry)
    assert len(descriptors()) - before <= 3
    spool.close()
    assert len(descriptors()) == before
