"""The traffic of all processes of a service on a machine: each leaves what it counted in a small file.

A file holds counts of the last quarter of an hour in pieces of some seconds, with the time at which each ended, by the
clock that all processes of a machine share (``time.monotonic``). So whoever leads sums any window out of the files,
those of processes that are gone included, and needs to have seen nothing before.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from otel_forge.metrics.traffic import Counts

KEPT = 900.0
"""Seconds that pieces are kept: no window is longer."""

_SUFFIX = ".traffic"
_MOST_BYTES = 65536
_MOST_FILES = 1000
_GRAIN = 3.0
"""Seconds within which counts are one piece, however often they are noted."""
_NOTHING = Counts(0, 0)
Piece = tuple[float, int, int]


class WorkerTraffic:
    """The counts of this process, noted from time to time, and those of the others in `folder`.

    `totals` returns what the process has counted since it began, of which `recent` is new: it is noted first.
    """

    def __init__(
        self,
        folder: Path | None,
        totals: Callable[[], Counts],
        clock: Callable[[], float] = time.monotonic,
        *,
        recent: Counts = _NOTHING,
    ) -> None:
        self._path = None if folder is None else folder / f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
        self._totals = totals
        self._clock = clock
        before = totals()
        self._before = Counts(before.requests - recent.requests, before.errors - recent.errors)
        self._pieces: list[Piece] = []

    def note(self) -> None:
        """Note what was counted since the last time, for the others as well. Raises OSError."""
        now, totals = self._clock(), self._totals()
        requests, errors = totals.requests - self._before.requests, totals.errors - self._before.errors
        if requests <= 0 and errors <= 0:
            return
        self._before = totals
        if self._pieces and self._pieces[-1][0] // _GRAIN == now // _GRAIN:
            _, earlier_requests, earlier_errors = self._pieces.pop()
            requests, errors = requests + earlier_requests, errors + earlier_errors
        self._pieces = [*(piece for piece in self._pieces if piece[0] > now - KEPT), (now, requests, errors)]
        if self._path is not None:
            replace_file(self._path, json.dumps({"pieces": self._pieces}))

    def window(self, seconds: float) -> Counts:
        """Return how many requests all processes had within the last `seconds`, and how many of them failed."""
        now = self._clock()
        pieces = [*self._pieces, *self._of_others()]
        within = [piece for piece in pieces if now - seconds < piece[0] <= now]
        return Counts(sum(piece[1] for piece in within), sum(piece[2] for piece in within))

    def tidy(self) -> None:
        """Remove files that have nothing to say any more."""
        oldest = time.time() - KEPT
        for path in self._others():
            with suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()

    def _of_others(self) -> Iterator[Piece]:
        for path in self._others():
            yield from _pieces_in(path)

    def _others(self) -> list[Path]:
        if self._path is None:
            return []
        try:
            with os.scandir(self._path.parent) as entries:
                names = [entry.name for entry in entries if entry.name.endswith(_SUFFIX)]
        except OSError:
            return []
        return [self._path.parent / name for name in sorted(names)[:_MOST_FILES] if name != self._path.name]


def _pieces_in(path: Path) -> list[Piece]:
    """Return what a process left; nothing if that cannot be read."""
    try:
        with path.open("rb") as file:
            pieces = json.loads(file.read(_MOST_BYTES))["pieces"]
        return [(float(end), int(requests), int(errors)) for end, requests, errors in pieces]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def replace_file(path: Path, text: str) -> None:
    """Write a whole file in one step, for this user alone. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise


_current: WorkerTraffic | None = None


def set_current(traffic: WorkerTraffic | None) -> None:
    """Make `traffic` the one that `window` asks; None for this process's own counts."""
    global _current
    _current = traffic


def window(seconds: float) -> Counts:
    """Return requests and failed requests of the last `seconds` (at most 900), of all processes of the service."""
    if _current is not None:
        return _current.window(min(seconds, KEPT))
    from otel_forge.metrics import traffic

    return traffic.window(seconds)
