"""`watch_event_loop`: how late a loop is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from otel_forge.metrics import event_loop, watch_event_loop
from tests.metrics.conftest import Recorded, lean


@pytest.fixture
def lag(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """What is measured."""
    recorded = lean()
    monkeypatch.setattr(event_loop, "_lag", recorded.meter.create_histogram(event_loop.LAG, "s"))
    yield recorded
    recorded.provider.shutdown()


def test_what_blocks_the_loop_is_seen(lag: Recorded) -> None:
    """A block of 200 ms is a lag of nearly as much; without one there is nearly none."""

    async def work() -> None:
        watch_event_loop(interval=0.01)
        watch_event_loop(interval=0.01)  # changes nothing
        await asyncio.sleep(0.1)
        time.sleep(0.2)  # what an application should not do
        await asyncio.sleep(0.05)

    asyncio.run(work())
    [point] = lag.points(event_loop.LAG)
    assert 0.15 < point.max < 5
    assert point.min < 0.1
    assert 2 <= point.count <= 30


def test_each_loop_is_watched(lag: Recorded) -> None:
    """A loop that is given need not run yet."""
    loop = asyncio.new_event_loop()
    watch_event_loop(loop, interval=0.01)
    loop.run_until_complete(asyncio.sleep(0.1))
    loop.close()
    assert lag.points(event_loop.LAG)[0].count >= 1


def test_mistakes_are_raised_at_once() -> None:
    """Without a loop there is nothing to watch."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        watch_event_loop()
    with pytest.raises(ValueError, match="interval=0 is not a number of seconds above 0"):
        watch_event_loop(interval=0)
