"""Gates R2, R6: a real program sends through every fault a network has; what it made arrives, or is accounted for.

All programs of a rate run at the same time, each with a proxy and a receiver of its own; each test looks at one.
"""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import faults
from tests.conftest import require_tool
from tests.delivery.scripted import eventually
from tests.faults import Fault, FaultProxy
from tests.numbered import NumberedReceiver
from tests.programs import BIN, Program, Programs

pytestmark = pytest.mark.gate

EMITTER = Path(__file__).with_name("emitter.py")
CHECKOUT = Path(__file__).resolve().parents[2]
INSTRUMENT = str(BIN / "opentelemetry-instrument")
OUTAGE = 3.0
EXIT_BUDGET = 2.0


@dataclass(frozen=True)
class Case:
    """One fault and the rate at which records are made under it."""

    name: str
    fault: Fault
    rate: int = 100
    repeats: bool = False
    """Whether records may arrive twice: the documented duplicates, after an answer that was lost."""
    by_name: str = ""
    """What becomes of look-ups of the endpoint's name during the fault."""
    tls: bool = False
    outage: float = OUTAGE


CASES = [
    Case("refused", faults.refuse),
    Case("accepted by nobody", faults.no_accept),
    Case("black hole", faults.black_hole),
    Case("reset in the body", faults.reset_in_body),
    Case("reset after delivery", faults.reset_after_forwarding, repeats=True),
    Case("a byte a second taken", faults.slow_reader),
    Case("a byte a second answered", faults.slow_answer),
    Case("503", faults.unavailable),
    Case("429 for a second", faults.throttled(1)),
    Case("429 for a second, as a date", faults.throttled(1, as_date=True)),
    Case("429 for five seconds", faults.throttled(5)),
    Case("307", faults.redirect),
    Case("413", faults.limited_to(2000)),
    Case("partial success", faults.rejecting(3)),
    Case("400", faults.bad_request),
    Case("TLS where plain HTTP was expected", faults.speaks_tls),
    Case("a certificate nobody signed", faults.untrusted, tls=True),
    Case("half a second for each request", faults.slow(0.5)),
    Case("unknown host", faults.healthy, by_name="fails"),
    Case("name look-up that hangs", faults.healthy, by_name="hangs"),
]
FAST_CASES = [
    Case("refused, 2,000 a second", faults.refuse, 2000),
    Case("black hole, 2,000 a second", faults.black_hole, 2000, outage=4.0),
    Case("413, 2,000 a second", faults.limited_to(20_000), 2000, outage=1.0),
]


@dataclass
class Outcome:
    """What became of one case."""

    emitted: int
    proxy: FaultProxy
    receiver: NumberedReceiver
    met: int
    accounts: Mapping[str, Any]
    status: int
    ending: float
    notices: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two certificates for 127.0.0.1: one that programs trust, and another."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("good", "bad"):
        command = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
        files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
        subprocess.run([str(require_tool("openssl")), *command.split(), *files], check=True, capture_output=True)
    return folder


def contexts(certificates: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the server's side of TLS with the good and with the bad certificate."""
    made = []
    for name in ("good", "bad"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
        made.append(context)
    return made[0], made[1]


class Runs:
    """Runs cases in threads; every test asks for its own."""

    def __init__(self, stack: ExitStack, folder: Path, certificates: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._certificates = certificates
        self._programs = stack.enter_context(Programs(folder))
        self._threads = stack.enter_context(ThreadPoolExecutor(32))
        self._outcomes: dict[str, Future[Outcome]] = {}

    def start(self, cases: list[Case]) -> None:
        for case in cases:
            receiver = self._stack.enter_context(NumberedReceiver())
            tls = contexts(self._certificates) if case.tls else None
            proxy = self._stack.enter_context(FaultProxy(receiver.url, tls=tls))
            self._outcomes[case.name] = self._threads.submit(self._run, case, receiver, proxy)

    def outcome(self, case: Case) -> Outcome:
        return self._outcomes[case.name].result(120)

    def _run(self, case: Case, receiver: NumberedReceiver, proxy: FaultProxy) -> Outcome:
        folder = self._folder / re.sub(r"\W+", "-", case.name)
        folder.mkdir()
        resolver = folder / "resolver"
        resolver.write_text("ok")
        program = self._emitter(case, proxy, folder, resolver)
        receiver.wait_for(lambda _: receiver.tally.numbers["traces"] and receiver.tally.numbers["logs"])
        inflict(case, proxy, resolver)
        emitted = int(told(program, "emitted").split()[0])
        receiver.wait_for_all(expected(emitted, proxy), timeout=40)
        accounts = settled_accounts(program)
        status, ending = program.ended_within(30)
        return Outcome(emitted, proxy, receiver, proxy.met[case.fault], accounts, status, ending, program.notices())

    def _emitter(self, case: Case, proxy: FaultProxy, folder: Path, resolver: Path) -> Program:
        url = proxy.url.replace("127.0.0.1", "backend.test") if case.by_name else proxy.url
        environ = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(self._certificates / "good.pem")} if case.tls else {}
        return self._programs.start(
            INSTRUMENT, "python", str(EMITTER), str(case.rate), str(resolver),
            PYTHONPATH=str(CHECKOUT), OTEL_SERVICE_NAME="emitter", OTEL_EXPORTER_OTLP_ENDPOINT=url,
            **quick_settings(folder), **environ,
        )  # fmt: skip


def quick_settings(folder: Path) -> dict[str, str]:
    """Return settings under which a minute's events take seconds."""
    return {
        "OTEL_FORGE_PIPELINE": "lean",
        "OTEL_FORGE_SPOOL_DIR": str(folder / "spool"),
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_BLRP_SCHEDULE_DELAY": "200",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    }


def expected(emitted: int, proxy: FaultProxy) -> Mapping[str, list[int]]:
    """Return the numbers that the receiver must have: all but those that were turned away for good."""
    return {
        name: [number for number in range(emitted) if number not in proxy.refused[name]] for name in ("traces", "logs")
    }


def inflict(case: Case, proxy: FaultProxy, resolver: Path) -> None:
    """Put the fault in the way for a while; for how long is what is tested."""
    if case.by_name:
        resolver.write_text(case.by_name)
        proxy.be(faults.refuse)  # so that a connection that is open does not go on
        proxy.be(faults.healthy)
    proxy.be(case.fault)
    time.sleep(case.outage)
    resolver.write_text("ok")
    proxy.be(faults.healthy)
    time.sleep(0.5)


def told(program: Program, word: str) -> str:
    """Signal the program to go on to the next stage, and return what it says about it."""
    os.kill(program.pid, signal.SIGUSR1)
    program.wait_for_output(f"{word} ")
    eventually(lambda: re.search(rf"^{word} .*\n", program.out, re.MULTILINE))
    return next(line.removeprefix(f"{word} ") for line in program.out.splitlines() if line.startswith(f"{word} "))


def settled_accounts(program: Program) -> Mapping[str, Any]:
    """Return the accounts that the program says when all has arrived."""
    found: Mapping[str, Any] = json.loads(told(program, "accounts"))
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Runs]:
    """All cases, running."""
    with ExitStack() as stack:
        running = Runs(stack, tmp_path_factory.mktemp("faults"), certificates)
        running.start(CASES)
        yield running


@pytest.fixture(scope="module")
def fast_runs(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Callable[[Case], Outcome]]:
    """The fast cases, each when it is asked for: two at once would be more than a small machine has."""
    with ExitStack() as stack:
        running = Runs(stack, tmp_path_factory.mktemp("fast"), certificates)

        def run(case: Case) -> Outcome:
            running.start([case])
            return running.outcome(case)

        yield run


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whatever_the_network_does_every_record_arrives_or_was_turned_away(runs: Runs, case: Case) -> None:
    """R6: none is lost, none comes twice but where the answer was lost, the accounts agree with the receiver."""
    check(case, runs.outcome(case))


@pytest.mark.parametrize("case", FAST_CASES, ids=lambda case: case.name)
def test_at_two_thousand_a_second_nothing_is_lost_either(fast_runs: Callable[[Case], Outcome], case: Case) -> None:
    """R2, compressed: an outage of seconds under full traffic loses nothing."""
    check(case, fast_runs(case))


def check(case: Case, outcome: Outcome) -> None:
    """Compare what was made, what arrived, and what the program itself says about it."""
    tally = outcome.receiver.tally
    assert outcome.emitted > case.rate * case.outage / 2, "the program was held up"
    assert outcome.met or case.fault in (faults.refuse, faults.no_accept), "the fault was met by no request"
    for name, numbers in expected(outcome.emitted, outcome.proxy).items():
        assert tally.missing(name, numbers) == []
        if not case.repeats:
            assert tally.repeated(name) == []
        account = outcome.accounts[name]
        turned_away = len(tally.missing(name, list(outcome.proxy.refused[name])))  # what is refused goes again in parts
        assert account["created"] == outcome.emitted
        assert account["delivered"] == outcome.emitted - turned_away
        assert sum(account["dropped"].values()) == turned_away
        assert account["held"] == 0
    assert tally.total("test.emitted") == outcome.emitted
    assert outcome.status == 0
    assert outcome.ending < EXIT_BUDGET
