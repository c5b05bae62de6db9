"""gunicorn's state, as a real gunicorn has it: workers, threads, and those who wait."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from otel_forge.metrics.gunicorn import SERIES, accept_queue
from tests.otlp_receiver import OtlpReceiver, Received, attributes, free_port, points
from tests.programs import Program, Programs, get

PREFIX = "otel_forge.gunicorn."
APP = """
    import os, threading
    from flask import Flask, request

    app = Flask("served")

    @app.get("/")
    def index():
        return str(os.getpid())

    @app.get("/wait")
    def wait():
        with open(os.environ["GATE"]) as gate:  # until the test writes to it
            gate.read()
        return "done"
"""


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A pipe that requests to /wait read, which is until it is opened for writing and closed."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    yield path


Serve = Callable[..., Program]


@pytest.fixture
def serve(programs: Programs, receiver: OtlpReceiver, gate: Path) -> Serve:
    """Starts the app under gunicorn, with metrics several times a second."""
    programs.write("served.py", APP)

    def start(port: int, *options: str, **environ: str) -> Program:
        return programs.instrumented(
            "gunicorn", "--bind", f"127.0.0.1:{port}", "--no-control-socket", *options, "served:app", flags=(),
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_METRIC_EXPORT_INTERVAL="200", GATE=str(gate),
            PYTHONPATH=str(Path.cwd()), **environ,
        )  # fmt: skip

    return start


def latest(received: Received) -> dict[str, dict[tuple[Any, ...], int]]:
    """Return gunicorn's metrics as last told by any process: values by attribute values and instance."""
    found: dict[str, dict[tuple[Any, ...], int]] = {}
    for request in list(received.requests["metrics"]):
        for of_resource in request.resource_metrics:
            instance = attributes(of_resource.resource.attributes)["service.instance.id"]
            for of_scope in of_resource.scope_metrics:
                for metric in of_scope.metrics:
                    if metric.name.startswith(PREFIX):
                        for point in points(metric):
                            key = (*attributes(point.attributes).values(), instance)
                            found.setdefault(metric.name.removeprefix(PREFIX), {})[key] = point.as_int
    return found


def told(name: str, *values: object) -> Callable[[Received], Any]:
    """Return a condition: the metric `name` has these values, in any order, for whatever attributes."""

    def holds(received: Received) -> Any:
        found = latest(received)
        return found if sorted(found.get(name, {}).values()) == sorted(values) else None  # type: ignore[type-var]

    return holds


def ask(stack: ExitStack, port: int, path: str) -> socket.socket:
    """Send a request, whose answer is not waited for."""
    client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    return client


def answered(client: socket.socket) -> bool:
    """Wait for the answer and close the connection, for which gunicorn waits; return whether all was well."""
    with client:
        return client.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the accept queue")
@pytest.mark.parametrize("pipeline", ["lean", "upstream"])
def test_who_waits_to_be_accepted_is_counted(serve: Serve, receiver: OtlpReceiver, gate: Path, pipeline: str) -> None:
    """One sync worker that is busy, five more requests: five in the backlog, which the master tells; then none."""
    port = free_port()
    serve(port, "--workers", "1", "--backlog", "77", OTEL_FORGE_PIPELINE=pipeline)
    assert get(f"http://127.0.0.1:{port}/")[0] == 200
    with ExitStack() as stack:
        clients = [ask(stack, port, "/wait")]
        writing = os.open(gate, os.O_WRONLY)  # returns when the worker has opened it for reading
        clients += [ask(stack, port, "/") for _ in range(5)]
        found = receiver.wait_for(told("backlog", 5))
        [(address, told_port, _)] = found["backlog"]
        assert (address, told_port) == ("127.0.0.1", port)
        assert list(found["backlog.limit"].values()) == [77]
        assert list(found["workers"].values()) == list(found["workers.limit"].values()) == [1]
        os.close(writing)
        assert all(map(answered, clients))
        receiver.wait_for(told("backlog", 0))
        receiver.wait_for(told("worker.requests", 7))
    assert "worker.threads" not in latest(receiver.received)
    assert "worker.requests.limit" not in latest(receiver.received)


def test_threads_and_who_waits_for_one_are_counted(serve: Serve, receiver: OtlpReceiver, gate: Path) -> None:
    """Two threads that are busy, three more requests: three in the queue, five connections; then all are idle."""
    port = free_port()
    serve(port, "--worker-class", "gthread", "--threads", "2", "--max-requests", "1000")
    assert get(f"http://127.0.0.1:{port}/")[0] == 200
    with ExitStack() as stack:
        clients = [ask(stack, port, "/wait") for _ in range(2)]
        writing = os.open(gate, os.O_WRONLY)
        clients += [ask(stack, port, "/") for _ in range(3)]
        receiver.wait_for(told("worker.queue", 3))
        found = receiver.wait_for(told("worker.connections", 5))
        assert {key[0]: value for key, value in found["worker.threads"].items()} == {"busy": 2, "idle": 0}
        assert list(found["worker.requests.limit"].values()) == [1000]
        os.close(writing)
        assert all(map(answered, clients))
        receiver.wait_for(told("worker.connections", 0))
        found = receiver.wait_for(told("worker.queue", 0))
        assert {key[0]: value for key, value in found["worker.threads"].items()} == {"busy": 0, "idle": 2}


def test_workers_that_die_are_replaced_and_counted(serve: Serve, receiver: OtlpReceiver) -> None:
    """Each worker tells of its own requests; one that is killed is started anew."""
    port = free_port()
    serve(port, "--workers", "2")
    pid = int(get(f"http://127.0.0.1:{port}/")[1])
    receiver.wait_for(told("workers", 2))
    receiver.wait_for(told("workers.started", 2))
    receiver.wait_for(told("worker.requests", 0, 1))
    os.kill(pid, signal.SIGKILL)
    receiver.wait_for(told("workers.started", 3))


def test_with_reuse_port_each_worker_tells_of_its_own_socket(serve: Serve, receiver: OtlpReceiver) -> None:
    """The master has none then."""
    port = free_port()
    serve(port, "--workers", "2", "--reuse-port")
    assert get(f"http://127.0.0.1:{port}/")[0] == 200
    if sys.platform == "linux":
        receiver.wait_for(told("backlog", 0, 0))


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the accept queue")
def test_the_accept_queue_of_a_socket() -> None:
    """Of TCP sockets, by both protocols; nobody knows it of others."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=9))
        assert accept_queue(listener) == (0, 9)
        for waiting in range(1, 4):
            stack.enter_context(socket.create_connection(listener.getsockname()))
            assert accept_queue(listener) == (waiting, 9)
        listener.accept()[0].close()
        assert accept_queue(listener) == (2, 9)
        ours, theirs = socket.socketpair()
        stack.enter_context(ours)
        stack.enter_context(theirs)
        assert accept_queue(ours) is None


def test_there_is_nothing_to_tell_outside_gunicorn() -> None:
    """Nor does it fail."""
    assert [list(series.read()) for series in SERIES] == [[]] * len(SERIES)
