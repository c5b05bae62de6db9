"""What the tests of the shipped configurations share: the engines, the bundle, servers to start and free ports."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from otel_forge.errors import EngineUnavailable
from otel_forge.stack.bundle import bundle_root
from otel_forge.stack.engines import BuildProgress, engine_path
from otel_forge.stack.settings import StackSettings
from tests.conftest import missing
from tests.stack_config.servers import Server

FindEngine = Callable[[str], Path]
FreePorts = Callable[..., dict[str, str]]
StartServer = Callable[..., Server]


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The folder that holds the shipped configurations."""
    return bundle_root()


@pytest.fixture(scope="session")
def engine() -> FindEngine:
    """Returns the binary of an engine; one that is not there skips the test on a laptop and fails it in CI.

    A test builds nothing: that takes minutes and belongs before the tests, where it shows its progress.
    """

    def find(name: str) -> Path:
        cache = StackSettings.from_env(os.environ).cache_dir
        try:
            return engine_path(name, cache=cache, environ=os.environ, progress=_refuse_to_build)
        except EngineUnavailable as error:
            missing(f"{name} ({error})")
            raise

    return find


def _refuse_to_build(progress: BuildProgress) -> None:
    raise EngineUnavailable(
        f"{progress.engine} is not built yet; run `python -m otel_forge.stack.engines build` first."
    )


@pytest.fixture
def free_ports() -> FreePorts:
    """Returns a free port for each setting, as the environment that sets them."""

    def choose(*settings: str) -> dict[str, str]:
        with ExitStack() as held:
            sockets = [held.enter_context(socket.socket()) for _ in settings]
            for one in sockets:
                one.bind(("127.0.0.1", 0))
            return {setting: str(one.getsockname()[1]) for setting, one in zip(settings, sockets, strict=True)}

    return choose


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers in a folder of the test's own and ends those that still run."""
    running: list[Server] = []

    def run(command: list[str], *, ready: str, environ: dict[str, str], deadline: float = 60.0) -> Server:
        server = Server(command, folder=tmp_path, environ=environ)
        running.append(server)
        server.wait_until_ready(ready, deadline)
        return server

    yield run
    for server in running:
        server.end()
