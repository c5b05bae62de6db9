"""Directories: one owner at a time, the dead are inherited from, strangers and links are refused."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from otel_forge.delivery.spool import OsFiles, SpoolFailed, service_slug
from tests.delivery.spool.disk import Disk, DiskFiles
from tests.delivery.spool.spools import Clocks, a_batch, descriptors, on_disk, open_spool, pending

PROGRAM = """
import sys
from tests.delivery.spool.spools import a_batch, open_spool, pending
spool = open_spool(sys.argv[1])
for line in sys.stdin:
    verb, _, number = line.strip().partition(" ")
    if verb == "append":
        spool.append(a_batch(int(number)))
        print("done", flush=True)
    elif verb == "take":
        print(*sorted(int(name, 16) for name, batch in pending(spool).items() if batch), "done", flush=True)
"""


class Neighbour:
    """Another process with a spool in the same place."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def ask(self, verb: str) -> list[str]:
        """Say something and return the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(verb + "\n")
        answer = self.process.stdout.readline().split()
        assert answer[-1] == "done"
        return answer[:-1]

    def kill(self) -> None:
        """End it as nothing can be prepared for."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def test_a_live_process_is_left_alone_and_a_dead_one_inherited_from(tmp_path: Path) -> None:
    """Its directory is removed, too."""
    neighbour, spool = Neighbour(tmp_path), open_spool(tmp_path)
    try:
        neighbour.ask("append 1")
        spool.append(a_batch(2))
        assert spool.take_over() == []
        assert neighbour.ask("take") == []
    finally:
        neighbour.kill()
    assert pending(spool) == {a_batch(1).id: a_batch(1)}
    assert [path.name for path in (tmp_path / "shop").iterdir()] == [Path(spool.path).name]
    assert spool.size == on_disk(tmp_path)


def test_of_two_heirs_only_one_gets_a_record(tmp_path: Path) -> None:
    dead = Neighbour(tmp_path)
    for number in range(50):
        dead.ask(f"append {number}")
    dead.kill()
    heirs = [Neighbour(tmp_path) for _ in range(3)]
    try:
        for heir in heirs:
            assert heir.process.stdin is not None
            heir.process.stdin.write("take\n")
        taken = [heir.process.stdout.readline().split()[:-1] for heir in heirs if heir.process.stdout]
    finally:
        for heir in heirs:
            heir.kill()
    assert sorted([int(number) for numbers in taken for number in numbers]) == list(range(50))


def test_two_spools_of_one_process_do_not_share_a_directory(tmp_path: Path) -> None:
    """Though a lock of one's own process does not hold one off."""
    first, second = open_spool(tmp_path), open_spool(tmp_path)
    first.append(a_batch(1))
    second.append(a_batch(2))
    assert first.path != second.path
    assert first.take_over() == second.take_over() == []
    first.close()
    assert list(pending(second)) == [a_batch(1).id]


def test_looking_for_heirs_does_not_give_up_ones_own_lock(tmp_path: Path) -> None:
    """Closing any descriptor of a file gives up a POSIX lock on it."""
    first, second = open_spool(tmp_path), open_spool(tmp_path)
    first.append(a_batch(1))
    second.take_over()
    neighbour = Neighbour(tmp_path)
    try:
        assert neighbour.ask("take") == []
    finally:
        neighbour.kill()


def test_a_forked_child_disturbs_neither_the_lock_nor_the_files(tmp_path: Path) -> None:
    """It has a directory of its own, and what it writes is its own."""
    spool = open_spool(tmp_path)
    entry = spool.append(a_batch(1))
    child = os.fork()
    if not child:
        status = 1
        try:
            spool.forget()
            fresh = (spool.held, spool.size, spool.path, spool.take_over()) == (0, 0, "", [])
            spool.append(a_batch(2))
            status = 0 if fresh else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    neighbour = Neighbour(tmp_path)
    try:
        assert neighbour.ask("take") == ["2"]
        assert spool.read(entry) == a_batch(1)
        spool.append(a_batch(3))
        assert neighbour.ask("take") == []
    finally:
        neighbour.kill()
    assert (list(pending(spool)), spool.held) == ([a_batch(2).id], 3)


def test_a_child_that_outlives_its_parent_does_not_hold_its_lock(tmp_path: Path) -> None:
    program = PROGRAM + "\nimport os, time\nif not os.fork():\n    os.close(1)\n    time.sleep(60)\n"
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    before = set(_children())
    parent.communicate("append 1\n")
    try:
        assert list(pending(open_spool(tmp_path))) == [a_batch(1).id]
    finally:
        for orphan in set(_children()) - before:
            os.kill(orphan, signal.SIGKILL)


def _children() -> list[int]:
    """Return the processes that run this module's program."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if "time.sleep(60)" in path.read_text() and "spools import" in path.read_text():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_directories_and_files_are_for_the_user_alone(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        spool = open_spool(tmp_path / "a" / "spool")
        spool.append(a_batch(1))
        spool.refuse(a_batch(2))
    finally:
        os.umask(previous)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a").rglob("*")}
    assert modes.pop(Path(spool.path).name) == modes.pop("spool") == modes.pop("shop") == 0o700
    assert modes == {"lock": 0o600, "traces-00000001.seg": 0o600, "refused-traces.seg": 0o600}


def test_descriptors_are_not_inherited_by_programs(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    before = descriptors()
    spool.append(a_batch(1))
    opened = descriptors() - before
    assert len(opened) == 2
    assert not [number for number in opened if os.get_inheritable(number)]


@pytest.mark.parametrize("place", ["spool", "spool/shop"])
def test_a_symbolic_link_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SpoolFailed, match=r"is a symbolic link"):
        open_spool(tmp_path / "spool").append(a_batch(1))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_in_the_directorys_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("")
    with pytest.raises(SpoolFailed, match=r"is not a directory"):
        open_spool(tmp_path / "spool").append(a_batch(1))


class Stranger(OsFiles):
    """The files as someone sees them to whom they do not belong."""

    def user(self) -> int:
        return os.geteuid() + 1


def test_a_directory_of_someone_else_is_refused(tmp_path: Path) -> None:
    owner = open_spool(tmp_path)
    owner.append(a_batch(1))
    owner.close()
    stranger = open_spool(tmp_path, files=Stranger())
    assert stranger.take_over() == []
    with pytest.raises(SpoolFailed, match=r"belongs to another user \(uid \d+\)"):
        stranger.append(a_batch(2))


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop").chmod(0o777)
    with pytest.raises(SpoolFailed, match=r"can be written to by other users"):
        open_spool(tmp_path).append(a_batch(1))


def test_segments_that_are_links_or_pipes_are_not_followed(tmp_path: Path) -> None:
    """Nor does a pipe make the process wait."""
    dead = tmp_path / "shop" / "1-00000000"
    dead.mkdir(parents=True, mode=0o700)
    (tmp_path / "shop").chmod(0o700)
    (tmp_path / "precious").write_text("mine")
    (dead / "traces-00000001.seg").symlink_to(tmp_path / "precious")
    os.mkfifo(dead / "traces-00000002.seg")
    assert open_spool(tmp_path).take_over() == []
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_removed_directory_is_noticed_and_made_again(tmp_path: Path) -> None:
    """What lay in it is gone, which is said of each record when it is read."""
    clocks = Clocks()
    spool = open_spool(tmp_path / "spool", clocks=clocks)
    lost = spool.append(a_batch(1))
    shutil.rmtree(tmp_path / "spool")
    with pytest.raises(SpoolFailed, match="was removed"):
        spool.append(a_batch(2))
    clocks.advance(61)
    entry = spool.append(a_batch(3))
    assert spool.read(entry) == a_batch(3)
    assert spool.read(lost) is None
    assert (spool.held, spool.size) == (1, on_disk(tmp_path / "spool"))


def test_a_removed_lock_is_taken_again(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, segment_bytes=200)
    spool.append(a_batch(1))
    (Path(spool.path) / "lock").unlink()
    spool.append(a_batch(2))
    neighbour = Neighbour(tmp_path)
    try:
        assert neighbour.ask("take") == []
    finally:
        neighbour.kill()
    assert spool.held == 2


def test_a_descriptor_that_the_application_closed_and_uses_is_left_alone(tmp_path: Path) -> None:
    """Programs that turn into a daemon close what they do not know; the same numbers then mean files of theirs."""
    clocks = Clocks()
    spool = open_spool(tmp_path / "spool", clocks=clocks)
    spool.append(a_batch(1))
    assert spool._handle is not None
    number = spool._handle.descriptor
    with (tmp_path / "precious").open("w+b") as precious:
        precious.write(b"mine" * 100)
        precious.flush()
        os.dup2(precious.fileno(), number)
        with pytest.raises(SpoolFailed):
            spool.append(a_batch(2))
        clocks.advance(61)
        spool.append(a_batch(3))
        spool.close()
        assert os.fstat(number).st_ino == os.fstat(precious.fileno()).st_ino
        os.close(number)
    assert (tmp_path / "precious").read_bytes() == b"mine" * 100
    assert sorted(pending(open_spool(tmp_path / "spool"))) == [a_batch(1).id, a_batch(3).id]


@pytest.mark.parametrize("opened", [False, True])
def test_a_directory_taken_for_a_dead_ones_before_it_is_locked_is_given_up(opened: bool) -> None:
    """Between the making of a directory and its lock, another process may inherit it; a new one is made.

    The lock may even be open by then: it is had, but of a file that has no name any more.
    """
    disk = Disk()

    class Slow(DiskFiles):
        raced = False

        def lock(self, path: str) -> int | None:
            if self.raced:
                return super().lock(path)
            self.raced = True
            descriptor = super().lock(path) if opened else None
            if opened:
                self.unlink(path)
            self.remove_directory(os.path.dirname(path))
            return descriptor if opened else super().lock(path)

    spool = open_spool("/var/spool", files=Slow(disk))
    spool.append(a_batch(1))
    assert [path for path in disk.directories if "-" in path] == [spool.path]


def test_services_have_different_directories() -> None:
    names = ["shop", "Shop", "shop!", "../shop", "", ".", "ü", "x" * 200, "x" * 201]
    slugs = [service_slug(name) for name in names]
    assert slugs[0] == "shop"
    assert len(set(slugs)) == len(names)
    assert not [slug for slug in slugs if "/" in slug or slug.startswith(".") or not 0 < len(slug) < 80]


def test_a_child_forked_while_other_threads_hold_locks_can_go_on(tmp_path: Path) -> None:
    """Locks of threads that the child does not have are never released in it; it makes new ones."""
    from otel_forge.delivery.spool import files

    spool = open_spool(tmp_path)
    spool.append(a_batch(1))
    locks = [spool._directory._mutex, spool._directory._claims, spool._quota._lock, files._held.mutex]
    for lock in locks:
        lock.acquire()
    child = os.fork()
    if not child:
        signal.alarm(20)
        status = 1
        try:
            spool.forget()
            spool.append(a_batch(2))
            spool.take_over()
            spool.close()
            status = 0
        finally:
            os._exit(status)
    for lock in locks:
        lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert spool.held == 1
