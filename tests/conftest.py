"""What every test folder shares: strict guards, the rule about missing tools, an OTLP receiver, programs to run."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_forge import guard
from otel_forge.errors import EngineUnavailable
from otel_forge.stack.engines import build_all
from otel_forge.stack.settings import StackSettings
from tests.otlp_receiver import OtlpReceiver
from tests.programs import Programs

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background, where programs would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

NATIVE_ENGINES = ("collector", "prometheus", "loki", "tempo", "alertmanager")


@pytest.fixture(autouse=True)
def _strict_guard() -> Iterator[None]:
    """Let no test pass because a guard swallowed its defect."""
    guard.set_strict(True)
    yield
    guard.set_strict(False)


def missing(what: str) -> None:
    """Skip on a laptop that has not `what`; fail in CI, where everything must be there."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI is set: a test that skips in CI is no test")
    pytest.skip(f"{what} is not on this machine")


def require_tool(name: str) -> Path:
    """Return the path of the program `name`, or follow the rule about missing tools."""
    found = shutil.which(name)
    if found is None:
        missing(name)
    return Path(str(found))


@pytest.fixture(scope="session")
def native_engines() -> None:
    """The programs of the native stack: found, taken from the cache or built."""
    try:
        build_all(NATIVE_ENGINES, cache=StackSettings.from_env(os.environ).cache_dir, environ=os.environ, progress=None)
    except EngineUnavailable as reason:
        missing(str(reason))


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    """An OTLP/HTTP receiver on a free port of its own that keeps what arrives."""
    with OtlpReceiver() as running:
        yield running


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Starts Python programs, plain or under opentelemetry-instrument, and ends those still running."""
    with Programs(tmp_path) as started:
        yield started
