"""R4: whatever happens to the bytes, what is whole is found, and what is not is counted and never handed on."""

from __future__ import annotations

import struct
from pathlib import Path
from zlib import crc32

import pytest

from otel_forge.delivery.batch import Batch
from otel_forge.delivery.spool import Spool, format
from tests.delivery.spool.disk import Disk, DiskFiles
from tests.delivery.spool.spools import a_batch, open_spool, pending

BATCHES = [a_batch(number, size) for number, size in enumerate((40, 64, 90), start=1)]
WHOLE = {batch.id: batch for batch in BATCHES}


def _dead_disk(settled: int | None = None) -> tuple[Disk, str, bytes]:
    """Return a disk with one segment of three records, its path and its bytes."""
    disk = Disk()
    files = DiskFiles(disk)
    spool = open_spool("/var/spool", files=files)
    entries = [spool.append(batch) for batch in BATCHES]
    if settled is not None:
        spool.settle(entries[settled])
    files.kill()
    (path,) = disk.segments("traces")
    return disk, path, bytes(disk.files[path].data)


def _heir(disk: Disk) -> Spool:
    return open_spool("/var/spool", files=DiskFiles(disk))


def _offsets() -> list[int]:
    offsets = [format.SEGMENT_HEADER]
    for batch in BATCHES:
        offsets.append(offsets[-1] + format.RECORD_HEADER + batch.size)
    return offsets


@pytest.mark.gate
def test_a_record_torn_at_any_byte_ends_the_log_there() -> None:
    """R4: whatever was written whole before is found; the torn rest is counted once."""
    disk, path, content = _dead_disk()
    offsets = _offsets()
    assert offsets[-1] == len(content)
    for end in range(len(content)):
        disk, path, _ = _dead_disk()
        del disk.files[path].data[end:]
        heir = _heir(disk)
        whole = {batch.id: batch for batch, last in zip(BATCHES, offsets[1:], strict=True) if last <= end}
        assert pending(heir) == whole, end
        assert heir.damaged == (end > offsets[0] and end not in offsets), end
        known = end - max([offset for offset in offsets if offset <= end], default=0) >= format.RECORD_HEADER
        assert heir.damaged_items == (3 if heir.damaged and known else 0), end
        assert heir.size == sum([len(inode.data) for inode in disk.segments("traces").values()])


@pytest.mark.gate
@pytest.mark.parametrize("bit", [0, 7])
def test_a_flipped_bit_harms_at_most_the_record_it_is_in(bit: int) -> None:
    """R4: at every byte of a segment; nothing is handed on that was not written, and what is missing is counted."""
    _, _, content = _dead_disk()
    offsets = _offsets()
    for position in range(len(content)):
        disk, path, _ = _dead_disk()
        disk.files[path].data[position] ^= 1 << bit
        heir = _heir(disk)
        found = pending(heir)
        whole = {name: batch for name, batch in found.items() if batch is not None}
        hit = [
            batch.id
            for batch, start, end in zip(BATCHES, offsets, offsets[1:], strict=False)
            if start <= position < end and not start + format.STATE_OFFSET <= position < start + 8
        ]
        assert whole == {name: batch for name, batch in WHOLE.items() if name not in hit}, position
        assert heir.damaged + list(found.values()).count(None) == len(hit), position
        assert heir.held == len(whole)


@pytest.mark.parametrize("settled", [0, 1, 2])
def test_a_torn_overwrite_of_the_state_reads_as_pending(settled: int) -> None:
    """A record is rather sent twice than lost: any state but the whole mark means that it is pending."""
    disk, path, content = _dead_disk(settled)
    start = _offsets()[settled] + format.STATE_OFFSET
    assert content[start : start + 4] != bytes(4)
    assert pending(_heir(disk)) == {name: batch for name, batch in WHOLE.items() if name != BATCHES[settled].id}
    for kept in range(4):
        disk, path, content = _dead_disk(settled)
        disk.files[path].data[start + kept : start + 4] = bytes(4 - kept)
        if content[start + kept : start + 4] != bytes(4 - kept):
            assert pending(_heir(disk)) == WHOLE


def test_zeros_in_the_place_of_the_end_are_counted_as_damage() -> None:
    """As a file system leaves them after a power cut, when the size was written and the data were not."""
    disk, path, content = _dead_disk()
    start = _offsets()[2]
    disk.files[path].data[start:] = bytes(len(content) - start + 5000)
    heir = _heir(disk)
    assert pending(heir) == {batch.id: batch for batch in BATCHES[:2]}
    assert heir.damaged == 1


def test_a_damaged_header_in_the_middle_of_large_records_is_skipped() -> None:
    """The next record is found across the chunks in which it is looked for."""
    for size in (65_480, 65_536 - format.RECORD_HEADER, 65_536, 200_000):
        disk = Disk()
        files = DiskFiles(disk)
        spool = open_spool("/var/spool", files=files)
        for number in range(3):
            spool.append(a_batch(number, size))
        spool.close()
        for inode in disk.segments("traces").values():
            inode.data[format.SEGMENT_HEADER + 20] ^= 1
        segments = len(disk.segments("traces"))
        heir = _heir(disk)
        assert len([batch for batch in pending(heir).values() if batch]) == 3 - segments
        assert heir.damaged == segments


def test_bytes_of_a_segment_inside_a_body_are_not_taken_for_records() -> None:
    """Somebody may log a segment; with a header damaged, its records are not found in the body."""
    _, _, content = _dead_disk()
    disk = Disk()
    files = DiskFiles(disk)
    spool = open_spool("/var/spool", files=files)
    spool.append(Batch("00000000000000aa", "traces", b"x" + content, 1, 1.0))
    spool.append(a_batch(9))
    files.kill()
    (inode,) = disk.segments("traces").values()
    inode.data[format.SEGMENT_HEADER + 20] ^= 1
    assert pending(_heir(disk)) == {a_batch(9).id: a_batch(9)}


def test_a_segment_of_another_version_is_left_alone_and_said() -> None:
    disk, path, content = _dead_disk()
    head = bytearray(content[: format.SEGMENT_HEADER])
    struct.pack_into("<H", head, 8, format.VERSION + 1)
    struct.pack_into("<I", head, len(head) - 4, crc32(head[:-4]))
    disk.files[path].data[: len(head)] = head
    before = bytes(disk.files[path].data)
    heir = _heir(disk)
    assert heir.take_over() == heir.take_over() == []
    assert heir.foreign == {path}
    assert bytes(disk.files[path].data) == before
    assert (heir.size, heir.damaged) == (0, 0)


def test_a_copy_left_by_a_crash_while_it_was_carried_over_is_found_once() -> None:
    disk, path, content = _dead_disk()
    disk.files[path.replace("00000001", "00000002")] = copy = type(disk.files[path])(99)
    copy.data = bytearray(content)
    files = DiskFiles(disk)
    found = open_spool("/var/spool", files=files).take_over()
    assert sorted([entry.id for entry in found]) == sorted(WHOLE)
    files.kill()
    assert len(_heir(disk).take_over()) == len(WHOLE)


def test_a_copy_of_what_was_settled_elsewhere_does_not_come_back() -> None:
    """It was carried over, the old file could not be removed, and the copy was delivered."""
    disk, path, content = _dead_disk()
    _, _, with_one_settled = _dead_disk(settled=1)
    disk.files[path.replace("00000001", "00000002")] = copy = type(disk.files[path])(99)
    copy.data = bytearray(with_one_settled)
    assert sorted([entry.id for entry in _heir(disk).take_over()]) == [BATCHES[0].id, BATCHES[2].id]


def test_garbage_is_removed_and_counted() -> None:
    disk, path, _ = _dead_disk()
    disk.files[path].data[:] = b"garbage" * 100
    heir = _heir(disk)
    assert heir.take_over() == []
    assert (heir.damaged, heir.size, disk.segments("traces")) == (1, 0, {})


def test_a_damaged_record_is_given_up_when_it_is_read(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    entry = spool.append(a_batch(1))
    (path,) = tmp_path.rglob("*.seg")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert spool.read(entry) is None
    assert (spool.held, spool.size) == (0, format.SEGMENT_HEADER)
