"""A batch: encoded records on their way, and the place where batches wait.

A batch keeps its records as fragments, so that it can be cut in halves when the other side finds it too
large. Where batches wait is behind `Outbox`; the one in memory is bounded by bytes and gives up the oldest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

Fragment = tuple[Any, bytes, int]
"""One record: its instrumentation scope, its bytes, and how many items it counts as (a metric: its points)."""


class Batch:
    """Fragments of one signal that travel in one request."""

    __slots__ = ("fragments", "items", "size")

    def __init__(self, fragments: Sequence[Fragment]) -> None:
        self.fragments = fragments
        self.items = sum([items for _, _, items in fragments])
        self.size = sum([len(data) for _, data, _ in fragments])

    def by_scope(self) -> list[tuple[Any, list[bytes]]]:
        """Return the fragments grouped by scope, in the order in which the scopes appear."""
        groups: dict[int, tuple[Any, list[bytes]]] = {}
        last: Any = groups
        collected: list[bytes] = []
        for scope, data, _ in self.fragments:
            if scope is not last:
                last = scope
                collected = groups.setdefault(id(scope), (scope, []))[1]
            collected.append(data)
        return list(groups.values())

    def halves(self) -> Sequence[Batch]:
        """Return the batch in two parts; empty if it is a single fragment, which can't be cut."""
        middle = len(self.fragments) // 2
        return (Batch(self.fragments[:middle]), Batch(self.fragments[middle:])) if middle else ()


class Outbox(Protocol):
    """Where batches wait for their turn, the oldest first."""

    def add(self, batch: Batch) -> None:
        """Take a batch."""

    def first(self) -> Batch | None:
        """Return the batch whose turn it is; it stays until it is removed."""

    def remove(self, instead: Iterable[Batch] = ()) -> None:
        """Remove the first batch and put those in its place."""

    def forget(self) -> None:
        """Let go of what is the parent's, in a forked child."""

    @property
    def items(self) -> int:
        """How many items wait."""


class MemoryOutbox:
    """Holds up to `capacity` bytes; beyond that the oldest batches are given up, which `dropped` is told in items."""

    def __init__(self, capacity: int, dropped: Callable[[int], None]) -> None:
        self._capacity = capacity
        self._dropped = dropped
        self.forget()

    def forget(self) -> None:
        """Be as new, as a forked child must: what is here is the parent's to deliver."""
        self._batches: deque[Batch] = deque()
        self._size = 0
        self.items = 0

    def add(self, batch: Batch) -> None:
        """Take a batch, and make room for it if need be."""
        self._batches.append(batch)
        self._size += batch.size
        self.items += batch.items
        while self._size > self._capacity and len(self._batches) > 1:
            items = self._batches[0].items
            self.remove()
            self._dropped(items)

    def first(self) -> Batch | None:
        """Return the oldest batch, or None."""
        return self._batches[0] if self._batches else None

    def remove(self, instead: Iterable[Batch] = ()) -> None:
        """Remove the oldest batch and put those in its place."""
        gone = self._batches.popleft()
        self._size -= gone.size
        self.items -= gone.items
        for batch in reversed(list(instead)):
            self._batches.appendleft(batch)
            self._size += batch.size
            self.items += batch.items
