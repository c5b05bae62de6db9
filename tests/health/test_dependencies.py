"""The checks of databases, services, Redis and keys, each against the real thing: well, ill, hanging, not there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from otel_forge import health
from otel_forge.health.results import FAIL, PASS, Result
from otel_forge.instruments import build_instrument
from otel_forge.instruments.core import Core
from otel_forge.sdk.bound import BoundMetrics
from otel_forge.sdk.logger import LeanLoggerProvider
from otel_forge.sdk.tracer import LeanTracerProvider
from tests.health.holes import BlackHole
from tests.health.test_attempts import outcome


class Service:
    """A service that answers with a status of our choice."""

    def __init__(self) -> None:
        self.status = 200
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(service.status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/health"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    yield running
    running.server.shutdown()
    running.server.server_close()


def test_a_database_that_answers_is_well() -> None:
    """And one that cannot be opened is not."""
    assert outcome(health.sqlalchemy(create_engine("sqlite://"))).status == PASS
    result = outcome(health.sqlalchemy(create_engine("sqlite:////nowhere/at/all.db")))
    assert (result.status, result.reason) == (FAIL, "OperationalError")


def test_a_pool_without_a_connection_left_is_ill() -> None:
    """The application would wait for one just so."""
    any_thread = {"check_same_thread": False}
    engine = create_engine(
        "sqlite://", connect_args=any_thread, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.05
    )
    with engine.connect():
        result = outcome(health.sqlalchemy(engine))
    assert (result.status, result.reason) == (FAIL, "TimeoutError")
    assert outcome(health.sqlalchemy(engine)).status == PASS
    engine.dispose()


def test_an_asynchronous_engine_is_refused() -> None:
    """With what to do instead."""

    class Engine(AsyncEngine):
        sync_engine: Any = None

        def __init__(self) -> None:
            """Connect to nothing."""

    with pytest.raises(TypeError, match="for an AsyncEngine write a check that is a coroutine"):
        health.sqlalchemy(Engine())


@pytest.mark.parametrize(("status", "expected"), [(200, PASS), (204, PASS), (302, FAIL), (404, FAIL), (503, FAIL)])
def test_a_service_is_well_if_its_answer_is_2xx(service: Service, status: int, expected: str) -> None:
    """A redirect is no answer of its own."""
    service.status = status
    result = outcome(health.http(service.url))
    assert result.status == expected
    assert expected == PASS or result.reason == f"status {status}"


def test_a_service_that_is_not_there_or_hangs_is_ill(black_hole: BlackHole, refused_port: int) -> None:
    """The thread comes back by itself after the timeout."""
    assert outcome(health.http(f"http://127.0.0.1:{refused_port}/")).reason == "ConnectionError"
    assert outcome(health.http(f"http://127.0.0.1:{black_hole.port}/", timeout=0.05)).reason == "ReadTimeout"


@pytest.mark.parametrize("url", ["image-server:8080", "ftp://x/", "http://", ""])
def test_an_address_that_is_none_is_an_error_at_once(url: str) -> None:
    """It does not show what was given: that may hold a password."""
    with pytest.raises(ValueError, match="takes an address such as http://127.0.0.1:8080/health"):
        health.http(url)


def test_checks_make_no_spans(service: Service) -> None:
    """Neither of requests nor of sqlite3."""
    kept: list[Any] = []
    resource = Resource({})
    core = Core(LeanTracerProvider(kept.append, resource), LeanLoggerProvider(None, resource), BoundMetrics())
    instruments = [build_instrument("requests"), build_instrument("sqlite3")]
    for instrument in instruments:
        instrument.instrument(core)
    try:
        assert outcome(health.http(service.url)).status == PASS
        assert outcome(health.sqlalchemy(create_engine("sqlite://"))).status == PASS
    finally:
        for instrument in instruments:
            instrument.uninstrument()
    assert kept == []


class Redis:
    """A client that speaks the protocol of Redis, as far as PING goes."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ping(self) -> bool:
        with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            return connection.recv(64) == b"+PONG\r\n"


def test_redis_is_asked_for_a_pong(refused_port: int) -> None:
    """By the client's own ping, sync or async."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                assert connection.recv(64) == b"*1\r\n$4\r\nPING\r\n"
                connection.sendall(b"+PONG\r\n")

        threading.Thread(target=serve, daemon=True).start()
        assert outcome(health.redis(Redis(listening.getsockname()[1]))).status == PASS
    assert outcome(health.redis(Redis(refused_port))).reason == "ConnectionRefusedError"

    class Asynchronous:
        async def ping(self) -> bool:
            return True

    assert outcome(health.redis(Asynchronous())).status == PASS


def test_a_key_is_configured_or_not_and_never_shown() -> None:
    """Blanks are none; a function is asked each time."""
    assert outcome(health.configured("MESHY_API_KEY", "msy-secret")) == Result(PASS)
    for value in ("", "  ", None):
        result = outcome(health.configured("MESHY_API_KEY", value))
        assert result == Result(FAIL, "MESHY_API_KEY is not set", reason="not set")
    values = iter(["", "msy-secret"])
    check = health.configured("MESHY_API_KEY", lambda: next(values))
    assert [outcome(check).status, outcome(check).status] == [FAIL, PASS]
