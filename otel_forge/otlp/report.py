"""What encoding had to change: the reasons, where they are marked, and how they are counted.

A record that OTLP can't carry as it is arrives all the same, changed as little as possible. A span or log
record says so in the attribute `ALTERED`, whose value is the reasons with commas; a metric point, a scope
or a resource can't (an attribute would make it another one), so there it is only counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from threading import RLock
from typing import Literal, get_args

from otel_forge.fork import on_fork_in_child

Reason = Literal["depth", "number", "record", "size", "text", "time", "type", "value"]
"""Why a record was altered:

- ``depth``: a value that contains itself, or is nested deeper than receivers read, ends in ``…`` there
- ``number``: a number outside its field's range; integers beyond 64 bits are written as text
- ``record``: so broken that only what could be read of it is there
- ``size``: larger than `otel_forge.otlp.careful.MAX_RECORD_BYTES`; long texts end in ``…``, the rest is dropped
- ``text``: lone surrogates, written as ``\\udcff``
- ``time``: no integer (rounded down), or outside the range of times (set to the nearest)
- ``type``: something else where OTLP has text or a value; written as its ``str()``
- ``value``: its ``__str__``, or reading it, raised; written as ``<unreadable TypeName>``
"""

REASONS: tuple[Reason, ...] = get_args(Reason)

ALTERED = "otel_forge.altered"
"""The attribute of a span or log record that was changed on the way; not counted against the limits."""


class EncodingReport:
    """Counts altered and lost records; safe from any thread, and empty again in a forked child."""

    def __init__(self) -> None:
        self._reset()
        on_fork_in_child(self._reset)

    def _reset(self) -> None:
        self._lock = RLock()
        self._altered = 0
        self._lost = 0
        self._reasons: Counter[Reason] = Counter()

    def note_altered(self, reasons: Iterable[Reason]) -> None:
        """Count one record that was altered for `reasons`."""
        with self._lock:
            self._altered += 1
            self._reasons.update(reasons)

    def note_lost(self, records: int = 1) -> None:
        """Count records that could not be written at all."""
        with self._lock:
            self._lost += records

    @property
    def altered(self) -> int:
        """Records that arrive changed."""
        return self._altered

    @property
    def lost(self) -> int:
        """Records of which not even ids, or for a metric point its number, could be written."""
        return self._lost

    @property
    def reasons(self) -> Mapping[Reason, int]:
        """How many records were altered for each reason; one record can have several."""
        with self._lock:
            return dict(self._reasons)
