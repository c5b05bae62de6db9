"""Gate R2: outages of a minute, ten minutes and six hours, on a clock that the test moves.

Outbox, spool and courier are the real ones; every second a batch is made as the pipeline would make it. The body of a
batch is its number, so that the back end can say which have come, how often, and in what order.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from otel_forge.delivery.accounts import Accounts
from otel_forge.delivery.answers import Outcome
from otel_forge.delivery.batch import Batch
from otel_forge.delivery.courier import Courier
from otel_forge.delivery.outbox import Outbox
from tests.delivery.parts import DELIVERED, LATER, Sending, spool

pytestmark = pytest.mark.gate

BEFORE, TICKS_A_SECOND = 30, 2
CATCHING_UP = 3600
"""Simulated seconds in which everything must have arrived after an outage."""


@dataclass
class World:
    """A clock, a back end that is there or not, and what it has received."""

    folder: Path
    rate: int
    now: float = 1000.0
    is_up: bool = True
    made: int = 0
    arrived: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.accounts = Accounts()
        clock = lambda: self.now  # noqa: E731
        self.spool = spool(self.folder, capacity=256 << 20, clock=clock, fsync="never")
        self.outbox = Outbox("traces", self.accounts, self.spool, max_items=512 * 8, clock=clock)
        self.courier = Courier(Sending(self.answer), self.outbox, clock=clock, random=lambda: 0.5)

    def answer(self, body: bytes) -> Outcome:
        """Take a request, if the back end is up; a failed one takes no time."""
        if not self.is_up:
            return LATER
        self.arrived += [number for (number,) in struct.iter_unpack("<I", body)]
        return DELIVERED

    def second(self, *, makes: bool = True) -> None:
        """Let a second pass as the delivery thread spends it: take a batch, write what is held up, send."""
        if makes:
            body = struct.pack("<I", self.made)
            self.accounts.accept("traces", self.rate, len(body))
            self.outbox.add(Batch(f"{self.made:016x}", "traces", body, self.rate, self.now))
            self.made += 1
        for _ in range(TICKS_A_SECOND):
            self.now += 1 / TICKS_A_SECOND
            self.outbox.keep()
            self.courier.deliver()


@pytest.mark.parametrize("rate", [100, 2000])
@pytest.mark.parametrize("minutes", [1, 10, 360])
def test_an_outage_loses_nothing_below_the_size_of_the_spool(tmp_path: Path, minutes: int, rate: int) -> None:
    """Each batch arrives once; the newest are not kept waiting by the old ones; the disk is free again at the end."""
    world = World(tmp_path, rate)
    for _ in range(BEFORE):
        world.second()
    world.is_up = False
    for _ in range(minutes * 60):
        world.second()
    account = world.accounts.of("traces")
    assert account.created == world.made * rate == (BEFORE + minutes * 60) * rate
    assert account.on_disk >= account.held - 2 * rate
    world.is_up = True
    waited = 0
    while world.outbox.items:
        world.second()
        waited += 1
        assert waited < CATCHING_UP, f"{world.outbox.items} items still wait"
    assert sorted(world.arrived) == list(range(world.made))
    assert Counter(world.arrived).most_common(1)[0][1] == 1
    account = world.accounts.of("traces")
    assert (account.delivered, account.held, account.lost) == (world.made * rate, 0, 0)
    world.outbox.close()
    assert list(tmp_path.rglob("*.seg")) == []
