"""Reading log files from their end."""

from __future__ import annotations

import gzip
import io
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_forge.logs.files import reading
from otel_forge.logs.files.entries import EVERYTHING, Selection, time_in
from otel_forge.logs.files.names import LogFile, files_of
from otel_forge.logs.files.reading import last_lines, lines_backwards, look
from otel_forge.logs.files.sink import seal
from otel_forge.logs.files.upkeep import pack_file

LINES = st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), min_size=1)


@given(LINES, st.integers(1, 9), st.booleans())
def test_lines_from_the_end_are_the_lines_from_the_start_reversed(
    lines: list[bytes], block_size: int, has_end: bool
) -> None:
    """Wherever the blocks begin, with empty lines, and with or without an end of the last one."""
    content = b"\n".join(lines) + (b"\n" if has_end else b"")
    descriptor = os.memfd_create("log")
    try:
        os.write(descriptor, content)
        found = list(lines_backwards(descriptor, len(content), block_size))
    finally:
        os.close(descriptor)
    forwards = [line.removesuffix(b"\n") for line in io.BytesIO(content)]
    assert found == forwards[::-1]


def read_from_disk() -> int:
    """Return how many bytes this process has read so far, as the kernel counts them."""
    found = re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())
    assert found is not None
    return int(found[1])


def test_the_end_of_a_big_file_is_read_without_the_rest(tmp_path: Path) -> None:
    """100 lines of 100 MB cost a few blocks."""
    with (tmp_path / "shop-2026-11-23.log").open("wb") as file:
        file.truncate(100_000_000)
        file.seek(0, os.SEEK_END)
        file.write(b"".join(b"\n%06d %s" % (number, b"x" * 100) for number in range(10_000)) + b"\n")
    before = read_from_disk()
    found = last_lines(look(tmp_path, "shop"), 100, EVERYTHING)
    assert read_from_disk() - before < 500_000
    assert [line[:6] for line in found] == [b"%06d" % number for number in range(9900, 10_000)]


def test_lines_come_from_as_many_files_as_it_takes(tmp_path: Path) -> None:
    """Written, set aside, packed, and renamed by logrotate."""
    (tmp_path / "shop-2026-11-21.log.1").write_text("one\n")
    (tmp_path / "shop-2026-11-22.1.log.gz").write_bytes(gzip.compress(b"two\nthree\n"))
    (tmp_path / "shop-2026-11-22.2.log").write_text("four\n")
    (tmp_path / "shop-2026-11-22.log").write_text("five\n")
    (tmp_path / "shop-2026-11-23.log").write_text("six\nseven\n")
    snapshot = look(tmp_path, "shop")
    everything = [b"one", b"two", b"three", b"four", b"five", b"six", b"seven"]
    for room in range(8):
        assert last_lines(snapshot, room, EVERYTHING) == everything[len(everything) - room :]
    assert last_lines(snapshot, None, EVERYTHING) == everything


def test_a_line_that_is_being_written_is_not_shown(tmp_path: Path) -> None:
    """Half a line is no line yet."""
    (tmp_path / "shop-2026-11-23.log").write_text("whole\nha")
    assert last_lines(look(tmp_path, "shop"), None, EVERYTHING) == [b"whole"]


def test_a_plain_file_beside_its_packed_form_is_not_read_twice(tmp_path: Path) -> None:
    """It is about to be removed."""
    (tmp_path / "shop-2026-11-23.1.log").write_text("one\n")
    (tmp_path / "shop-2026-11-23.1.log.gz").write_bytes(gzip.compress(b"one\n"))
    assert last_lines(look(tmp_path, "shop"), None, EVERYTHING) == [b"one"]


def test_files_are_found_under_the_names_they_get_meanwhile(tmp_path: Path) -> None:
    """Set aside after we looked, or packed; one that was removed has no lines any more."""
    written = tmp_path / "shop-2026-11-23.log"
    (tmp_path / "shop-2026-11-23.1.log").write_text("one\n")
    (tmp_path / "shop-2026-11-23.2.log").write_text("two\n")
    written.write_text("three\n")
    snapshot = look(tmp_path, "shop")
    (tmp_path / "shop-2026-11-23.1.log").unlink()
    pack_file(tmp_path / "shop-2026-11-23.2.log")
    pack_file(seal(written, tmp_path, "shop"))
    written.write_text("four\n")
    assert last_lines(snapshot, None, EVERYTHING) == [b"two", b"three"]


def test_a_file_set_aside_between_listing_and_opening_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is made again until nothing has changed under it."""
    written = tmp_path / "shop-2026-11-23.log"
    written.write_text("one\n")
    rotations = iter(["two\n", "three\n"])

    def listed(folder: Path, service: str) -> list[LogFile]:
        files = files_of(folder, service)
        if (text := next(rotations, None)) is not None:
            seal(written, folder, service)
            written.write_text(text)
        return files

    monkeypatch.setattr(reading, "files_of", listed)
    assert last_lines(look(tmp_path, "shop"), None, EVERYTHING) == [b"one", b"two", b"three"]


def test_of_a_damaged_packed_file_the_lines_before_the_damage_are_read(tmp_path: Path) -> None:
    """A disk that lost the rest of it."""
    packed = gzip.compress(b"".join(b"%06d\n" % number for number in range(50_000)))
    (tmp_path / "shop-2026-11-23.1.log.gz").write_bytes(packed[: len(packed) // 2])
    found = last_lines(look(tmp_path, "shop"), None, EVERYTHING)
    assert found[:2] == [b"000000", b"000001"]
    assert 10_000 < len(found) < 50_000


def test_nothing_is_read_beyond_the_time_asked_for(tmp_path: Path) -> None:
    """Neither older files, packed or not, nor the start of one."""
    old = tmp_path / "shop-2026-11-22.1.log.gz"
    old.write_bytes(b"no gzip at all")
    os.utime(old, (1000, 1000))
    lines = [f"2026-11-23T{hour:02d}:{minute:02d}:00Z {'x' * 5000}" for hour in range(12) for minute in range(60)]
    (tmp_path / "shop-2026-11-23.log").write_text("\n".join(lines) + "\n")
    since = time_in("2026-11-23T11:30:00Z")
    before = read_from_disk()
    found = last_lines(look(tmp_path, "shop"), None, Selection(since=since))
    assert read_from_disk() - before < 500_000
    assert [line[:20].decode() for line in found] == [f"2026-11-23T11:{minute}:00Z" for minute in range(30, 60)]
