"""What the tests of health share: no draining left over, a dependency that never answers, the servers' environment."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_forge.health import draining, paths
from tests.health.build import end_all
from tests.health.holes import BlackHole
from tests.processes.servers import bin_of_servers


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """No test leaves the process draining, checks under way, or paths that make no spans."""
    yield
    draining.resume()
    end_all()
    paths.PROBES.clear()


@pytest.fixture
def black_hole() -> Iterator[BlackHole]:
    """A port that takes connections and never answers, until it is told to."""
    with BlackHole() as hole:
        yield hole


@pytest.fixture(scope="session")
def servers_bin() -> Path:
    """The folder with gunicorn, gevent included."""
    return bin_of_servers()


@pytest.fixture
def refused_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
