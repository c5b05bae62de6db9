"""Restarts of real servers: a deadlock, a lost heartbeat, too much memory; and what is none of these."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from contextlib import closing

import psutil
import pytest

from tests.monitor.at_once import at_once
from tests.monitor.sick import QUICK, SickServer
from tests.processes.servers import bin_of_servers
from tests.programs import Programs

GTHREAD = ("--worker-class", "gthread", "--threads", "3")


@pytest.mark.gate
@at_once
def test_a_deadlocked_server_with_threads_is_restarted(programs: Programs) -> None:
    """H3: all threads wait for a lock; within 30 s another process answers, and the stacks name the line."""
    assert deadlock(programs, *GTHREAD, times=3) == 3


@pytest.mark.gate
@at_once
def test_a_deadlocked_server_without_threads_is_restarted(programs: Programs) -> None:
    """H3: the same with gunicorn's sync worker."""
    assert deadlock(programs, times=1) == 1


def deadlock(programs: Programs, *gunicorn: str, times: int) -> int:
    """Deadlock a server by so many requests; return in how many stacks the line stands."""
    with closing(SickServer(programs, *gunicorn)) as server:
        sick, began = server.pid(), time.monotonic()
        server.send("/deadlock", times=times)
        server.another_pid_than(sick)
        assert time.monotonic() - began < 30
        assert len(server.restarts()) == 1
        [incident] = server.incidents()
        assert incident.name.endswith("-deadlock")
        state = json.loads((incident / "state.json").read_text())
        assert (state["reason"], state["service"]) == ("deadlock", "sick")
        assert {process["pid"] for process in state["processes"]} >= {sick}
        assert {stat.S_IMODE(path.stat().st_mode) for path in incident.iterdir()} == {0o600}
        assert stat.S_IMODE(incident.stat().st_mode) == 0o700
        return (incident / "stacks.txt").read_text().count("in wait_for_ever")


@pytest.mark.gate
@at_once
def test_a_blocked_event_loop_is_a_lost_heartbeat(programs: Programs) -> None:
    """H3: under gevent the heartbeat is that of the loop; requests that wait for a while are none of its business."""
    gunicorn = str(bin_of_servers() / "gunicorn")
    with closing(SickServer(programs, "--worker-class", "gevent", program=gunicorn, probe="")) as server:
        sick = server.pid()
        server.send("/sleep/4.0", times=3)
        time.sleep(4)
        assert server.restarts() == []
        server.send("/block")
        server.another_pid_than(sick)
        [incident] = server.incidents()
        assert incident.name.endswith("-heartbeat_lost")
        assert "in block" in (incident / "stacks.txt").read_text()


@pytest.mark.gate
@at_once
def test_sick_workers_are_replaced_and_the_others_go_on(programs: Programs) -> None:
    """H3: of three workers one is deadlocked, one stopped (its heartbeat is lost); master and the third worker stay."""
    with closing(SickServer(programs, "--workers", "3", probe="")) as server:
        first = server.pid()
        master = psutil.Process(first).parent()
        assert master is not None
        server.until(lambda: "all" if len(workers_of(master)) == 3 else "", 20)
        before = workers_of(master)
        server.send("/deadlock")
        os.kill(first, signal.SIGSTOP)

        def both_are_replaced() -> str:
            workers = workers_of(master)
            return "both" if len(workers) == 3 and len(workers & before) == 1 else ""

        server.until(both_are_replaced, 30)
        assert len(server.restarts()) == 2
        assert first not in workers_of(master)
        assert all(said.startswith("watch: restarting worker ") for said in server.restarts())
        by_reason = {incident.name.rsplit("-", 1)[1]: incident for incident in server.incidents()}
        assert set(by_reason) == {"deadlock", "heartbeat_lost"}
        assert "It gave no answer: it is stopped" in (by_reason["heartbeat_lost"] / "stacks.txt").read_text()


def workers_of(master: psutil.Process) -> set[int]:
    """Return the processes that a master has started and that live."""
    return {child.pid for child in master.children() if child.status() != psutil.STATUS_ZOMBIE}


@at_once
def test_an_app_that_takes_too_much_memory_is_restarted(programs: Programs) -> None:
    """All its processes together count."""
    options = (*QUICK, "--memory-limit", "600MiB")
    with closing(SickServer(programs, "--threads", "2", options=options)) as server:
        sick = server.pid()
        assert server.get("/eat/600", timeout=30) == "eaten"
        server.another_pid_than(sick)
        [incident] = server.incidents()
        assert incident.name.endswith("-memory_limit")


@pytest.mark.gate
@at_once
def test_requests_that_wait_for_the_network_are_no_deadlock(programs: Programs) -> None:
    """H3: every thread hangs on a dependency that never answers, and so does the probe: nothing to mend."""
    hang(programs, "/upstream")


@pytest.mark.gate
@at_once
def test_requests_that_wait_for_a_thread_which_waits_for_the_network_are_no_deadlock(programs: Programs) -> None:
    """H3: as views that are coroutines do, and whatever uses a pool: what they see is a lock."""
    hang(programs, "/pooled")


def hang(programs: Programs, path: str) -> None:
    """Have every request hang for longer than silence may last."""
    with closing(SickServer(programs, *GTHREAD)) as server:
        pid = server.pid()
        server.until_probed()
        server.send(path, times=3)
        server.monitor.wait_for_output("have hung for more than")
        server.monitor.wait_for_output("wait for somebody else (the network")
        time.sleep(3)  # the probe has been silent for long enough as well by now
        assert server.restarts() == []
        assert psutil.pid_exists(pid)


@pytest.mark.gate
@at_once
def test_a_busy_and_degraded_app_is_not_restarted(programs: Programs) -> None:
    """H3: every thread is busy with long requests, and what answers between them is a 503."""
    with closing(SickServer(programs, *GTHREAD, probe="/ready")) as server:
        pid = server.pid()
        server.until_probed()
        for _ in range(3):
            server.send("/sleep/2.5", times=3)
            time.sleep(2.4)
        assert server.restarts() == []
        assert server.pid() == pid


@pytest.mark.gate
@at_once
def test_an_app_that_computes_is_not_restarted(programs: Programs) -> None:
    """H3: every thread holds the interpreter as best it can, for twice as long as silence may last."""
    with closing(SickServer(programs, *GTHREAD)) as server:
        pid = server.pid()
        server.until_probed()
        server.send("/compute/6.0", times=3)
        time.sleep(6.5)
        assert server.restarts() == []
        assert server.pid() == pid
