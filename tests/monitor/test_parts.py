"""The monitor's smaller parts: probe, samples, stacks, incidents, folders, the service manager."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest

from otel_forge.errors import ForgeError
from otel_forge.monitor import stacks
from otel_forge.monitor.app import end_process
from otel_forge.monitor.folders import app_environ, run_folder, try_to_write
from otel_forge.monitor.incidents import Incidents, remove_dead
from otel_forge.monitor.notifying import ServiceManager
from otel_forge.monitor.probing import Probe, ask
from otel_forge.monitor.sampling import Host, ProcessSample, Sample, Sampler
from otel_forge.monitor.signals import Signals
from tests.monitor.sick import CHECKOUT
from tests.otlp_receiver import refused_url
from tests.programs import Programs


@contextmanager
def answering(status: int) -> Iterator[str]:
    """Serve that status, on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"body")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/live"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [200, 404, 500, 503])
def test_any_answer_is_life(status: int) -> None:
    """A degraded app is alive."""
    with answering(status) as url:
        assert ask(url, 5) == ""


def test_silence_is_not(tmp_path: Path) -> None:
    """Nobody listens, or nobody answers."""
    assert "refused" in ask(refused_url(), 5)
    with socket.create_server(("127.0.0.1", 0)) as hole:
        assert "timed out" in ask(f"http://127.0.0.1:{hole.getsockname()[1]}/", 0.2)


def test_a_question_that_cannot_be_put_says_nothing_of_the_app() -> None:
    """As when the name of the host is not known: the app may be well."""
    probe = Probe("http://no-such-host.invalid/", 1, 1)
    probe.try_once()
    assert (probe.is_silent, probe.answered) == (False, None)
    assert probe.failure.startswith("it cannot be asked: ")
    refused = Probe(refused_url(), 1, 1)
    refused.try_once()
    assert refused.is_silent


def test_an_answer_from_before_a_restart_does_not_count() -> None:
    """It may come while the new app starts."""
    probe = Probe("http://localhost", 1, 1, ask=lambda url, timeout: "", clock=lambda: 5.0)
    late = Probe("http://localhost", 1, 1, ask=lambda url, timeout: meanwhile(), clock=lambda: 5.0)

    def meanwhile() -> str:
        late.forget()
        return ""

    probe.try_once()
    late.try_once()
    assert (probe.answered, late.answered) == (5.0, None)


def test_samples_tell_of_host_and_processes(programs: Programs) -> None:
    """Those of the whole family; and who computes."""
    script = programs.write(
        "family.py",
        """
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "print('go', flush=True)\\nwhile True: pass"])
        child.wait()
        """,
    )
    parent = programs.start(sys.executable, str(script))
    parent.wait_for_output("go")
    sampler = Sampler()
    sampler.take(parent.pid)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        time.sleep(0.3)
        sample = sampler.take(parent.pid)
        if [process.computes for process in sample.processes] == [False, True]:
            break
    assert [process.computes for process in sample.processes] == [False, True]
    assert [process.parent for process in sample.processes] == [os.getpid(), parent.pid]
    assert sample.memory == sum(process.rss for process in sample.processes) > 1 << 20
    assert sample.user_seconds + sample.system_seconds > 0
    assert 0 <= sample.host.cpu <= 100 and 0 < sample.host.memory <= 100 and 0 < sample.host.disk <= 100
    assert sum(sample.host.modes.values()) == pytest.approx(1)
    for process in psutil.Process(parent.pid).children():
        process.kill()


def test_an_app_that_is_gone_has_no_processes() -> None:
    """The host is still there."""
    sample = Sampler("/no/such/path").take(2**22 + 1)
    assert (sample.processes, sample.memory, sample.host.disk) == ((), 0, 0.0)


def test_no_signal_is_sent_to_a_process_that_does_not_expect_it(programs: Programs, tmp_path: Path) -> None:
    """It would end it, though a file says that it does."""
    program = programs.start(sys.executable, "-c", "import time; print('go', flush=True); time.sleep(60)")
    program.wait_for_output("go")
    (tmp_path / f"{program.pid}.stacks").touch()
    said = stacks.gather(tmp_path, [program.pid])
    assert said == f"=== process {program.pid} ===\nIt runs without otel-forge, so it cannot be asked.\n"
    assert program.process.poll() is None


def test_only_so_many_incidents_are_kept(tmp_path: Path) -> None:
    """The oldest go; several in one second are told apart."""
    incidents = Incidents(tmp_path / "incidents", 3)
    places = [incidents.keep("deadlock", {"log.txt": f"{number}\n"}, {}) for number in range(5)]
    left = sorted((tmp_path / "incidents").iterdir())
    assert len(left) == 3
    assert set(left) <= set(places)


def test_files_of_dead_processes_are_removed(tmp_path: Path) -> None:
    """And nothing else."""
    for name in ("7.beat", "7.stacks", "8.beat", "draining", "restart-request.json"):
        (tmp_path / name).touch()
    remove_dead(tmp_path, lambda pid: pid == 8)
    assert {path.name for path in tmp_path.iterdir()} == {"8.beat", "draining", "restart-request.json"}


def test_the_run_folder_goes_with_the_monitor(tmp_path: Path) -> None:
    """And takes those along that killed monitors have left."""
    environ = {"OTEL_FORGE_STATE_DIR": str(tmp_path)}
    left = tmp_path / "watch" / f"run-{2**22 + 1}"
    left.mkdir(parents=True)
    with run_folder(environ) as folder:
        assert folder.is_dir() and not left.exists()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_monitors_leave_each_others_folders_alone(tmp_path: Path) -> None:
    """Also where ids of processes mean nothing to each other, as in containers that share a volume."""
    environ = {"OTEL_FORGE_STATE_DIR": str(tmp_path)}
    with run_folder(environ) as first:
        with run_folder(environ) as second:
            assert first != second and first.is_dir()
        assert first.is_dir() and not second.exists()


def test_a_folder_that_cannot_be_written_is_noticed(tmp_path: Path) -> None:
    """Processes could not tell how they do, which is not their fault."""
    try_to_write(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".writable").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        try_to_write(tmp_path)


def test_a_process_that_only_has_the_same_id_is_left_alone(programs: Programs) -> None:
    """It was born at another time."""
    program = programs.start(sys.executable, "-c", "import time; print('go', flush=True); time.sleep(60)")
    program.wait_for_output("go")
    born = psutil.Process(program.pid).create_time()
    end_process(program.pid, born - 1, 5, time.sleep)
    assert program.process.poll() is None
    end_process(program.pid, born, 5, time.sleep)
    assert program.process.wait(10) == -signal.SIGTERM


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has those who adopt orphans")
def test_orphans_are_buried(programs: Programs) -> None:
    """As the first process of a container has to; not the app, whose exit code is wanted."""
    script = programs.write(
        "first.py",
        """
        import ctypes, os, subprocess, sys, time
        import psutil
        from otel_forge.monitor.app import reap_orphans

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        reap_orphans(None)
        subprocess.run(["sh", "-c", "sleep 0.1 & sleep 0.2 &"])
        while len(psutil.Process().children()) > 0:
            reap_orphans(None)
            time.sleep(0.02)
        app = subprocess.Popen(["sh", "-c", "exit 3"])
        while psutil.Process(app.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.02)
        reap_orphans(app.pid)
        print(app.wait())
        """,
    )
    program = programs.start(sys.executable, str(script), PYTHONPATH=str(CHECKOUT))
    assert (program.wait(20), program.out) == (0, "3\n"), program.err


def test_who_waits_for_a_child_that_computes_computes() -> None:
    """And so does all that it descends from; not its brother."""
    sizes = (0, 0, 1, 0, 0.0)
    processes = [
        ProcessSample(pid, parent, "app", "running", cpu, *sizes)
        for pid, parent, cpu in ((1, 0, 0.0), (2, 1, 0.0), (3, 1, 0.0), (4, 2, 0.9))
    ]
    sample = Sample(0.0, Host(0.0, 0.0, 0.0), tuple(processes))
    assert sample.computing == {1, 2, 4}


def test_a_state_folder_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    """With the setting that helps."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(ForgeError, match="Choose another one with OTEL_FORGE_STATE_DIR"),
        run_folder({"OTEL_FORGE_STATE_DIR": str(tmp_path / "file")}),
    ):
        pass


def test_the_app_is_not_shown_what_systemd_tells_the_monitor(tmp_path: Path) -> None:
    """Else it might speak in our name; and telemetry is on unless it is to be plain."""
    environ = {"NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": "1", "PATH": "/bin"}
    plain = app_environ(environ, tmp_path, "/app", plain=True)
    assert plain == {"PATH": "/bin", "OTEL_FORGE_WATCH_DIR": str(tmp_path)}
    assert "autostart" in app_environ(environ, tmp_path, "/app", plain=False)["PYTHONPATH"]


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(tmp_path: Path, abstract: bool) -> None:
    """By datagrams, at a path or in the abstract namespace."""
    name = f"otel-forge-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}" if abstract else name)
        listener.settimeout(5)
        address = f"@{name}" if abstract else name
        manager = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000"})
        manager.ready("watching\nshop")
        manager.alive()
        manager.stopping()
        assert [listener.recv(100) for _ in range(3)] == [
            b"READY=1\nSTATUS=watching shop", b"WATCHDOG=1", b"STOPPING=1",
        ]  # fmt: skip
    assert manager.watchdog == 1.5
    manager.alive()  # nobody listens any more


def test_a_watchdog_of_another_process_is_none_of_ours() -> None:
    """WATCHDOG_PID says whose it is."""
    assert ServiceManager({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, pid=2).watchdog is None
    assert ServiceManager({}).watchdog is None


def test_signals_wake_whoever_waits() -> None:
    """In the order in which they come."""
    with Signals() as signals:
        assert signals.wait(0) == []
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        got: list[int] = []
        while len(got) < 2:
            got += signals.wait(5)
    assert sorted(got) == sorted([signal.SIGUSR1, signal.SIGTERM])


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As under nohup; but SIGTERM always counts."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGTERM)}
    try:
        with Signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_signals_are_given_back() -> None:
    """As they were before."""
    before = signal.getsignal(signal.SIGTERM)
    with Signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
