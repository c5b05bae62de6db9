"""A dictionary of what has been worked out before, limited in size.

Keys may come from the outside (a Host header, a statement put together from user input), so every table
has a bound. A full one is emptied only after many misses: keys that never come back then cost a lookup,
not the table.
"""

from __future__ import annotations

from typing import Any

_MISSES_BEFORE_RENEWAL = 4


class Bounded(dict[Any, Any]):
    """At most `limit` entries, added by `keep`; read with ``get`` like any dictionary."""

    __slots__ = ("_limit", "_misses")

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._misses = 0

    @property
    def is_full(self) -> bool:
        """Whether `keep` would not keep; counts as a miss, and enough of these empty the table."""
        if len(self) < self._limit:
            return False
        self._misses += 1
        if self._misses < self._limit * _MISSES_BEFORE_RENEWAL:
            return True
        self._misses = 0
        self.clear()
        return False

    def keep(self, key: Any, value: Any) -> Any:
        """Keep `value` if there is room; return it."""
        if not self.is_full:
            self[key] = value
        return value
