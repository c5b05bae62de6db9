"""A Sentry to report to, and the shop as a program that reports to it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.equivalence.packages import group
from tests.errortracking.ingest import SentryIngest
from tests.otlp_receiver import OtlpReceiver
from tests.programs import Program, Programs

ROOT = Path(__file__).parents[2]
SHOP = Path(__file__).with_name("shop.py")

Shop = Callable[..., Program]


@pytest.fixture
def ingest() -> Iterator[SentryIngest]:
    """A Sentry on a free port."""
    with SentryIngest() as running:
        yield running


@pytest.fixture(params=["newest", "oldest"])
def sentry_sdk(request: pytest.FixtureRequest) -> Path:
    """A folder to import sentry-sdk from: the newest release, and the oldest that the extra allows."""
    return group(f"sentry-{request.param}")


@pytest.fixture
def newest_sentry_sdk() -> Path:
    """The newest alone, where the version does not matter."""
    return group("sentry-newest")


@pytest.fixture
def shop(programs: Programs, receiver: OtlpReceiver) -> Shop:
    """Starts the shop with telemetry on and asks it for some paths."""

    def start(packages: Path | None, *paths: str, **environ: str) -> Program:
        search = [str(ROOT), *([str(packages)] if packages else []), os.environ.get("PYTHONPATH", "")]
        given = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_FORGE_PIPELINE": "lean",
            "PYTHONPATH": os.pathsep.join(filter(None, search)),
            **environ,
        }
        return programs.instrumented("python", str(SHOP), *paths, flags=(), **given)

    return start


def answers(program: Program) -> dict[str, Any]:
    """Return the JSON that each path answered, once the program has ended well."""
    assert program.wait() == 0, program.err
    lines = [json.loads(line) for line in program.out.splitlines() if line.startswith("{")]
    return {line["path"]: line["json"] for line in lines}


def pinned(name: str) -> str:
    """Return the version of sentry-sdk that the dependency group `name` asks for."""
    found = re.search(rf'^{name} = \["sentry-sdk==(.+)"\]$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert found is not None
    return found.group(1)
