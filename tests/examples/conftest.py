"""The example as the tests see it: services on free ports, an API with a new database."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asset_forge import ai_upstream, image_server
from asset_forge.api import Parts, create_app
from asset_forge.faults import Faults, FaultSwitch
from asset_forge.settings import ApiSettings
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from otel_forge import alerts
from otel_forge.health.checks import checks
from otel_forge.health.paths import PROBES

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "asset_forge"
Serve = Callable[[Flask], str]


@pytest.fixture(autouse=True)
def _leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test evaluates alert rules in this process, or leaves checks, rules and probe paths to the next."""
    monkeypatch.setenv("OTEL_FORGE_ALERTS", "false")
    yield
    checks.stop()
    for name in checks.known():
        checks.remove(name)
    for rule in alerts.rules():
        alerts.remove(rule.name)
    PROBES.clear()


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves Flask applications from threads, each on a port of its own; returns their addresses."""
    servers = []

    def start(app: Flask) -> str:
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def image_faults() -> FaultSwitch:
    """The fault switch of the image server."""
    return FaultSwitch(Faults())


@pytest.fixture
def ai_faults() -> FaultSwitch:
    """The fault switch of the AI upstream."""
    return FaultSwitch(Faults())


@pytest.fixture
def api_settings(tmp_path: Path, serve: Serve, image_faults: FaultSwitch, ai_faults: FaultSwitch) -> ApiSettings:
    """Settings of an API whose two upstream services run and are quick."""
    return ApiSettings.from_env(
        {
            "ASSET_FORGE_DATA_DIR": str(tmp_path / "data"),
            "IMAGE_SERVER_URL": serve(image_server.create_app(image_faults)),
            "AI_UPSTREAM_URL": serve(ai_upstream.create_app(ai_faults, latency_ms=0)),
            "IMAGE_SERVER_TIMEOUT_S": "0.5",
            "AI_UPSTREAM_TIMEOUT_S": "0.5",
            "MESHY_API_KEY": "a-key",
            "OPENAI_API_KEY": "a-key",
        }
    )


@pytest.fixture
def make_api() -> Iterator[Callable[[ApiSettings], Flask]]:
    """Makes asset APIs, and closes their databases at the end."""
    made: list[Flask] = []

    def make(settings: ApiSettings) -> Flask:
        made.append(create_app(settings))
        return made[-1]

    yield make
    for app in made:
        parts_of(app).store.close()


@pytest.fixture
def api(make_api: Callable[[ApiSettings], Flask], api_settings: ApiSettings) -> Flask:
    """An asset API with a new database and running upstream services."""
    return make_api(api_settings)


@pytest.fixture
def client(api: Flask) -> FlaskClient:
    """Flask's test client for the asset API."""
    return api.test_client()


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until a condition of the world outside holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"this did not come true in {seconds:g} s"
        time.sleep(0.05)


def json_of(answer: TestResponse) -> Any:
    """Return the JSON of an answer, of any shape."""
    return answer.json


def parts_of(app: Flask) -> Parts:
    """Return what an API works with."""
    found = app.extensions["asset_forge"]
    assert isinstance(found, Parts)
    return found
