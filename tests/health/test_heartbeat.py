"""What a process tells the monitor: requests in flight, what they wait for, its heartbeat, its stacks."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from otel_forge import guard
from otel_forge.health import heartbeat
from otel_forge.health.heartbeat import Heartbeat, read_beats
from otel_forge.health.in_flight import InFlight
from otel_forge.health.waiting import (
    LOCK,
    NETWORK,
    OTHER,
    RUNNING,
    SLEEP,
    UNKNOWN,
    kind_in,
    kinds_of,
    kinds_of_waits,
    waits_for,
)
from tests.programs import Programs

CHECKOUT = str(Path(__file__).parents[2])


def test_requests_are_counted_as_they_begin_and_end() -> None:
    """With the times of the oldest and the newest, and of the last end."""
    now = [100.0]
    requests = InFlight(lambda: now[0])
    first = requests.begin()
    now[0] = 110.0
    second = requests.begin()
    load = requests.load(lambda threads: [LOCK])
    assert (load.in_flight, load.completed, load.oldest, load.newest, load.ended) == (2, 0, 100.0, 110.0, 100.0)
    assert load.waits == (LOCK,)
    now[0] = 120.0
    requests.end(first)
    requests.end(second)
    load = requests.load(lambda threads: [LOCK])
    assert (load.in_flight, load.completed, load.oldest, load.newest, load.ended) == (0, 2, None, None, 120.0)


def test_counts_are_exact_under_threads() -> None:
    """None is lost, none stays."""
    requests = InFlight()

    def work() -> None:
        for _ in range(2000):
            requests.end(requests.begin())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (requests.load().in_flight, requests._completed) == (0, 16_000)


def waiting(work: Callable[[], object]) -> Iterator[int]:
    """Run `work` in a thread; yield its native id."""
    ids: list[int] = []
    started = threading.Event()

    def run() -> None:
        ids.append(threading.get_native_id())
        started.set()
        work()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait(10)
    yield ids[0]
    thread.join(10)


def settled(thread: int, kind: str) -> str:
    """Return what the thread waits for, as soon as that is `kind`."""
    deadline = time.monotonic() + 10
    while (found := waits_for(thread)) != kind and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel tells")
def test_the_kernel_tells_what_a_thread_waits_for() -> None:
    """A lock, the network, a time; a lock that is given up after a time is a time."""
    lock = threading.Lock()
    lock.acquire()
    ours, theirs = socket.socketpair()
    for work, kind, release in (
        (lock.acquire, LOCK, lock.release),
        (lambda: theirs.recv(1), NETWORK, lambda: ours.send(b"x")),
        (lambda: time.sleep(1), SLEEP, lambda: None),
        (lambda: lock.acquire(timeout=1), SLEEP, lambda: None),
    ):
        for thread in waiting(work):
            assert settled(thread, kind) == kind
            release()
    ours.close()
    theirs.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel tells")
def test_who_waits_for_another_thread_waits_for_what_that_does() -> None:
    """A future of a pool whose thread waits for the network; but a lock is a lock, whatever other threads do."""
    ours, theirs = socket.socketpair()
    lock = threading.Lock()
    lock.acquire()

    def ask(native: int) -> str:
        """Other tests may have left threads."""
        pooled = [thread.native_id for thread in threading.enumerate() if thread.name.startswith("answering")]
        return waits_for(native) if native in pooled else LOCK

    with ThreadPoolExecutor(3, "answering") as pool:
        answer = pool.submit(theirs.recv, 1)
        asking, locked = {}, {}
        pool.submit(lambda: (asking.update({threading.get_ident(): threading.get_native_id()}), answer.result()))
        pool.submit(lambda: (locked.update({threading.get_ident(): threading.get_native_id()}), lock.acquire()))
        until(lambda: kinds_of_waits(asking, ask) == {NETWORK})
        until(lambda: kinds_of_waits(locked, ask) == {LOCK})
        assert kinds_of_waits({**asking, **locked}, ask) == {LOCK, NETWORK}
        ours.send(b"x")
        lock.release()
    ours.close()
    theirs.close()


def test_threads_that_all_wait_for_locks_wait_for_each_other() -> None:
    """Nobody works for a request that waits for another thread: it is as stuck as with a lock."""
    free, asking = threading.Event(), {}

    def deadlock() -> None:
        asking[threading.get_ident()] = threading.get_native_id()
        free.wait()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(deadlock)
        until(lambda: bool(asking))
        assert kinds_of_waits(asking, lambda native: LOCK) == {LOCK}
        free.set()


def until(condition: Callable[[], bool]) -> None:
    """Wait until that is so."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_the_kernel_does_not_tell_is_unknown() -> None:
    """Another machine, another system, a thread that is gone."""
    assert waits_for(2**22 + 1) == UNKNOWN
    assert kind_in("202 0x1 0x2", {}) == UNKNOWN
    assert kind_in("", kinds_of("x86_64")) == UNKNOWN
    assert kind_in("running", {}) == RUNNING
    assert kind_in("9999 0x0", kinds_of("aarch64")) == OTHER
    assert kind_in("202 0x1 0x189 0x0 0x7ffd 0x0", kinds_of("x86_64")) == SLEEP
    assert kind_in("202 0x1 0x189 0x0 0x0 0x7ffd", kinds_of("x86_64")) == LOCK
    assert kind_in("455 0x1 0x0 0x0 0x7ffd 0x0 0x0", kinds_of("x86_64")) == LOCK
    assert kinds_of("vax") == {}


def test_a_beat_is_written_and_read(tmp_path: Path) -> None:
    """Whole, and for this user only."""
    beating = Heartbeat(tmp_path, clock=lambda: 42.0)
    beating.requests.begin()
    beating.beat()
    [beat] = read_beats(tmp_path)
    assert (beat.pid, beat.beaten, beat.in_flight) == (os.getpid(), 42.0, 1)
    assert (tmp_path / f"{os.getpid()}.beat").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [f"{os.getpid()}.beat"]


def test_a_beat_that_cannot_be_written_is_removed(tmp_path: Path) -> None:
    """On a full disk a process must not seem dead because its last word is old."""
    beating = Heartbeat(tmp_path)
    beating.beat()
    [beat] = read_beats(tmp_path)
    (tmp_path / f".{beat.pid}.beat.{beat.pid}").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        beating.beat()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b'{"pid": 1, "waits": [], "more": 2}', b"\xff" * 100])
def test_a_damaged_beat_is_left_out(tmp_path: Path, damage: bytes) -> None:
    """The monitor must not fall over it."""
    (tmp_path / "7.beat").write_bytes(damage)
    assert read_beats(tmp_path) == []


def test_nothing_happens_where_nobody_watches() -> None:
    """Neither a thread nor a file; and the app is told."""
    assert heartbeat.request_restart("for fun") is False
    before = threading.active_count()
    heartbeat.start()
    assert threading.active_count() == before


def test_a_process_without_room_for_threads_serves_and_beats_when_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is the first thing that wants the heartbeat, and must not pay for it."""
    guard.set_strict(False)
    watched, room = Heartbeat(tmp_path), [False]
    start = threading.Thread.start

    def full(thread: threading.Thread) -> None:
        if not room[0]:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", full)
    watched.requests.end(watched._begin_request())
    assert watched.requests.load().completed == 1
    room[0] = True
    watched._begin_request()
    assert any(thread.name == "otel-forge heartbeat" for thread in threading.enumerate())


def test_nobody_is_asked_where_the_monitor_has_gone(tmp_path: Path, programs: Programs) -> None:
    """It took its folder along; the application is told, and nothing is raised into it."""
    code = """
        import sys
        from pathlib import Path
        from otel_forge.health import heartbeat
        folder = Path(sys.argv[1])
        heartbeat.install(folder)
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        print(heartbeat.request_restart("why not"))
    """
    (tmp_path / "run").mkdir()
    script = programs.write("gone.py", code)
    program = programs.start(sys.executable, str(script), str(tmp_path / "run"), PYTHONPATH=CHECKOUT)
    assert (program.wait(), program.out, program.err) == (0, "False\n", "")


GIVES_RIGHTS_UP = """
    import os, sys, threading
    from pathlib import Path
    from gunicorn.config import Config
    from gunicorn.workers.sync import SyncWorker
    from otel_forge.health import heartbeat

    class Application:
        def wsgi(self):
            print("loading", flush=True)
            for thread in threading.enumerate():
                if thread.name == "otel-forge heartbeat":
                    thread.join(5)
            raise SystemExit

    class Log:
        def close_on_exec(self):
            pass

    heartbeat.install(Path(sys.argv[1]))
    config = Config()
    config.set("user", 65534)
    config.set("group", 65534)
    SyncWorker(1, os.getppid(), [], Application(), 30, config, Log()).init_process()
"""


def test_a_worker_that_gives_up_its_rights_has_no_heartbeat(tmp_path: Path, programs: Programs) -> None:
    """Rather than one that it can't renew: that would seem lost. Who has no rights to give up does not get that far."""
    folder = tmp_path / "private" / "run"
    folder.parent.mkdir(mode=0o700)
    folder.mkdir(mode=0o700)
    script = programs.write("rights.py", GIVES_RIGHTS_UP)
    program = programs.start(sys.executable, str(script), str(folder), PYTHONPATH=CHECKOUT)
    program.wait()
    assert program.out == ("loading\n" if os.geteuid() == 0 else "")
    assert [file.suffix for file in folder.iterdir()] == [".stacks"]
    assert "otel-forge" not in program.err


SERVED = """
    import os, sys, threading, time
    from pathlib import Path
    from otel_forge.health import heartbeat, is_draining

    folder = Path(sys.argv[1])
    heartbeat.install(folder)
    assert threading.active_count() == 1, "a thread before the fork"
    heartbeat.start()
    deadline = time.monotonic() + 20
    def until(done):
        while not done():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    until(lambda: (folder / f"{os.getpid()}.beat").exists())
    child = os.fork()
    if child == 0:
        assert threading.active_count() == 1, "a thread in the child by itself"
        heartbeat.start()
        until(lambda: (folder / f"{os.getpid()}.beat").exists())
        os.kill(os.getpid(), heartbeat.STACKS_SIGNAL)
        until(lambda: "served.py" in (folder / f"{os.getpid()}.stacks").read_text())
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert {path.name for path in folder.iterdir()} == {
        f"{os.getpid()}.beat", f"{os.getpid()}.stacks", f"{child}.beat", f"{child}.stacks",
    }
    assert not is_draining()
    (folder / "draining").touch()
    until(is_draining)
    assert heartbeat.request_restart("why not") is True
    print((folder / "restart-request.json").read_text())
"""


def test_a_process_and_its_fork_beat_each_for_itself(programs: Programs, tmp_path: Path) -> None:
    """Stacks, draining and asking for a restart go through the same folder; no thread exists before it is asked for."""
    folder = tmp_path / "run"
    folder.mkdir()
    script = programs.write("served.py", SERVED)
    program = programs.start(sys.executable, "-W", "ignore", str(script), str(folder), PYTHONPATH=CHECKOUT)
    assert program.wait() == 0, program.err
    assert '"reason": "why not"' in program.out
