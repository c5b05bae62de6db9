"""The traffic of several processes, and which of them leads."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_forge.alerts import workers
from otel_forge.alerts.leader import LOCK, Leadership, folder_of, is_led, made
from otel_forge.alerts.workers import KEPT, WorkerTraffic
from otel_forge.metrics.traffic import Counts


class Process:
    """A process as the others see it: its counts, on a clock that all share."""

    now = 1000.0

    def __init__(self, folder: Path | None) -> None:
        self.counts = Counts(0, 0)
        self.traffic = WorkerTraffic(folder, lambda: self.counts, lambda: Process.now)

    def serve(self, requests: int, errors: int = 0) -> None:
        self.counts = Counts(self.counts.requests + requests, self.counts.errors + errors)
        self.traffic.note()


@pytest.fixture(autouse=True)
def _clock() -> None:
    """Begin at 1000."""
    Process.now = 1000.0


def test_the_traffic_of_all_processes_is_summed(tmp_path: Path) -> None:
    """Within the window alone, by whichever of them asks."""
    one, other = Process(tmp_path), Process(tmp_path)
    one.serve(10, 1)
    Process.now += 100
    other.serve(20, 2)
    one.serve(5)
    Process.now += 10
    assert one.traffic.window(300) == other.traffic.window(300) == Counts(35, 3)
    assert one.traffic.window(60) == Counts(25, 2)
    Process.now += 400
    assert one.traffic.window(300) == Counts(0, 0)


def test_what_a_process_counted_that_is_gone_still_counts(tmp_path: Path) -> None:
    """A server that replaces its workers often would else never reach any rate."""
    gone = Process(tmp_path)
    gone.serve(100, 50)
    del gone
    assert Process(tmp_path).traffic.window(300) == Counts(100, 50)


def test_counts_are_kept_in_few_pieces_however_often_they_are_noted(tmp_path: Path) -> None:
    """And no longer than any window."""
    one = Process(tmp_path)
    for _ in range(2000):
        Process.now += 0.6
        one.serve(1)
    [file] = tmp_path.iterdir()
    assert len(json.loads(file.read_text())["pieces"]) <= KEPT / 3 + 1
    assert abs(one.traffic.window(300).requests - 500) <= 5
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_was_counted_just_before_is_counted(tmp_path: Path) -> None:
    """The first requests of a process come before its thread; those of long ago don't matter."""
    traffic = WorkerTraffic(tmp_path, lambda: Counts(1000, 10), lambda: Process.now, recent=Counts(7, 3))
    traffic.note()
    traffic.note()
    assert traffic.window(60) == Counts(7, 3)


def test_a_process_without_traffic_leaves_no_file(tmp_path: Path) -> None:
    """Nor does one without a folder, which counts for itself."""
    Process(tmp_path).traffic.note()
    assert list(tmp_path.iterdir()) == []
    alone = Process(None)
    alone.serve(3, 1)
    assert alone.traffic.window(60) == Counts(3, 1)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"pieces": 3}', '{"pieces": [[1, 2]]}', '{"pieces": [["a", "b", "c"]]}']
)
def test_a_damaged_file_counts_nothing(tmp_path: Path, text: str) -> None:
    """A process may have been killed, or a disk been full."""
    (tmp_path / "1-0.traffic").write_text(text)
    assert Process(tmp_path).traffic.window(60) == Counts(0, 0)


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    """A full disk is not filled with drafts by each worker that comes and goes."""
    code = (
        "import resource, sys; from pathlib import Path; from otel_forge.alerts.workers import replace_file; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)); replace_file(Path(sys.argv[1]), 'a' * 100)"
    )
    file = tmp_path / "1-0.traffic"
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True)
    assert "OSError: [Errno 27]" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_files_of_long_ago_are_removed(tmp_path: Path) -> None:
    """Those of others; they have nothing to say any more."""
    gone, here = Process(tmp_path), Process(tmp_path)
    gone.serve(1)
    here.serve(1)
    for file in tmp_path.iterdir():
        os.utime(file, (time.time() - KEPT - 60,) * 2)
    here.traffic.tidy()
    assert len(list(tmp_path.iterdir())) == 1


def test_without_a_meeting_place_the_window_is_that_of_this_process() -> None:
    """As where a condition is called by hand."""
    workers.set_current(None)
    assert workers.window(60).requests >= 0


def test_one_leads_and_another_one_when_it_is_gone(tmp_path: Path) -> None:
    """Not before, and the first is not displaced."""
    first, second = Leadership(tmp_path), Leadership(tmp_path)
    assert [first.is_mine(), second.is_mine(), first.is_mine(), is_led(tmp_path)] == [True, False, True, True]
    first.give_up()
    assert [second.is_mine(), first.is_mine()] == [True, False]
    second.give_up()
    assert not is_led(tmp_path)


def test_who_has_resigned_never_leads_again(tmp_path: Path) -> None:
    """Though one last turn of its thread may ask."""
    first = Leadership(tmp_path)
    assert first.is_mine()
    first.resign()
    assert not first.is_mine()
    assert not is_led(tmp_path)


def test_a_leader_that_is_killed_leads_no_more(tmp_path: Path) -> None:
    """The kernel drops the lock, whatever the process was doing."""
    code = (
        "import sys, time; from pathlib import Path; from otel_forge.alerts.leader import Leadership; "
        "it = Leadership(Path(sys.argv[1])); print(it.is_mine(), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "True\n"
        mine = Leadership(tmp_path)
        assert not mine.is_mine()
        process.kill()
    assert mine.is_mine()
    mine.give_up()


def test_a_forked_child_does_not_lead(tmp_path: Path) -> None:
    """And the parent leads on when the child lets go of what it has inherited."""
    parent = Leadership(tmp_path)
    assert parent.is_mine()
    child = os.fork()
    if child == 0:
        parent.forget()
        os._exit(3 if Leadership(tmp_path).is_mine() else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not Leadership(tmp_path).is_mine()
    parent.give_up()


def test_who_leads_notices_that_the_folder_was_removed(tmp_path: Path) -> None:
    """Else there would be two, each with a lock that the other can't see."""
    folder = made(tmp_path / "alerts")
    first, second = Leadership(folder), Leadership(folder)
    assert first.is_mine()
    (folder / LOCK).unlink()
    assert second.is_mine()
    assert not first.is_mine()
    second.give_up()


def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    """Or they could have people called out of bed."""
    folder = tmp_path / "alerts"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(OSError, match="can be written to by other users"):
        made(folder)


def test_each_service_and_environment_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """Names that come to the same are told apart."""
    names = [("shop", "production"), ("shop", "staging"), ("Shop", "production"), ("../shop", ""), ("shop", "")]
    folders = {folder_of(tmp_path, *name) for name in names}
    assert len(folders) == len(names)
    assert {folder.parent for folder in folders} == {tmp_path / "alerts"}
