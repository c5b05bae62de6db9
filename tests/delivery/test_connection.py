"""The connection while the other side takes its time: deadlines that hold, and turns for other work in between."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from otel_forge.delivery.answers import Outcome, Verdict
from otel_forge.delivery.connection import Connection, Target
from otel_forge.delivery.lookup import Address, Lookup
from otel_forge.delivery.patience import SLICE, CutShort, Patience
from otel_forge.delivery.sender import Sender
from tests.delivery.scripted import answer, hang, raw, scripted, trickle
from tests.delivery.test_sender import settings
from tests.otlp_receiver import OtlpReceiver, free_port
from tests.programs import OUR_LAUNCHER, Programs


class Idling:
    """Counts the turns it gets, and the longest time between two."""

    def __init__(self) -> None:
        self.turns = 0
        self.longest = 0.0
        self._last = time.monotonic()

    def __call__(self) -> None:
        now = time.monotonic()
        self.longest = max(self.longest, now - self._last)
        self._last = now
        self.turns += 1


def send(url: str, timeout: float, body: bytes = b"x", **options: Any) -> tuple[Outcome, Idling]:
    one, idling = Sender(settings(url), proxies={}, **options), Idling()
    try:
        return one.send(body, timeout, idle=idling), idling
    finally:
        one.close()


@pytest.mark.parametrize("behaviour", [hang, trickle], ids=["black hole", "trickle"])
def test_other_work_gets_its_turns_while_an_answer_is_waited_for(behaviour: Any) -> None:
    """At least every tenth of a second, however the other side hangs."""
    with scripted(behaviour) as server:
        outcome, idling = send(server.url, 1.0)
    assert outcome == Outcome(Verdict.LATER, "timed out")
    assert idling.turns >= 5


def test_other_work_gets_its_turns_while_a_body_does_not_go_out() -> None:
    """The server reads nothing, and the buffers are full."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        outcome, idling = send(f"http://127.0.0.1:{listener.getsockname()[1]}", 0.6, b"x" * 20_000_000)
    assert outcome.reason == "timed out"
    assert idling.turns >= 3


def test_other_work_gets_its_turns_during_a_handshake() -> None:
    """A server that accepts and says nothing does not get TLS either."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        outcome, idling = send(f"https://127.0.0.1:{listener.getsockname()[1]}", 0.6)
    assert outcome.reason == "timed out"
    assert idling.turns >= 3


def test_other_work_gets_its_turns_while_a_connection_is_made() -> None:
    """A full backlog answers no handshake of TCP."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        outcome, idling = send(f"http://127.0.0.1:{listener.getsockname()[1]}", 0.6)
        for filler in fillers:
            filler.close()
    assert outcome.reason == "timed out"
    assert idling.turns >= 3


def test_an_answer_at_once_leaves_no_time_for_other_work() -> None:
    """The fast path is fast."""
    with scripted(answer()) as server:
        outcome, idling = send(server.url, 5)
    assert outcome.verdict is Verdict.DELIVERED
    assert idling.turns == 0


def test_a_request_can_be_cut_short() -> None:
    """As the end of the process does."""
    with scripted(hang) as server:
        one = Sender(settings(server.url), proxies={})

        def stop() -> None:
            raise CutShort

        started = time.monotonic()
        assert one.send(b"x", 30, idle=stop) == Outcome(Verdict.LATER, "no time left at exit")
        assert time.monotonic() - started < 10
        one.close()


def test_a_server_that_has_closed_its_half_is_the_end_of_the_request() -> None:
    """It can't answer any more, so nobody waits."""

    def close_half(connection: socket.socket, ending: Event) -> None:
        connection.shutdown(socket.SHUT_WR)
        ending.wait(60)

    with scripted(close_half) as server:
        outcome, _ = send(server.url, 30)
    assert outcome == Outcome(Verdict.LATER, "connection closed by the other side")


def test_a_refusal_in_the_middle_of_a_body_is_read() -> None:
    """A server that finds a body too large says so and hangs up before it has read all."""
    ready = Event()
    port = 0

    def serve() -> None:
        nonlocal port
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            ready.set()
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            connection.recv(100)
            done.wait(30)
            connection.close()

    done = Event()
    thread = Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(10)
    outcome, _ = send(f"http://127.0.0.1:{port}", 20, b"x" * 20_000_000)
    done.set()
    thread.join(10)
    assert outcome == Outcome(Verdict.TOO_LARGE, "HTTP 413 Payload Too Large", 413)


class Resolving:
    """A resolver that hangs until it is let go."""

    def __init__(self, port: int) -> None:
        self.calls = 0
        self.free = Event()
        self._port = port

    def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.calls += 1
        self.free.wait(60)
        return socket.getaddrinfo("127.0.0.1", self._port, type=socket.SOCK_STREAM)


def test_a_lookup_that_hangs_costs_no_more_than_the_deadline_and_is_not_started_twice() -> None:
    """And serves the request that comes when it is done."""
    with scripted(answer()) as server:
        resolving = Resolving(urlsplit(server.url).port or 0)
        one, idling = Sender(settings("http://collector.example:4318"), proxies={}, lookup=Lookup(resolving)), Idling()
        for _ in range(3):
            assert one.send(b"x", 0.3, idle=idling) == Outcome(Verdict.LATER, "timed out")
        assert resolving.calls == 1
        assert idling.turns >= 3
        resolving.free.set()
        assert one.send(b"x", 10).verdict is Verdict.DELIVERED
        assert resolving.calls == 1
        one.close()
        assert one.send(b"x", 10).verdict is Verdict.DELIVERED
        assert resolving.calls == 2  # an address is believed as long as the connection lives
        one.close()


def test_a_lookup_that_fails_is_said() -> None:
    """And tried anew the next time."""
    calls = []

    def fail(host: str, port: int) -> Sequence[Address]:
        calls.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    one = Sender(settings("http://collector.example:4318"), proxies={}, lookup=Lookup(fail))
    assert [one.send(b"x", 5).reason for _ in range(2)] == ["unknown host"] * 2
    assert calls == ["collector.example"] * 2


def test_an_address_that_does_not_answer_leaves_time_for_the_next() -> None:
    """Of several addresses each has its share of the time."""
    with scripted(answer()) as server, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        with socket.socket() as first, socket.socket() as second:
            for filler in (first, second):
                filler.setblocking(False)
                filler.connect_ex(silent.getsockname())
            ports = [silent.getsockname()[1], free_port(), urlsplit(server.url).port]

            def resolve(host: str, port: int) -> Sequence[Address]:
                return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", place)) for place in ports]

            one = Sender(settings("http://collector.example:4318"), proxies={}, lookup=Lookup(resolve))
            assert one.send(b"x", 1.5).verdict is Verdict.DELIVERED
            one.close()


class Counting:
    """Counts the calls of a socket."""

    def __init__(self, connection: Any, calls: list[str]) -> None:
        self._connection = connection
        self._calls = calls

    def __getattr__(self, name: str) -> Callable[..., Any]:
        attribute = getattr(self._connection, name)
        if name in ("send", "recv_into", "settimeout", "setblocking"):
            self._calls.append(name)
        return attribute  # type: ignore[no-any-return]


def test_a_request_on_a_kept_connection_is_one_send_and_one_receive() -> None:
    """Nothing is set or asked on the socket beside."""
    with scripted(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as server:
        connection = Connection(Target.of(f"{server.url}/v1/traces", {}, lambda host: False), lambda: None)  # type: ignore[arg-type,return-value]
        patience = Patience(time.monotonic() + 10)
        connection.post({}, b"x", patience)
        calls: list[str] = []
        connection._socket = Counting(connection._socket, calls)
        connection.post({}, b"x", patience)
        connection.close()
    assert calls == ["send", "recv_into"]
    assert SLICE <= 0.1


IMPORTS = """
    import logging, sys, threading
    from opentelemetry import metrics, trace

    imported = []
    def note(event, args):
        if event == "import" and threading.current_thread() is not threading.main_thread():
            imported.append(args[0])
    sys.addaudithook(note)

    with trace.get_tracer("test").start_as_current_span("work"):
        logging.getLogger("test").error("line")
    metrics.get_meter("test").create_counter("things").add(1)
    for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
        assert provider.force_flush(10_000)
    print(imported)
"""


def test_delivery_imports_nothing_in_its_threads(programs: Programs, receiver: OtlpReceiver) -> None:
    """A server that forks workers meanwhile would hand them the lock of that import, held by nobody, for ever."""
    script = programs.write("imports.py", IMPORTS)
    programs.launcher = OUR_LAUNCHER
    program = programs.instrumented(
        sys.executable, str(script), OTEL_FORGE_PIPELINE="lean",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url.replace("127.0.0.1", "localhost"),
    )  # fmt: skip
    assert (program.wait(), program.out) == (0, "[]\n")
    assert receiver.received.spans()
    assert "process.cpu.time" in receiver.received.metrics()
