"""Rolling restarts under load: the slice for CI of ``python -m tests.health.rolling_restarts``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.health.rolling_restarts import KINDS, rolled
from tests.programs import Programs


@pytest.mark.gate
@pytest.mark.parametrize("kind", KINDS)
def test_no_request_fails_over_rolling_restarts(programs: Programs, servers_bin: Path, kind: str) -> None:
    """H4: readiness falls at once, requests under way finish, and whoever was sent here meanwhile is served."""
    balancer = rolled(programs, servers_bin, kind, 2, "1")
    assert balancer.failures == []
    assert balancer.succeeded > 50
