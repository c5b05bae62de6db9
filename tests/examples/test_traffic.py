"""Traffic as sent: the ledger equals what servers saw, whatever goes wrong on the way."""

from __future__ import annotations

import json
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from asset_forge.faults import Faults, FaultSwitch
from asset_forge.traffic import (
    TARGETS,
    Address,
    Ledger,
    NotLoopback,
    Outcome,
    Request,
    Traffic,
    TrafficSettings,
    loopback_address,
    send,
)
from asset_forge.traffic.__main__ import main
from flask import Flask, g, request

from tests.examples.conftest import EXAMPLE, Serve, free_ports
from tests.examples.test_traffic_plan import matched_rule

Seen = Counter[tuple[str, str | None, int]]


def settings(base_url: str, **changed: object) -> TrafficSettings:
    """Return settings for quick traffic to an address."""
    usual: dict[str, object] = {"rate": 0, "concurrency": 4, "duration_s": None, "requests": 150, "timeout_s": 5}
    return TrafficSettings(TARGETS["asset-forge"], base_url, **{**usual, **changed})  # type: ignore[arg-type]


def counting(app: Flask) -> Seen:
    """Let an application count its own answers by method, route and status."""
    seen: Seen = Counter()
    lock = threading.Lock()

    def count(response):  # type: ignore[no-untyped-def]
        g.status = response.status_code
        return response

    def book(error: BaseException | None) -> None:
        route = request.url_rule.rule if request.url_rule else None
        with lock:
            seen[request.method, route, g.get("status", 500)] += 1

    app.after_request(count)
    app.teardown_request(book)
    return seen


def test_the_ledger_equals_what_the_api_counted(api: Flask, serve: Serve) -> None:
    """Every request has its line on both sides, by method, route and status, error phases included."""
    seen = counting(api)
    ledger = Traffic(settings(serve(api), requests=400)).run()
    assert ledger.tally().sent == 400
    assert ledger.tally().responses == 400
    assert ledger.responses() == dict(seen)
    assert {status for _, _, status in seen} >= {200, 201, 400, 404, 405, 500}


def test_the_ledger_equals_what_httpbin_counted(serve: Serve) -> None:
    """The same with httpbin: redirects are not followed, streams are read to their end."""
    from httpbin import core  # type: ignore[import-untyped]  # slow to import, and only this test needs it

    seen: Seen = Counter()

    def counted(environ, start_response):  # type: ignore[no-untyped-def]
        path = environ["PATH_INFO"] + ("?" + environ["QUERY_STRING"] if environ["QUERY_STRING"] else "")
        route = matched_rule(core.app, Request(environ["REQUEST_METHOD"], path, None))

        def start(status, headers, *more):  # type: ignore[no-untyped-def]
            seen[environ["REQUEST_METHOD"], route, int(status[:3])] += 1
            return start_response(status, headers, *more)

        return core.app.wsgi_app(environ, start)

    app = Flask("httpbin")
    app.wsgi_app = counted  # type: ignore[method-assign]
    ledger = Traffic(TrafficSettings(TARGETS["httpbin"], serve(app), rate=0, duration_s=None, requests=280)).run()
    assert ledger.tally().responses == 280
    assert ledger.responses() == dict(seen)
    assert {301, 302, 401, 404, 405, 418, 500} <= {status for _, _, status in seen}


class Unreliable(BaseHTTPRequestHandler):
    """Answers one request in three properly, hangs up on one, and cuts the body of one."""

    def do_GET(self) -> None:
        """Toss for what to do, and count it."""
        what = self.server.toss()  # type: ignore[attr-defined]
        if what == "broken":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        length = int(self.headers.get("Content-Length", 0))
        self.rfile.read(length)
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"0123456789" if what == "ok" else b"01234")

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def unreliable() -> Iterator[tuple[str, Counter[str]]]:
    """A server that fails as it likes, and what it did."""
    done: Counter[str] = Counter()
    lock, chance = threading.Lock(), random.Random(3)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Unreliable)

    def toss() -> str:
        with lock:
            what = chance.choice(("ok", "broken", "cut"))
            done[what] += 1
            return what

    server.toss = toss  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", done
    server.shutdown()
    thread.join()
    server.server_close()


def test_answers_and_unknown_outcomes_are_told_apart(unreliable: tuple[str, Counter[str]]) -> None:
    """A server that hangs up leaves an unknown outcome; one that cuts its answer has answered."""
    url, done = unreliable
    ledger = Traffic(settings(url, fault_phases=False)).run()
    total = ledger.tally()
    assert (total.sent, total.not_sent) == (150, 0)
    assert total.unknown == done["broken"]
    assert total.ok == done["ok"] + done["cut"]
    assert total.sent == total.ok + total.client_errors + total.server_errors + total.not_sent + total.unknown


def test_a_request_that_nobody_took_is_not_sent() -> None:
    """A refused connection is known not to have reached the server."""
    (port,) = free_ports(1)
    ledger = Traffic(settings(f"http://127.0.0.1:{port}", requests=20)).run()
    assert (ledger.tally().sent, ledger.tally().not_sent, ledger.responses()) == (20, 20, {})


def test_a_server_that_accepts_and_says_nothing_is_a_timeout() -> None:
    """No answer in time: the server may have seen the request."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = Address("127.0.0.1", silent.getsockname()[1])
        assert send(address, Request("GET", "/", "/"), 0.2) == Outcome(None, "timeout")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "http://192.0.2.1:3004",
        "http://0.0.0.0:3004",
        "http://127.0.0.1.example.com",
        "http://localhost@example.com",
        "http://[::]:3004",
        "https://127.0.0.1:3004",
        "http://127.0.0.1:3004/api",
        "http://127.0.0.1:99999",
        "127.0.0.1:3004",
        "",
    ],
)
def test_traffic_never_leaves_this_machine(url: str) -> None:
    """Any address but a plain one on loopback is refused before anything is sent."""
    with pytest.raises(NotLoopback):
        Traffic(settings(url))
    with pytest.raises(NotLoopback):
        Traffic(settings("http://127.0.0.1:3004", control={"image-server": url}))


def test_loopback_addresses_are_taken() -> None:
    """The names of this machine are what one would type."""
    assert loopback_address("http://localhost:3004") == Address("localhost", 3004)
    assert loopback_address("http://127.0.0.2") == Address("127.0.0.2", 80)
    assert loopback_address("http://[::1]:81/") == Address("::1", 81)


def test_faults_hold_for_their_phase_only_and_are_cleared_at_the_end(
    api: Flask, serve: Serve, image_faults: FaultSwitch, ai_faults: FaultSwitch
) -> None:
    """Every switch is seen by the phase that wants it; afterwards everything is well."""
    base = serve(api)
    image_url = api.extensions["asset_forge"].settings.image_server_url
    ai_url = api.extensions["asset_forge"].settings.ai_upstream_url
    seen: dict[str, set[Faults]] = {}

    def watching(address: Address, sent: Request, timeout_s: float) -> Outcome:
        if sent.path != "/faults":
            seen.setdefault(traffic.phase, set()).add(image_faults.get())
        return send(address, sent, timeout_s)

    control = {"image-server": image_url, "ai-upstream": ai_url}
    traffic = Traffic(settings(base, requests=100, control=control), send_one=watching)
    ledger = traffic.run()
    assert seen["fault: image server slow"] == {Faults(latency_ms=900, seed=7)}
    assert seen["fault: image server hanging"] == {Faults(hang=True, seed=7)}
    assert seen["steady"] == seen["burst"] == {Faults(seed=7)}
    assert image_faults.get() == ai_faults.get() == Faults(seed=7)
    assert ledger.as_json()["phases"]["fault: image server slow"]["total"]["server_errors"] > 0


def test_without_fault_phases_nothing_is_broken(api: Flask, serve: Serve) -> None:
    """Only everyday traffic and bursts remain, and no switch is touched."""
    ledger = Traffic(settings(serve(api), requests=150, fault_phases=False)).run()
    assert set(ledger.as_json()["phases"]) == {"steady", "burst"}
    assert ledger.tally().server_errors == 0
    assert ledger.as_json()["control"] == {}


def test_the_same_seed_gives_the_same_ledger(api: Flask, serve: Serve) -> None:
    """Two runs ask for the same, route by route."""
    base = serve(api)
    asked = []
    for _ in range(2):
        ledger = Traffic(settings(base, requests=120, fault_phases=False)).run()
        asked.append(Counter({entry[:3]: count for entry, count in ledger.entries().items()}))
        assert ledger.tally().sent == 120
    assert {(phase, method, route) for phase, method, route in asked[0]} == set(asked[1])


def test_a_duration_ends_endless_traffic(api: Flask, serve: Serve) -> None:
    """Without a number of requests, time ends it, and the ledger says so."""
    ledger = Traffic(settings(serve(api), requests=None, duration_s=0.5, rate=50)).run()
    data = ledger.as_json()
    assert data["ended_by"] == "duration"
    assert 0 < data["total"]["sent"] < 200


def test_stopping_waits_for_the_requests_under_way(api: Flask, serve: Serve) -> None:
    """After stop nothing more is sent, and everything sent has an outcome."""
    seen = counting(api)
    enough = threading.Event()

    def until_enough(address: Address, sent: Request, timeout_s: float) -> Outcome:
        outcome = send(address, sent, timeout_s)
        if sum(seen.values()) >= 30:
            enough.set()
        return outcome

    traffic = Traffic(settings(serve(api), requests=None, fault_phases=False), send_one=until_enough)
    thread = threading.Thread(target=traffic.run)
    thread.start()
    assert enough.wait(30)
    traffic.stop()
    thread.join(30)
    assert traffic.ledger.responses() == dict(seen)
    assert traffic.ledger.as_json()["ended_by"] == "stop"


def test_a_defect_in_sending_is_raised_and_hangs_nothing() -> None:
    """An exception that is no network trouble ends the run and reaches the caller."""

    def broken(address: Address, sent: Request, timeout_s: float) -> Outcome:
        raise ZeroDivisionError("a defect")

    with pytest.raises(ZeroDivisionError, match="a defect"):
        Traffic(settings("http://127.0.0.1:3004"), send_one=broken).run()


def test_a_ledger_survives_writing_and_reading(tmp_path: Path) -> None:
    """What is read back has the same entries, totals and facts."""
    ledger = Ledger(seed=3)
    for outcome in (
        Outcome(200),
        Outcome(200, "cut"),
        Outcome(404),
        Outcome(None, "not_sent"),
        Outcome(None, "broken"),
    ):
        ledger.book("steady", "GET", "/a" if outcome.status != 404 else None, outcome)
    ledger.book_control("image-server")
    ledger.write(tmp_path / "new" / "ledger.json")
    again = Ledger.read(tmp_path / "new" / "ledger.json")
    assert again.entries() == ledger.entries()
    assert again.responses() == {("GET", "/a", 200): 2, ("GET", None, 404): 1}
    ours, theirs = ledger.as_json(), again.as_json()
    assert {**ours, "started": 0, "finished": 0} == {**theirs, "started": 0, "finished": 0}


def test_the_command_writes_its_ledger_and_says_totals(
    api: Flask, serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str], restored_signals: None
) -> None:
    """The command line is the same traffic, with a file at the end."""
    file = tmp_path / "ledger.json"
    given = ["--base-url", serve(api), "--requests", "60", "--rate", "0", "--no-fault-phases", "--ledger", str(file)]
    assert main(given) == 0
    assert json.loads(capsys.readouterr().out)["responses"] == 60
    assert Ledger.read(file).tally().sent == 60


def test_the_command_refuses_an_address_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and a sentence."""
    assert main(["--base-url", "http://192.0.2.1:80"]) == 2
    assert "not on this machine" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_with_a_ledger(
    api: Flask, serve: Serve, tmp_path: Path, number: signal.Signals
) -> None:
    """On SIGTERM and SIGINT the requests under way are finished and the ledger is written."""
    seen, enough = counting(api), threading.Event()
    api.teardown_request(lambda error: enough.set() if sum(seen.values()) > 5 else None)
    file = tmp_path / "ledger.json"
    command = [sys.executable, "-m", "asset_forge.traffic", "--base-url", serve(api), "--rate", "50"]
    process = subprocess.Popen(
        [*command, "--no-fault-phases", "--ledger", str(file)], cwd=EXAMPLE, stdout=subprocess.DEVNULL
    )
    try:
        assert enough.wait(30)
        process.send_signal(number)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert Ledger.read(file).responses() == dict(seen)


@pytest.fixture
def restored_signals() -> Iterator[None]:
    """Put back the signal handlers that a command sets."""
    before: dict[int, Callable[..., object] | int | None] = {
        number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
