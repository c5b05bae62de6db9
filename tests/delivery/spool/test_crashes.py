"""R3: killed at any moment, a process leaves all that `append` returned for; see `crashing` for the long run."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.delivery.spool.crashing import run


@pytest.mark.gate
@pytest.mark.parametrize("policy", ["interval", "always"])
def test_nothing_acknowledged_is_lost_when_a_process_is_killed(tmp_path: Path, policy: str) -> None:
    """R3: SIGKILL at random points, each heir killed in turn: 0 lost, 0 corrupt, 0 twice, 0 settled that come back."""
    account = run(12, policy, tmp_path, Random())
    assert account.rounds == 12
    assert account.appended > 12
    assert (account.lost, account.corrupt, account.twice, account.repeated) == ([], [], [], [])
