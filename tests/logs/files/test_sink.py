"""Appending to the daily file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_forge.logs.files import sink
from otel_forge.logs.files.names import files_of
from otel_forge.logs.files.sink import DailyFile, remove, seal_now
from tests.logs.files.conftest import DAY, TODAY, Clock, names_in, text_of


@pytest.fixture
def file(folder: Path, clock: Clock) -> Iterator[DailyFile]:
    daily = DailyFile(folder, "shop", 100, clock=clock)
    yield daily
    daily.close()


def test_a_line_is_there_when_append_returns(file: DailyFile, folder: Path) -> None:
    """In a file of the service and the UTC day."""
    file.append(b"one\n")
    assert names_in(folder) == [f"shop-{TODAY}.log"]
    assert text_of(folder / f"shop-{TODAY}.log") == "one\n"


def test_only_the_owner_may_read(file: DailyFile, folder: Path) -> None:
    """0600 in 0700, whatever the umask allows."""
    before = os.umask(0)
    try:
        file.append(b"one\n")
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / f"shop-{TODAY}.log").stat().st_mode) == 0o600


def test_a_folder_that_is_there_keeps_its_rights(folder: Path, file: DailyFile) -> None:
    """Whoever made it knows who is to read it."""
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    file.append(b"one\n")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_link_planted_under_the_name_is_not_followed(file: DailyFile, folder: Path, tmp_path: Path) -> None:
    """In a folder that others may write to it could lead anywhere."""
    folder.mkdir()
    (tmp_path / "victim").touch()
    (folder / f"shop-{TODAY}.log").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic link"):
        file.append(b"one\n")
    assert (tmp_path / "victim").read_bytes() == b""


def test_a_full_file_is_set_aside_before_the_line_that_would_not_fit(file: DailyFile, folder: Path) -> None:
    """Numbers go up, none has more than was asked for, and no line is in two."""
    for number in range(25):
        file.append(b"%09d\n" % number)
    assert names_in(folder) == [f"shop-{TODAY}.1.log", f"shop-{TODAY}.2.log", f"shop-{TODAY}.log"]
    texts = [text_of(found.path) for found in files_of(folder, "shop")]
    assert [len(text) for text in texts] == [100, 100, 50]
    assert "".join(texts) == "".join(f"{number:09d}\n" for number in range(25))


def test_a_line_longer_than_a_file_has_one_to_itself(file: DailyFile, folder: Path) -> None:
    """It is neither cut nor refused."""
    for line in (b"short\n", b"x" * 500 + b"\n", b"short\n"):
        file.append(line)
    assert [len(text_of(found.path)) for found in files_of(folder, "shop")] == [6, 501, 6]


def test_a_new_day_has_a_new_file(file: DailyFile, folder: Path, clock: Clock) -> None:
    """Also when the clock is set back: then the old day's is written to again."""
    changes: list[str] = []
    file._on_change = lambda: changes.append(file._path.name)
    for now in (clock.now, clock.now + DAY, clock.now):
        clock.now = now
        file.append(b"line\n")
    assert text_of(folder / f"shop-{TODAY}.log") == "line\nline\n"
    assert text_of(folder / "shop-2026-11-24.log") == "line\n"
    assert changes == [f"shop-{TODAY}.log", "shop-2026-11-24.log", f"shop-{TODAY}.log"]


def test_logrotate_may_rename_the_file(file: DailyFile, folder: Path) -> None:
    """`create` and `nocreate`: the next line is in a new file, without any signal."""
    path = folder / f"shop-{TODAY}.log"
    file.append(b"one\n")
    path.rename(folder / f"{path.name}.1")
    file.append(b"two\n")
    path.rename(folder / f"{path.name}.2")
    path.touch(mode=0o640)
    file.append(b"three\n")
    assert [text_of(folder / f"{path.name}{end}") for end in (".1", ".2", "")] == ["one\n", "two\n", "three\n"]


def test_logrotate_may_copy_and_truncate_the_file(file: DailyFile, folder: Path) -> None:
    """`copytruncate`: the next line is at the start, not behind a hole."""
    path = folder / f"shop-{TODAY}.log"
    file.append(b"one\n")
    os.truncate(path, 0)
    file.append(b"two\n")
    assert path.read_bytes() == b"two\n"


def test_a_folder_that_was_removed_is_made_again(file: DailyFile, folder: Path) -> None:
    """`rm -r logs` costs what was in it, nothing else."""
    file.append(b"one\n")
    (folder / f"shop-{TODAY}.log").unlink()
    folder.rmdir()
    file.append(b"two\n")
    assert text_of(folder / f"shop-{TODAY}.log") == "two\n"


@pytest.mark.parametrize("before", [b"", b"whole\n", b"whole\n" * 20_000])
@pytest.mark.parametrize("rest", [b"half", b"half" * 50_000])
def test_the_rest_of_a_killed_writer_is_removed(folder: Path, clock: Clock, before: bytes, rest: bytes) -> None:
    """The kernel may stop a killed process between two pages; the next line must not stand behind half of one."""
    file = DailyFile(folder, "shop", 10_000_000, clock=clock)
    folder.mkdir()
    path = folder / f"shop-{TODAY}.log"
    path.write_bytes(before + rest)
    file.append(b"next\n")
    assert path.read_bytes() == before + b"next\n"
    assert file.torn == 1
    file.append(b"last\n")
    assert (path.read_bytes(), file.torn) == (before + b"next\nlast\n", 1)
    file.close()


@contextlib.contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes: the kernel writes what fits and refuses the rest, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_of_a_line_that_does_not_fit_on_the_disk_nothing_stays(folder: Path, clock: Clock) -> None:
    """Not the part that did fit; and when there is room again, the file is in order."""
    file = DailyFile(folder, "shop", 10_000_000, clock=clock)
    path = folder / f"shop-{TODAY}.log"
    file.append(b"one\n")
    with disk_of(100), pytest.raises(OSError, match="File too large"):
        file.append(b"x" * 200 + b"\n")
    assert path.read_bytes() == b"one\n"
    file.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    file.close()


def test_a_rotation_that_fails_costs_no_line(file: DailyFile, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file grows on, and it is not tried again with every line."""
    attempts: list[Path] = []

    def refused(path: Path, *_: object) -> Path:
        attempts.append(path)
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sink, "seal", refused)
    for _ in range(30):
        file.append(b"123456789\n")
    assert text_of(folder / f"shop-{TODAY}.log") == "123456789\n" * 30
    assert (len(attempts), file.sealing_failures) == (1, 1)


def test_a_process_that_keeps_the_lock_does_not_stop_the_others(file: DailyFile, folder: Path) -> None:
    """A stopped one, for instance: after a while the line is refused, and goes elsewhere."""
    file.append(b"one\n")
    other = os.open(folder / f"shop-{TODAY}.log", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(TimeoutError):
        file.append(b"two\n", patience=0.01)
    os.close(other)
    file.append(b"three\n")
    assert text_of(folder / f"shop-{TODAY}.log") == "one\nthree\n"


def test_without_locks_lines_are_still_appended(file: DailyFile, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems have none; then nothing is set aside or cut, either."""

    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    for _ in range(30):
        file.append(b"123456789\n")
    monkeypatch.undo()
    assert text_of(folder / f"shop-{TODAY}.log") == "123456789\n" * 30


def test_others_set_it_aside_and_remove_it_between_two_lines(file: DailyFile, folder: Path) -> None:
    """As `otel-forge logs rotate` and `flush` do."""
    file.append(b"one\n")
    assert seal_now(files_of(folder, "shop")[0])
    assert not (folder / f"shop-{TODAY}.log").exists()
    file.append(b"two\n")
    remove(files_of(folder, "shop")[-1])
    file.append(b"three\n")
    assert {name: text_of(folder / name) for name in names_in(folder)} == {
        f"shop-{TODAY}.1.log": "one\n",
        f"shop-{TODAY}.log": "three\n",
    }


FORKING = """
import logging, os, sys, time
from pathlib import Path
from otel_forge.logs.files.handler import build
from otel_forge.settings import Settings
from tests.logs.files.conftest import MessageView

settings = Settings.from_env({"LOG_DIR": sys.argv[1], "OTEL_FORGE_LOGS_FILE_MB": "0.01"})
logger = logging.getLogger("shop")
logger.setLevel(logging.INFO)
logger.addHandler(build(settings.log_files, "shop", MessageView()))
logger.info("before the fork")
children = []
for child in range(4):
    pid = os.fork()
    if pid == 0:
        for number in range(500):
            logger.info("child %d line %d", child, number)
        os._exit(0)
    children.append(pid)
for number in range(500):
    logger.info("parent line %d", number)
codes = [os.waitpid(pid, 0)[1] for pid in children]
upkeep = logger.handlers[0].upkeep
upkeep.wait(30)
upkeep.run()  # what a child left half packed stands there twice until then
sys.exit(any(codes))
"""


def test_forked_children_write_to_the_same_files(folder: Path) -> None:
    """They open it anew: a lock on the parent's open file would be theirs as well, and exclude nobody."""
    done = subprocess.run(
        [sys.executable, "-c", FORKING, str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for file in files_of(folder, "shop") for line in text_of(file.path).splitlines()]
    expected = [f"child {child} line {number}" for child in range(4) for number in range(500)]
    assert sorted(lines) == sorted(["before the fork", *expected, *[f"parent line {number}" for number in range(500)]])
