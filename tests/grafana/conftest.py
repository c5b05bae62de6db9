"""What the tests of Grafana's side share: the real promtool, and the dashboards as they are rendered."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest

from grafana.src.boards import BOARDS
from grafana.src.render import ROOT, rendered
from otel_forge.errors import EngineUnavailable
from otel_forge.stack.engines import engine_path
from otel_forge.stack.settings import StackSettings
from tests.conftest import missing


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The real promtool, found or built the way that `otel-forge up` does."""
    cache = StackSettings.from_env(os.environ).cache_dir
    try:
        return engine_path("promtool", cache=cache, environ=os.environ)
    except EngineUnavailable as reason:
        missing(f"promtool ({reason})")
        raise


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository that holds what is committed."""
    return ROOT


@pytest.fixture(scope="session")
def _rendered() -> dict[str, dict[str, Any]]:
    return {board.name: rendered(board) for board in BOARDS}


@pytest.fixture
def dashboards(_rendered: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every dashboard by name, freshly copied, so that a test may break it."""
    return copy.deepcopy(_rendered)
