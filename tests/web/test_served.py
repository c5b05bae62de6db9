"""Request log and rate limits under a real gunicorn with threads: as many events as requests, as many decisions."""

from __future__ import annotations

import http.client
import json
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.otlp_receiver import OtlpReceiver, attributes, free_port, points
from tests.programs import Programs, get

REQUESTS = 200
APP = """
    import sqlite3, tempfile
    from flask import Flask, Response, request, send_file
    from flask_limiter import Limiter
    from otel_forge import RateLimits

    app = Flask("served")
    FILE = tempfile.NamedTemporaryFile(delete=False)
    FILE.write(b"x" * 17000)
    FILE.flush()
    limiter = Limiter(lambda: request.remote_addr, app=app, storage_uri="memory://", strategy="moving-window")
    RateLimits(app, limiter)

    @app.get("/assets/<int:id>")
    def asset(id):
        with sqlite3.connect(":memory:") as connection:
            connection.cursor().execute("SELECT 1")  # upstream sees no other way
        return "wood"

    @app.get("/stream")
    def stream():
        return Response(iter(["one", "two"]))

    @app.get("/endless")
    def endless():
        return Response(b"x" * 65536 for _ in range(100000))

    @app.get("/file")
    def file():
        return send_file(FILE.name, mimetype="text/plain")

    @app.get("/limited")
    @limiter.limit("20 per hour")
    def limited():
        return "limited"

    @app.get("/fail")
    def fail():
        raise ValueError("no luck")
"""


class Server:
    """A gunicorn with one worker of eight threads, instrumented, with the request log on."""

    def __init__(self, programs: Programs, receiver: OtlpReceiver, pipeline: str) -> None:
        programs.write("served.py", APP)
        self.receiver = receiver
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.program = programs.instrumented(
            "gunicorn", "--bind", f"127.0.0.1:{self.port}", "--worker-class", "gthread", "--threads", "8",
            "--no-control-socket", "served:app",
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_FORGE_PIPELINE=pipeline, OTEL_FORGE_REQUEST_LOG="true",
            OTEL_BSP_MAX_QUEUE_SIZE="20000", OTEL_BLRP_MAX_QUEUE_SIZE="20000", PYTHONPATH=str(Path.cwd()),
        )  # fmt: skip
        assert get(f"{self.url}/assets/0")[0] == 200

    def ask(self, path: str, times: int) -> Counter[int]:
        """Send requests in eight threads; return how many were answered with which status."""
        with ThreadPoolExecutor(8) as pool:
            return Counter(pool.map(lambda _: get(self.url + path)[0], range(times)))

    def leave_early(self, path: str) -> None:
        """Send a request, read a little of the answer and reset the connection."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert connection.recv(1000)
        connection.close()

    def events(self) -> list[dict[str, Any]]:
        """Return the events that have arrived."""
        logs = self.receiver.received.logs()
        return [attributes(log.attributes) for log in logs if log.event_name == "otel_forge.request"]

    def wait_for_events(self, number: int) -> Counter[tuple[str, int]]:
        """Wait for so many events; return how many there are for each route and status."""
        self.receiver.wait_for(lambda _: len(self.events()) >= number, 40)
        return Counter((event.get("http.route", ""), event["http.response.status_code"]) for event in self.events())


@pytest.fixture(params=["lean", "upstream"])
def server(request: pytest.FixtureRequest, programs: Programs, receiver: OtlpReceiver) -> Iterator[Server]:
    """The server, in each pipeline."""
    yield Server(programs, receiver, request.param)


def test_as_many_events_as_requests(server: Server) -> None:
    """In threads, streamed, from files, failed, left early and refused by a limit; each with its trace."""
    assert server.ask("/assets/7", REQUESTS) == {200: REQUESTS}
    assert server.ask("/stream", 20) == {200: 20}
    assert server.ask("/file", 10) == {200: 10}
    assert server.ask("/fail", 10) == {500: 10}
    assert server.ask("/nowhere", 10) == {404: 10}
    assert server.ask("/limited", 50) == {200: 20, 429: 30}
    server.leave_early("/endless")
    expected = {
        ("/assets/<int:id>", 200): REQUESTS + 1,
        ("/stream", 200): 20,
        ("/file", 200): 10,
        ("/fail", 500): 10,
        ("", 404): 10,
        ("/limited", 200): 20,
        ("/limited", 429): 30,
        ("/endless", 200): 1,
    }
    assert server.wait_for_events(sum(expected.values())) == expected
    events = server.events()
    assert {event["http.response.body.size"] for event in events if event.get("http.route") == "/file"} == {17000}
    assert {event["http.response.body.size"] for event in events if event.get("http.route") == "/stream"} == {6}
    assert {event["otel_forge.db.count"] for event in events if event.get("http.route") == "/assets/<int:id>"} == {1}
    assert [event.get("http.route") for event in events if event.get("otel_forge.request.aborted")] == ["/endless"]
    decisions = Counter(e["otel_forge.rate_limit.decision"] for e in events if e.get("http.route") == "/limited")
    assert decisions["exceeded"] == 30
    logs = [log for log in server.receiver.received.logs() if log.event_name == "otel_forge.request"]
    assert all(log.trace_id and log.span_id for log in logs)
    assert len({log.trace_id for log in logs}) == len(logs)
    server.program.terminate()
    counted = server.receiver.wait_for(lambda received: _decided(received.metrics(), 50))
    assert counted["exceeded"] == 30


def test_a_refusal_is_json_with_the_standard_headers(programs: Programs, receiver: OtlpReceiver) -> None:
    """As a client reads it from the wire."""
    server = Server(programs, receiver, "lean")
    server.ask("/limited", 20)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/limited")
    answer = connection.getresponse()
    problem = json.loads(answer.read())
    connection.close()
    seconds = int(answer.headers["Retry-After"])
    assert (answer.status, problem["status"], problem["violated-policies"]) == (429, 429, ["20 per 1 hour"])
    assert answer.headers["RateLimit-Policy"] == '"20 per 1 hour";q=20;w=3600'
    assert answer.headers["RateLimit"] == f'"20 per 1 hour";r=0;t={seconds}'


def _decided(metrics: dict[str, Any], number: int) -> dict[str, int] | None:
    """Return how often each decision was made once there are `number` of them."""
    metric = metrics.get("otel_forge.rate_limit.decisions")
    if metric is None:
        return None
    counted = {attributes(point.attributes)["decision"]: point.as_int for point in points(metric)}
    return counted if sum(counted.values()) == number else None
