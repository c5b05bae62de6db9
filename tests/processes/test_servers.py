"""Gate R5: servers that fork workers. Every request once, the last ones of a worker that goes included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.delivery.scripted import eventually
from tests.numbered import Tally
from tests.processes.servers import Running
from tests.programs import Program

pytestmark = pytest.mark.gate

REQUESTS = 120
MAX_REQUESTS = 25
EXIT_BUDGET = 2.0
Answered = Mapping[int, int]
"""Which process answered each number."""


@dataclass
class Outcome:
    """What a server answered, and what arrived of it."""

    answered: Answered
    tally: Tally
    ending: float
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Case:
    """One way to run a server. `preloads` where the application is imported before the fork."""

    name: str
    server: str
    options: tuple[str, ...]
    workers: int = 2
    preloads: bool = False
    hangs: bool = False
    recycles: bool = False
    graceful: bool = True
    """Whether a worker that is told to end finishes its request first; else uWSGI leaves without Python's exit."""
    own_ending: float = 1.0
    """Seconds that the server takes to end without telemetry: it looks at its workers once a second."""
    environ: Mapping[str, str] = field(default_factory=dict)


def gunicorn(name: str, *options: str, **kind: object) -> Case:
    return Case(f"gunicorn {name}", "gunicorn", ("--workers=2", *options), **kind)  # type: ignore[arg-type]


def uwsgi(name: str, *options: str, **kind: object) -> Case:
    kind = {"graceful": False, **kind}
    return Case(f"uwsgi {name}", "uwsgi", ("--processes", "2", *options), **kind)  # type: ignore[arg-type]


CASES = [
    gunicorn("sync"),
    gunicorn("sync, preloaded", "--preload", preloads=True),
    gunicorn("gthread", "--worker-class=gthread", "--threads=4"),
    gunicorn("gthread, preloaded", "--worker-class=gthread", "--threads=4", "--preload", preloads=True),
    gunicorn("gevent", "--worker-class=gevent", own_ending=2.0),
    gunicorn("gevent, preloaded", "--worker-class=gevent", "--preload", preloads=True, own_ending=2.0),
    gunicorn("with recycled workers", f"--max-requests={MAX_REQUESTS}", recycles=True),
    gunicorn("with a worker that hangs", "--timeout=2", hangs=True, recycles=True),
    uwsgi("with threads", "--enable-threads", preloads=True),
    uwsgi("without threads", preloads=True),
    uwsgi(
        "ended gracefully",
        "--enable-threads",
        "--hook-master-start",
        "unix_signal:15 gracefully_kill_them_all",
        preloads=True,
        graceful=True,
    ),
    uwsgi("lazy, with threads", "--enable-threads", "--lazy-apps"),
    uwsgi("lazy, without threads", "--lazy-apps"),
    uwsgi(
        "with recycled workers",
        "--enable-threads",
        "--max-requests",
        str(MAX_REQUESTS),
        "--min-worker-lifetime",  # else none goes in its first minute
        "0",
        preloads=True,
        recycles=True,
        own_ending=11.5,  # a worker that was just forked misses SIGTERM, and goes when --worker-reload-mercy ends
    ),
]


class Runs:
    """Runs the cases, three at a time; each test asks for the outcome of its own."""

    def __init__(self, servers_bin: Path, folder: Path, pool: ThreadPoolExecutor) -> None:
        self._servers_bin = servers_bin
        self._folder = folder
        self._outcomes: dict[str, Future[Outcome]] = {case.name: pool.submit(self._run, case) for case in CASES}

    def outcome(self, case: Case) -> Outcome:
        return self._outcomes[case.name].result(120)

    def _run(self, case: Case) -> Outcome:
        folder = self._folder / case.name.replace(" ", "-").replace(",", "")
        folder.mkdir()
        with Running(self._servers_bin, folder, **case.environ) as running:
            start = running.gunicorn if case.server == "gunicorn" else running.uwsgi
            server = start(*case.options)
            self._wait_for_workers(server, case, {})
            answered = running.ask(range(REQUESTS))
            if case.hangs:
                running.get("/hang", timeout=30)
            answered |= running.ask(range(REQUESTS, REQUESTS + 40))
            self._wait_for_workers(server, case, answered)
            if not case.graceful:  # what a client has an answer to is not over yet for its worker
                eventually(lambda: server.err.count("=> generated") >= REQUESTS + 40)
            server.terminate()
            _, ending = server.ended_within(40)
            return Outcome(answered, running.receiver.tally, ending, server.notices())

    @staticmethod
    def _wait_for_workers(server: Program, case: Case, answered: Answered) -> None:
        """Wait until the last worker has started: one that is being forked misses a SIGTERM."""
        retired = sum(count >= MAX_REQUESTS for count in Counter(answered.values()).values()) if case.recycles else 0
        killed = case.hangs and bool(answered)
        imports = 1 if case.preloads else case.workers + (killed or retired)
        eventually(lambda: server.err.count("the application is imported") == imports, timeout=30)
        if case.server == "uwsgi":  # which forks once more, and forgets that one, if SIGTERM comes before it did
            eventually(lambda: server.err.count("Respawned uWSGI worker") == retired, timeout=30)


@pytest.fixture(scope="module")
def runs(servers_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """All cases, running."""
    with ThreadPoolExecutor(3) as pool:
        yield Runs(servers_bin, tmp_path_factory.mktemp("servers"), pool)


def of(*cases: Case) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


@of(*CASES)
def test_every_request_arrives_once_the_last_ones_included(runs: Runs, case: Case) -> None:
    """All has arrived when the server has ended: spans, log records, and counts."""
    outcome = runs.outcome(case)
    assert len(outcome.answered) == REQUESTS + 40
    for name in ("traces", "logs"):
        assert outcome.tally.missing(name, outcome.answered) == []
        assert outcome.tally.repeated(name) == []
    assert outcome.tally.total("test.requests") == len(outcome.answered)
    assert outcome.notices[1:] == []


@of(*CASES)
def test_the_server_ends_within_the_budget(runs: Runs, case: Case) -> None:
    """Two seconds beyond what the server itself takes."""
    assert runs.outcome(case).ending < case.own_ending + EXIT_BUDGET


@of(*[case for case in CASES if not case.recycles])
def test_what_was_counted_before_the_fork_is_reported_once(runs: Runs, case: Case) -> None:
    """A preloaded application was imported once, however many workers there are."""
    assert runs.outcome(case).tally.total("test.imports") == (1 if case.preloads else case.workers)


@of(*CASES)
def test_every_process_has_an_instance_id_of_its_own(runs: Runs, case: Case) -> None:
    """No process has two, and no two that live at the same time share one."""
    outcome = runs.outcome(case)
    by_process: dict[int, set[str]] = {}
    for number, pid in outcome.answered.items():
        by_process.setdefault(pid, set()).add(outcome.tally.instances[number])
    assert all(len(instances) == 1 for instances in by_process.values())
    if not case.recycles:
        assert len(set.union(*by_process.values())) == len(by_process)


@of(*[case for case in CASES if case.recycles])
def test_a_worker_that_comes_in_place_of_another_has_its_instance_id(runs: Runs, case: Case) -> None:
    """However many processes there were, there are as many ids as lived at the same time; one more while one ends."""
    outcome = runs.outcome(case)
    instances = {outcome.tally.instances[number] for number in outcome.answered}
    processes = len(set(outcome.answered.values()))
    assert processes > case.workers or case.hangs, "no worker was recycled"
    assert len(instances) <= case.workers + 1
