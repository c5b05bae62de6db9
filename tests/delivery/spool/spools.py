"""Spools for tests: a clock that stands still, batches that are told apart, and what is really on the disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from otel_forge.delivery.batch import Batch
from otel_forge.delivery.spool import Files, OsFiles, Quota, Spool, SpoolDirectory

MAX_AGE = 3600.0


@dataclass
class Clocks:
    """The wall clock and the monotonic one, which move only when told to."""

    wall: float = 1_800_000_000.0
    monotonic: float = 1_000.0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.monotonic += seconds


def open_spool(
    root: Path | str,
    *,
    capacity: int = 1 << 20,
    files: Files | None = None,
    clocks: Clocks | None = None,
    **options: Any,
) -> Spool:
    """Return the spool of the traces of a process, which has all of `capacity` to itself unless given a quota."""
    clocks = clocks or Clocks()
    signal = options.pop("signal", "traces")
    directory = options.pop("directory", None) or SpoolDirectory(root, "shop", files=files or OsFiles())
    options = {"quota": Quota(capacity, (signal,)), "max_age": MAX_AGE, "fsync": "never", **options}
    return Spool(directory, signal, wall=lambda: clocks.wall, clock=lambda: clocks.monotonic, **options)


def a_batch(number: int, size: int = 100, *, items: int = 3, important: bool = False, signal: Any = "traces") -> Batch:
    """Return a batch whose body no other batch has."""
    return Batch(f"{number:016x}", signal, Random(number).randbytes(size), items, 1_800_000_000.0, important)


def on_disk(root: Path, signal: str = "traces") -> int:
    """Return how many bytes the segments of a signal really take."""
    return sum([path.stat().st_size for path in root.rglob(f"{signal}-*.seg")])


def descriptors() -> set[int]:
    """Return the descriptors that this process has open, beside the one used for looking."""
    numbers = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
    return {number for number in numbers if Path(f"/proc/self/fd/{number}").exists()}


def pending(spool: Spool) -> dict[str, Batch | None]:
    """Take over what dead processes left, and return what is read from it by its id."""
    return {entry.id: spool.read(entry) for entry in spool.take_over()}
