"""What dead processes left: found, freed of what is in it twice, and made the property of a living one.

One record can be there twice after a crash: while it was carried over to a new segment, both have one id; while it was
joined with its neighbours, the joined one names it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from otel_forge.delivery.spool import format
from otel_forge.delivery.spool.files import Files
from otel_forge.delivery.spool.segment import Entry, Scan, Segment, scan

Found = tuple[str, Scan]
"""The path of a segment, and what is in it."""


@dataclass(slots=True)
class Estate:
    """The segments of one dead process, oldest first, and those that only another version can read."""

    found: list[Found] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def known(self) -> set[str]:
        """Return the ids of what is settled, or in a joined record: those that are not to be held."""
        settled = {record.id for _, seen in self.found for _, record in seen.records if record.settled}
        return settled.union(*[seen.joined for _, seen in self.found])


class Heir(Protocol):
    """What a spool does with an estate."""

    def receive(self, path: str, size: int) -> Segment:
        """Make a segment its own, after those received before and ahead of those it wrote; raises OSError."""

    def inherit(self, record: format.RecordHeader, segment: Segment, offset: int) -> Entry:
        """Hold a record of a segment that was received."""

    def strike(self, segment: Segment, offset: int, mark: bytes) -> None:
        """Mark a record as settled."""

    def release(self, segment: Segment) -> None:
        """Delete a segment if nothing in it is held."""


def examine(files: Files, folder: str, names: Sequence[str]) -> Estate:
    """Return what is in the segments `names` of a folder; one that can't be read stays where it is, uncounted."""
    estate = Estate()
    for path in [os.path.join(folder, name) for name in names]:
        seen = _scan(files, path)
        if seen is not None and seen.foreign:
            estate.foreign.append(path)
        elif seen is not None:
            estate.found.append((path, seen))
    estate.found.sort(key=lambda found: found[1].begun)
    return estate


def hand_over(estate: Estate, heir: Heir) -> Iterator[tuple[Scan, list[Entry]]]:
    """Give each segment to `heir`; yields what was found in it, with the entries that are held now.

    Those that can't be moved stay where they are, for the next attempt or the next process.
    """
    known = estate.known()
    for path, seen in estate.found:
        try:
            segment = heir.receive(path, seen.size)
        except OSError:
            return
        entries = []
        for offset, record in seen.records:
            if record.settled:
                continue
            if record.id in known:
                heir.strike(segment, offset, record.mark)
                continue
            known.add(record.id)
            entries.append(heir.inherit(record, segment, offset))
        heir.release(segment)
        yield seen, entries


def _scan(files: Files, path: str) -> Scan | None:
    try:
        descriptor = files.open(path)
    except OSError:
        return None
    try:
        return scan(files, descriptor)
    except OSError:
        return None
    finally:
        files.close(descriptor)
