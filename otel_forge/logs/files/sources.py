"""Where entries come from: the log files of a service, and whatever else has a past and new lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from otel_forge.logs.files.entries import Entry, Selection, by_time, entry_of
from otel_forge.logs.files.following import Follower
from otel_forge.logs.files.names import files_in
from otel_forge.logs.files.reading import Snapshot, last_lines, look

_PAUSE = 0.2


class Source(Protocol):
    """A log that can be shown: first its past, then what is new."""

    def past(self, lines: int | None) -> list[Entry]:
        """Return the last entries that are wanted, all for None."""

    def new(self) -> list[Entry]:
        """Return the wanted entries that have come since the last call."""


class ServiceFiles:
    """The log files of one service."""

    def __init__(self, folder: Path, service: str, wanted: Selection) -> None:
        self._service = service
        self._wanted = wanted
        self._snapshot: Snapshot | None = look(folder, service)
        self._follower = Follower(folder, service, self._snapshot)

    def past(self, lines: int | None) -> list[Entry]:
        """Return the last entries that are wanted, all for None; to be asked for once, before what is new."""
        snapshot, self._snapshot = self._snapshot, None  # its files must not stay open for as long as we follow
        return [] if snapshot is None else self._entries(last_lines(snapshot, lines, self._wanted))

    def new(self) -> list[Entry]:
        """Return the wanted entries that have come since the last call."""
        return self._entries([line for line in self._follower.lines() if self._wanted.keeps(line)])

    def _entries(self, lines: Sequence[bytes]) -> list[Entry]:
        return [entry_of(self._service, line) for line in lines]


def services_in(folder: Path) -> list[str]:
    """Return the services that have log files in a folder, as the files name them."""
    return sorted({file.service for file in files_in(folder)})


def entries_of(sources: Sequence[Source], lines: int | None, *, follow: bool, pause: float = _PAUSE) -> Iterator[Entry]:
    """Yield the last `lines` of each source in the order of time, and with `follow` new ones for ever."""
    yield from by_time([source.past(lines) for source in sources])
    while follow:
        new = by_time([source.new() for source in sources])
        yield from new
        if not new:
            time.sleep(pause)
