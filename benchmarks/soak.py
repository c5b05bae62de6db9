"""Gate P4: ten times overload with a dead back end, for as long as asked; memory and disk are looked at every second.

The program of the fault tests makes spans, log records and counts at ten times the rate that the outage gate asks for.
First the back end is healthy, then it is gone: what memory grows by from then on, and what the spool takes, is the
result. Everything stays in one process and one spool of a given size.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests import faults
from tests.delivery.long_outage import disk_used
from tests.delivery.test_faults import CHECKOUT, EMITTER, INSTRUMENT, told
from tests.faults import FaultProxy
from tests.numbered import NumberedReceiver
from tests.programs import Program, Programs

RATE = 20_000
HEALTHY = 4.0
MIB = 1024 * 1024
GROWTH_LIMIT = 32 * MIB
SEGMENT_BYTES = 4 * MIB
"""By how much the spool may exceed its size: one file of it."""


@dataclass(frozen=True)
class Sample:
    """What the program takes, in bytes, some seconds after the back end was gone (before that: less than 0)."""

    seconds: float
    memory: int
    disk: int


@dataclass(frozen=True)
class Soaked:
    """What came of it: samples, and the program's own accounts."""

    samples: Sequence[Sample]
    capacity: int
    emitted: int
    longest: float
    accounts: dict[str, dict[str, int | dict[str, int]]]

    @property
    def growth(self) -> int:
        """Bytes by which memory grew beyond its most while the back end was healthy."""
        before = max(sample.memory for sample in self.samples if sample.seconds < 0)
        return max(sample.memory for sample in self.samples) - before

    @property
    def disk(self) -> int:
        """The most bytes on disk."""
        return max(sample.disk for sample in self.samples)

    @property
    def failures(self) -> list[str]:
        """What is not as it should be."""
        found = []
        if self.growth > GROWTH_LIMIT:
            found.append(f"memory grew by {self.growth / MIB:.1f} MiB, more than {GROWTH_LIMIT / MIB:.0f}")
        if self.disk > self.capacity + SEGMENT_BYTES:
            found.append(f"{self.disk / MIB:.1f} MiB on disk, more than {(self.capacity + SEGMENT_BYTES) / MIB:.1f}")
        for name, account in self.accounts.items():
            dropped = account["dropped"]
            assert isinstance(dropped, dict)
            if account["created"] != account["delivered"] + account["held"] + sum(dropped.values()):  # type: ignore[operator]
                found.append(f"the accounts of {name} don't add up: {account}")
        for name in ("traces", "logs"):
            if self.accounts[name]["created"] != self.emitted:
                found.append(f"{self.emitted} {name} made, {self.accounts[name]['created']} in the accounts")
        return found


def soak(folder: Path, seconds: float, capacity: int, rate: int = RATE, say: Callable[[str], None] = print) -> Soaked:
    """Run the overload for `seconds` after a few healthy ones, with a spool of `capacity` bytes in `folder`."""
    spool = folder / "spool"
    with NumberedReceiver() as receiver, FaultProxy(receiver.url) as proxy, Programs(folder) as programs:
        program = programs.start(
            INSTRUMENT, "python", str(EMITTER), str(rate),
            PYTHONPATH=str(CHECKOUT), OTEL_SERVICE_NAME="soaked", OTEL_FORGE_PIPELINE="lean",
            OTEL_EXPORTER_OTLP_ENDPOINT=proxy.url, OTEL_FORGE_SPOOL_DIR=str(spool),
            OTEL_FORGE_SPOOL_MAX_SIZE=str(capacity), OTEL_METRIC_EXPORT_INTERVAL="1000",
        )  # fmt: skip
        receiver.wait_for(lambda _: receiver.tally.numbers["traces"])
        samples = _watched(program, spool, -HEALTHY, 0.0, say)
        proxy.be(faults.refuse)
        samples += _watched(program, spool, 0.0, seconds, say)
        emitted, longest = re.findall(r"[\d.]+", told(program, "emitted"))
        accounts = json.loads(told(program, "accounts"))
        return Soaked(samples, capacity, int(emitted), float(longest), accounts)


def _watched(program: Program, spool: Path, begin: float, end: float, say: Callable[[str], None]) -> list[Sample]:
    process, started, samples = psutil.Process(program.pid), time.monotonic() - begin, []
    while (now := time.monotonic() - started) < end:
        samples.append(Sample(now, process.memory_info().rss, disk_used(spool)))
        if not len(samples) % 10:
            last = samples[-1]
            say(f"{last.seconds:6.0f} s: {last.memory / MIB:.0f} MiB of memory, {last.disk / MIB:.0f} MiB on disk")
        time.sleep(min(1.0, end - now))
    return samples
