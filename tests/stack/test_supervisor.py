"""The supervisor with real processes: order, readiness, restarts, stops, and what outlives a kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from otel_forge.errors import StackError
from otel_forge.stack import control
from otel_forge.stack.lifecycle import stop
from otel_forge.stack.ports import is_free
from otel_forge.stack.process import Policy
from otel_forge.stack.state import ProcessIdentity
from otel_forge.stack.supervisor import EXIT_OWNED
from tests.stack.bench import PROJECT, QUICK, Bench, wait_for


def test_components_start_when_those_they_need_are_ready_and_stop_in_reverse(bench: Bench) -> None:
    """A chain of three starts first to last and stops last to first, wherever it stands in the plan."""
    last = bench.spec("last", after=("middle",))
    middle = bench.spec("middle", after=("first",))
    bench.up(last, middle, bench.spec("first"))
    assert bench.events("start") == ["first", "middle", "last"]
    assert bench.state().status == "running"
    assert {name: known.status for name, known in bench.state().components.items()} == {
        "last": "ready",
        "middle": "ready",
        "first": "ready",
    }
    assert bench.down() is True
    assert bench.events("stop") == ["last", "middle", "first"]
    assert bench.state().status == "stopped"


def test_independent_components_start_at_the_same_time(bench: Bench) -> None:
    """Each of these is ready only once the other one has been started."""
    meeting = ("--meet", str(bench.home))
    bench.up(bench.spec("one", *meeting), bench.spec("two", *meeting))
    assert bench.state().status == "running"


def test_a_component_that_is_not_ready_in_time_is_shown_with_its_last_log_lines(bench: Bench) -> None:
    """The error names component, deadline, address and log, and nothing is left running."""
    silent = bench.spec("silent", "--silent")
    with pytest.raises(StackError) as failure:
        bench.up(bench.spec("good"), silent, policy=replace(QUICK, ready_timeout=1.5))
    message = str(failure.value)
    assert f"silent was not ready within 1.5 s ({silent.ready}: connection refused)" in message
    assert "    silent starts" in message
    assert str(bench.folder.log_file("silent")) in message
    assert bench.survivors() == []
    assert bench.state().status == "failed"


def test_a_component_that_ends_while_starting_fails_the_start_at_once(bench: Bench) -> None:
    """Nobody waits for the deadline of a process that has ended, nor starts what needs it."""
    begun = time.monotonic()
    with pytest.raises(StackError, match="bad ended with exit code 4") as failure:
        bench.up(bench.spec("bad", "--exit-at-once"), bench.spec("needs", after=("bad",)))
    assert time.monotonic() - begun < 10
    assert "FATAL: cannot read my configuration" in str(failure.value)
    assert bench.events("start") == ["bad"]
    assert bench.survivors() == []


def test_the_last_log_lines_are_those_of_this_start(bench: Bench) -> None:
    """What an earlier run has logged would lead astray."""
    bench.up(bench.spec("one"))
    bench.ask("one", "/log?words-of-the-first-run")
    bench.down()
    with pytest.raises(StackError) as failure:
        bench.up(bench.spec("one", "--exit-at-once"))
    assert "words-of-the-first-run" not in str(failure.value)
    assert "words-of-the-first-run" in bench.folder.log_file("one").read_text()


def test_a_program_that_is_not_there_is_named(bench: Bench) -> None:
    """The error is about the program, not about Python."""
    with pytest.raises(StackError, match="odd cannot be started: /nowhere/at/all: No such file or directory"):
        bench.up(replace(bench.spec("odd"), argv=["/nowhere/at/all"]))


def test_what_dies_is_started_again(bench: Bench) -> None:
    """A crash costs a restart of that component only, and is counted."""
    bench.up(bench.spec("weak"), bench.spec("other"))
    first, other = bench.component("weak").pid, bench.component("other").pid
    bench.ask("weak", "/crash")
    wait_for(lambda: bench.component("weak").status == "ready" and bench.component("weak").restarts == 1)
    assert bench.component("weak").pid != first
    assert bench.component("other").pid == other
    assert bench.component("other").restarts == 0


def test_the_end_of_a_component_is_noticed_though_its_child_lives_on(bench: Bench) -> None:
    """The child holds the pipe of the log open; it is ended with the session before the next start."""
    bench.up(bench.spec("parent", "--with-child"))
    bench.ask("parent", "/crash")
    wait_for(lambda: bench.component("parent").status == "ready" and bench.component("parent").restarts == 1, 10)
    assert len(bench.survivors()) == 3  # supervisor, parent and its new child


def test_a_crash_loop_is_marked_failed_and_tried_again_slowly(bench: Bench) -> None:
    """After three fast crashes the status says failed; when the cause is gone it comes back by itself."""
    cause = bench.home / "cause"
    bench.up(bench.spec("loop", "--exit-if", str(cause)))
    cause.touch()
    bench.ask("loop", "/crash")
    wait_for(lambda: bench.component("loop").status == "failed")
    assert "ended with exit code 4" in bench.component("loop").detail
    assert "3 fast crashes; next try in 0.6 s" in bench.component("loop").detail
    cause.unlink()
    wait_for(lambda: bench.component("loop").status == "ready")
    assert bench.component("loop").restarts >= 3


def test_pauses_between_restarts_double_up_to_the_longest() -> None:
    """1, 2, 4 … 30 s, and slowly once marked as failed."""
    policy = Policy(failed_after=8)
    assert [policy.delay(crashes) for crashes in range(1, 10)] == [1, 2, 4, 8, 16, 30, 30, 60, 60]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
def test_kill_9_of_the_supervisor_leaves_no_orphan(bench: Bench) -> None:
    """The children are gone within 2 s, by the kernel's doing."""
    bench.up(bench.spec("one"), bench.spec("deaf", "--deaf"))
    bench.supervisor().kill()
    wait_for(lambda: bench.survivors() == [], timeout=2)
    assert not bench.folder.is_owned()


def test_after_kill_9_of_the_supervisor_the_next_start_just_works(bench: Bench) -> None:
    """No stale lock, pid or socket stands in the way, and the same ports are free."""
    bench.up(bench.spec("one"), bench.spec("two", after=("one",)))
    before = bench.component("one").pid
    bench.supervisor().kill()
    wait_for(lambda: bench.survivors() == [], timeout=5)
    bench.up(bench.spec("one"), bench.spec("two", after=("one",)))
    assert bench.component("one").pid != before
    assert bench.state().status == "running"


def test_down_after_kill_9_ends_what_the_component_had_started(bench: Bench) -> None:
    """A grandchild gets no death signal; the session that the state file names is ended all the same."""
    bench.up(bench.spec("parent", "--with-child"))
    assert len(bench.survivors()) == 3
    bench.supervisor().kill()
    wait_for(lambda: len(bench.survivors()) == 1, timeout=5)
    assert bench.down() is True
    assert bench.survivors() == []
    assert bench.state().status == "stopped"


def test_a_stranger_with_a_recorded_pid_is_left_alone(bench: Bench) -> None:
    """After a reboot the pid in the state file may be anybody's: the time of birth decides."""
    bench.up(bench.spec("one"))
    bench.supervisor().kill()
    wait_for(lambda: bench.survivors() == [], timeout=5)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as stranger:
        state = bench.state()
        state.components["one"].pid = stranger.pid
        state.components["one"].create_time = 1000.0
        bench.folder.write(state)
        bench.down()
        assert stranger.poll() is None
        stranger.communicate(b"\n")


def test_a_component_that_ignores_sigterm_is_killed_after_its_grace(bench: Bench) -> None:
    """The stop takes the grace, not longer, and says so."""
    bench.up(bench.spec("deaf", "--deaf", grace=0.7))
    begun = time.monotonic()
    bench.down()
    assert 0.7 <= time.monotonic() - begun < 5
    assert bench.survivors() == []
    assert bench.component("deaf").detail == "ended by force after 0.7 s; its data is safe"
    assert "deaf has stopped (ended by force after 0.7 s; its data is safe)" in bench.said


def test_stopping_takes_along_what_a_component_has_started(bench: Bench) -> None:
    """Its children are of its session and end with it, at once: the grace is for the component itself."""
    bench.up(bench.spec("parent", "--with-child", grace=30))
    begun = time.monotonic()
    bench.down()
    assert time.monotonic() - begun < 15
    assert bench.survivors() == []


def test_down_frees_the_ports(bench: Bench) -> None:
    """The next one can listen there at once."""
    bench.up(bench.spec("one"))
    assert not is_free(bench.ports["one"])
    bench.down()
    assert is_free(bench.ports["one"])


def test_down_of_a_stack_that_does_not_run_says_so(bench: Bench) -> None:
    """Twice is harmless."""
    bench.folder.create()
    assert bench.down() is False
    bench.up(bench.spec("one"))
    assert bench.down() is True
    assert bench.down() is False


def test_a_supervisor_that_hangs_is_killed_and_cleaned_up_after(bench: Bench) -> None:
    """A stopped process takes no SIGTERM; `down` must not wait for ever."""
    bench.up(bench.spec("one"))
    bench.supervisor().suspend()
    assert stop(bench.folder, bench.said.append, patience=0.5) is True
    assert any("does not end; killing it" in line for line in bench.said)
    wait_for(lambda: bench.survivors() == [], timeout=5)
    assert bench.state().status == "stopped"


def test_restarting_one_component_keeps_the_others(bench: Bench) -> None:
    """Only the named one gets a new process."""
    bench.up(bench.spec("one"), bench.spec("two", after=("one",)))
    before = {name: known.pid for name, known in bench.state().components.items()}
    control.request(bench.folder.socket, {"do": "restart", "names": ["one"]}, timeout=20)
    after = {name: known.pid for name, known in bench.state().components.items()}
    assert after["one"] != before["one"]
    assert after["two"] == before["two"]
    assert bench.component("one").status == "ready"


def test_restarting_all_goes_down_in_reverse_and_up_in_order(bench: Bench) -> None:
    """The order of dependencies holds for a restart, too."""
    bench.up(bench.spec("one"), bench.spec("two", after=("one",)))
    control.request(bench.folder.socket, {"do": "restart", "names": []}, timeout=20)
    assert bench.events("stop") == ["two", "one"]
    assert bench.events("start") == ["one", "two", "one", "two"]


def test_a_restart_that_fails_says_why_and_goes_on_trying(bench: Bench) -> None:
    """A mistake in a configuration is reported, and its repair needs no second command."""
    cause = bench.home / "cause"
    bench.up(bench.spec("one", "--exit-if", str(cause)))
    cause.touch()
    with pytest.raises(StackError, match="one ended with exit code 4(.|\n)*FATAL: cannot read"):
        control.request(bench.folder.socket, {"do": "restart", "names": ["one"]}, timeout=20)
    cause.unlink()
    wait_for(lambda: bench.component("one").status == "ready")


def test_restarting_what_does_not_run_is_refused(bench: Bench) -> None:
    """The answer names what there is."""
    bench.up(bench.spec("one"))
    with pytest.raises(StackError, match="other does not run here; what runs is one"):
        control.request(bench.folder.socket, {"do": "restart", "names": ["other"]}, timeout=20)


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"{\n", b'{"do": "dance"}\n', b"\xff\xfe\n"])
def test_nonsense_on_the_control_socket_gets_an_error(bench: Bench, line: bytes) -> None:
    """And the supervisor goes on serving."""
    import socket

    bench.up(bench.spec("one"))
    with socket.socket(socket.AF_UNIX) as connection, control._reachable(bench.folder.socket) as name:
        connection.connect(name)
        connection.sendall(line)
        assert "error" in json.loads(connection.makefile("rb").readline())
    control.request(bench.folder.socket, {"do": "ping"}, timeout=5)


def test_the_control_socket_works_in_a_folder_deeper_than_a_socket_path_may_be(bench: Bench) -> None:
    """Socket addresses end at 107 bytes, folders do not."""
    bench.home = bench.home / ("deep" * 30)
    bench.home.mkdir()
    bench.up(bench.spec("one"))
    assert len(str(bench.folder.socket)) > 108
    control.request(bench.folder.socket, {"do": "ping"}, timeout=5)


def test_a_second_supervisor_for_the_same_folder_ends_at_once(bench: Bench) -> None:
    """The lock decides, and the first one is not disturbed."""
    bench.up(bench.spec("one"))
    command = [sys.executable, "-m", "otel_forge.stack.supervisor", "--state-dir", str(bench.folder.path)]
    second = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=30)
    assert second.returncode == EXIT_OWNED
    assert "is owned by another supervisor" in second.stderr
    assert bench.state().status == "running"


def test_an_empty_lock_file_and_a_torn_state_file_are_no_obstacle(bench: Bench) -> None:
    """What a power cut may leave behind is not believed."""
    bench.folder.create()
    bench.folder.lock_file.write_bytes(b"")
    bench.folder.state_file.write_text('{"format": 1, "engine": "nat')
    bench.folder.socket.write_bytes(b"")
    bench.up(bench.spec("one"))
    assert bench.state().status == "running"


def test_sigterm_while_starting_stops_what_has_been_started(bench: Bench) -> None:
    """The starter is told so, and nothing stays behind."""
    errors: list[str] = []

    def start() -> None:
        try:
            bench.up(bench.spec("good"), bench.spec("silent", "--silent", after=("good",)))
        except StackError as error:
            errors.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    wait_for(lambda: bench.folder.read() and "silent" in bench.state().components and bench.component("silent").pid)
    bench.supervisor().send_signal(signal.SIGTERM)
    thread.join(20)
    assert errors and errors[0].startswith("The stack was stopped while it was starting.")
    assert bench.survivors() == []


def test_the_log_of_a_component_stays_within_its_bound(bench: Bench) -> None:
    """Whole lines move to compressed files; of those only the last ones are kept."""
    bench.up(bench.spec("chatty"), policy=replace(QUICK, log_bytes=100_000, log_keep=2))
    bench.ask("chatty", "/flood?20000")
    bench.ask("chatty", "/log?that-was-it")
    log = bench.folder.log_file("chatty")
    wait_for(lambda: "that-was-it" in log.read_text())
    assert log.stat().st_size <= 100_000
    assert sorted(path.name for path in bench.folder.logs.glob("chatty*")) == [
        "chatty.log",
        "chatty.log.1.gz",
        "chatty.log.2.gz",
    ]
    assert bench.component("chatty").status == "ready"


def test_files_of_the_state_folder_are_for_their_owner_only(bench: Bench) -> None:
    """Nobody else may read a password or command the supervisor."""
    bench.up(bench.spec("one"))
    assert bench.folder.path.stat().st_mode & 0o777 == 0o700
    for path in (bench.folder.state_file, bench.folder.socket, bench.folder.lock_file):
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_lock_is_not_inherited_by_the_components(bench: Bench) -> None:
    """Else a component that outlives its supervisor would keep the folder owned."""
    bench.up(bench.spec("one"))
    pid = bench.component("one").pid
    opened = [Path(file.path).name for file in psutil.Process(pid).open_files()]
    assert "supervisor.lock" not in opened


def test_an_identity_is_not_that_of_a_later_process_with_the_same_pid() -> None:
    """Pid and time of birth together make it."""
    me = ProcessIdentity.of(os.getpid())
    assert me.is_alive()
    assert not replace(me, create_time=me.create_time - 100).is_alive()
