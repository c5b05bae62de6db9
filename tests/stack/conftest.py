"""Fixtures of the stack's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.bench import Bench
from tests.stack.world import World


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A stack of small real processes in a state folder of its own."""
    made = Bench(tmp_path)
    yield made
    made.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A native stack with stand-ins for the binaries, stopped at the end."""
    made = World(tmp_path)
    yield made
    made.backend().down(data=False)
