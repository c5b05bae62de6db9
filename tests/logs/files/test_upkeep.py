"""Packing and removing."""

from __future__ import annotations

import fcntl
import gzip
import os
import random
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_forge.logs.files.sink import DailyFile
from otel_forge.logs.files.upkeep import Bounds, Calendar, Upkeep, pack_file
from otel_forge.notices import Rationed
from tests.logs.files.conftest import DAY, TODAY, Clock, names_in, text_of


class Told:
    """Collects what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def rationed(self) -> Rationed:
        return Rationed(0.0, say=self.lines.append)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def upkeep_of(folder: Path, clock: Clock, told: Told) -> Callable[..., Upkeep]:
    """Make the upkeep of the service shop, with bounds and parts of its own."""
    folder.mkdir()

    def make(**parts: object) -> Upkeep:
        given = {"bounds": Bounds(), "calendar": Calendar(clock, clock), "say": told.rationed(), **parts}
        return Upkeep(folder, "shop", **given)  # type: ignore[arg-type]

    return make


def test_what_was_set_aside_is_packed(upkeep_of: Callable[..., Upkeep], folder: Path) -> None:
    """With the same lines, rights and time; what is written to stays as it is."""
    sealed = folder / f"shop-{TODAY}.1.log"
    sealed.write_text("one\ntwo\n")
    os.utime(sealed, (1_000_000, 1_000_000))
    (folder / f"shop-{TODAY}.log").write_text("three\n")
    upkeep_of().run()
    assert names_in(folder) == [f"shop-{TODAY}.1.log.gz", f"shop-{TODAY}.log"]
    packed = (folder / f"shop-{TODAY}.1.log.gz").stat()
    assert text_of(folder / f"shop-{TODAY}.1.log.gz") == "one\ntwo\n"
    assert (stat.S_IMODE(packed.st_mode), packed.st_mtime) == (0o600, 1_000_000)


def test_days_are_packed_after_a_week_and_removed_after_a_month(
    upkeep_of: Callable[..., Upkeep], folder: Path, clock: Clock
) -> None:
    """The names tell the age, since copying a folder gives new times to files."""
    for day in ("2026-10-23", "2026-10-24", "2026-11-15", "2026-11-16", TODAY):
        (folder / f"shop-{day}.log").write_text("line\n")
    upkeep = upkeep_of()
    upkeep.run()
    expected = ["shop-2026-10-24.1.log.gz", "shop-2026-11-15.1.log.gz", "shop-2026-11-16.log", f"shop-{TODAY}.log"]
    assert names_in(folder) == expected
    assert upkeep.removed_for_age == 1
    clock.now += DAY
    upkeep.run()
    assert names_in(folder) == ["shop-2026-11-15.1.log.gz", "shop-2026-11-16.1.log.gz", f"shop-{TODAY}.log"]


@pytest.mark.parametrize("jump", [400 * DAY, -400 * DAY, 7200.0])
def test_after_a_jump_of_the_clock_nothing_is_removed_for_a_day(
    upkeep_of: Callable[..., Upkeep], folder: Path, clock: Clock, jump: float
) -> None:
    """A machine that starts in the wrong year must not lose its logs."""
    steady = Clock(0.0)
    upkeep = upkeep_of(calendar=Calendar(clock, steady))
    old = folder / "shop-2020-01-01.1.log.gz"
    old.write_bytes(gzip.compress(b"old\n"))
    clock.now += jump
    upkeep.run()
    assert old.exists()
    clock.now += DAY
    steady.now += DAY
    upkeep.run()
    assert not old.exists()


def incompressible(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def test_above_the_cap_the_oldest_packed_files_go(upkeep_of: Callable[..., Upkeep], folder: Path, told: Told) -> None:
    """No more of them than it takes, never what is written to, and it is said."""
    for number in range(1, 6):
        (folder / f"shop-{TODAY}.{number}.log").write_bytes(incompressible(1000))
    (folder / f"shop-{TODAY}.log").write_bytes(incompressible(1500))
    upkeep = upkeep_of(bounds=Bounds(total_bytes=4000))
    upkeep.run()
    assert names_in(folder) == [f"shop-{TODAY}.4.log.gz", f"shop-{TODAY}.5.log.gz", f"shop-{TODAY}.log"]
    assert upkeep.removed_for_room == 3
    assert told.lines == [
        f"The log files of shop in {folder} took more than 0.004 MB; the 3 oldest packed ones were removed."
    ]


def test_past_days_are_packed_early_before_anything_goes(upkeep_of: Callable[..., Upkeep], folder: Path) -> None:
    """Packing makes room and loses nothing."""
    for day in ("2026-11-21", "2026-11-22", TODAY):
        (folder / f"shop-{day}.log").write_text("the same line\n" * 1000)
    upkeep = upkeep_of(bounds=Bounds(total_bytes=20_000))
    upkeep.run()
    assert names_in(folder) == ["shop-2026-11-21.1.log.gz", "shop-2026-11-22.1.log.gz", f"shop-{TODAY}.log"]
    assert upkeep.removed_for_room == 0


def test_other_files_are_left_alone(upkeep_of: Callable[..., Upkeep], folder: Path) -> None:
    """Those of other services, of logrotate, and of whoever else keeps something there."""
    others = ["shop-eu-2020-01-01.log", "shop-2020-01-01.log.1", "shop-2020-01-01.log-20200102.gz", "shop.log", "notes"]
    for name in others:
        (folder / name).write_text("line\n")
    upkeep_of(bounds=Bounds(total_bytes=1)).run()
    assert names_in(folder) == sorted(others)


def no_space(path: Path) -> None:
    raise OSError(28, "No space left on device")


def test_a_failure_to_pack_removes_nothing(upkeep_of: Callable[..., Upkeep], folder: Path, told: Told) -> None:
    """It is counted and said, and the next time it is tried again."""
    (folder / f"shop-{TODAY}.1.log").write_text("line\n")
    failing = upkeep_of(pack=no_space)
    failing.run()
    assert names_in(folder) == [f"shop-{TODAY}.1.log"]
    assert failing.packing_failures == 1
    assert told.lines == [f"{folder}/shop-{TODAY}.1.log cannot be packed (No space left on device); it stays as it is."]
    upkeep_of().run()
    assert names_in(folder) == [f"shop-{TODAY}.1.log.gz"]


def test_a_disk_that_fills_while_packing_leaves_the_plain_file(folder: Path) -> None:
    """And nothing of the packed one."""
    from tests.logs.files.test_sink import disk_of

    folder.mkdir()
    sealed = folder / f"shop-{TODAY}.1.log"
    sealed.write_bytes(incompressible(100_000))
    with disk_of(10_000), pytest.raises(OSError, match="File too large"):
        pack_file(sealed)
    assert names_in(folder) == [sealed.name]
    assert sealed.read_bytes() == incompressible(100_000)


def test_what_a_killed_process_left_is_cleared(upkeep_of: Callable[..., Upkeep], folder: Path) -> None:
    """Half a packed file is begun again; a plain one beside its complete packed form is there twice, so it goes."""
    (folder / f"shop-{TODAY}.1.log").write_text("one\n")
    (folder / f"shop-{TODAY}.1.log.gz.tmp").write_bytes(b"\x1f\x8b half")
    (folder / f"shop-{TODAY}.2.log").write_text("two\n")
    (folder / f"shop-{TODAY}.2.log.gz").write_bytes(gzip.compress(b"two\n"))
    upkeep_of().run()
    assert {name: text_of(folder / name) for name in names_in(folder)} == {
        f"shop-{TODAY}.1.log.gz": "one\n",
        f"shop-{TODAY}.2.log.gz": "two\n",
    }


def test_one_process_at_a_time(upkeep_of: Callable[..., Upkeep], folder: Path) -> None:
    """The others do not wait for it."""
    (folder / f"shop-{TODAY}.1.log").write_text("one\n")
    other = os.open(folder / ".shop.upkeep.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(other, fcntl.LOCK_EX)
    upkeep_of().run()
    assert names_in(folder) == [f"shop-{TODAY}.1.log"]
    os.close(other)
    upkeep_of().run()
    assert names_in(folder) == [f"shop-{TODAY}.1.log.gz"]


def test_who_packs_also_packs_what_was_set_aside_meanwhile(upkeep_of: Callable[..., Upkeep], folder: Path) -> None:
    """Whoever set it aside found the lock taken and went away."""

    def slow(path: Path) -> None:
        pack_file(path)
        if path.name.endswith(".1.log"):
            (folder / f"shop-{TODAY}.2.log").write_text("two\n")

    (folder / f"shop-{TODAY}.1.log").write_text("one\n")
    upkeep_of(pack=slow).run()
    assert names_in(folder) == [f"shop-{TODAY}.1.log.gz", f"shop-{TODAY}.2.log.gz"]


def test_the_writing_thread_does_not_pack(upkeep_of: Callable[..., Upkeep], folder: Path, clock: Clock) -> None:
    """Nor wait for it: lines are written while a packing stands still, and one thread does it all."""
    begun, go_on, threads = threading.Event(), threading.Event(), set()

    def pack(path: Path) -> None:
        threads.add(threading.current_thread().name)
        begun.set()
        assert go_on.wait(10)
        pack_file(path)

    upkeep = upkeep_of(pack=pack)
    file = DailyFile(folder, "shop", 20, on_change=upkeep.start, clock=clock)
    for _ in range(3):
        file.append(b"123456789\n")
    assert begun.wait(10)
    for _ in range(3):
        file.append(b"123456789\n")
    go_on.set()
    upkeep.wait(10)
    file.close()
    assert threads == {"otel-forge log files"}
    assert names_in(folder) == [f"shop-{TODAY}.1.log.gz", f"shop-{TODAY}.2.log.gz", f"shop-{TODAY}.log"]


def test_a_folder_that_cannot_be_written_is_said(upkeep_of: Callable[..., Upkeep], folder: Path, told: Told) -> None:
    """And raises nothing."""
    (folder / ".shop.upkeep.lock").symlink_to("elsewhere")
    upkeep_of().run()
    assert told.lines == [f"The log files in {folder} cannot be looked after (Too many levels of symbolic links)."]
