"""Gate P4: ten times overload with a dead back end, in a slice of ``python -m benchmarks soak``."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.soak import MIB, soak


@pytest.mark.gate
def test_ten_times_overload_costs_bounded_memory_and_disk(tmp_path: Path) -> None:
    """The spool is full after a few seconds; what is given up then is counted, to the last record."""
    soaked = soak(tmp_path, 8.0, 16 * MIB)
    assert soaked.failures == []
    assert soaked.disk > 8 * MIB, "the spool was hardly used"
    assert sum(soaked.accounts["traces"]["dropped"].values()) > 0, "there was no overload"  # type: ignore[union-attr]
