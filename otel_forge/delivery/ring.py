"""The ring between the request threads and the delivery thread: bounded, exact, and without a lock.

A request thread appends to a deque and looks at its length, nothing more. Only when the ring is crowded
does it do anything else: ring the bell of the delivery thread, or, when the ring is full, drop the oldest
record and count it. What is relied on is that ``append`` and ``popleft`` of a deque are atomic, which
CPython promises, with the global lock or without.

The bound may be exceeded for an instant by as many records as there are threads appending.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any


class Ring:
    """Takes records from any thread; `on_first` is called until it returns True, `on_batch` when a batch is there.

    `dropped` is told how many of the oldest records had to go.
    """

    __slots__ = ("_alarm", "_batch", "_capacity", "_dropped", "_on_batch", "_on_first", "_records", "_started")

    def __init__(
        self,
        capacity: int,
        batch: int,
        *,
        on_first: Callable[[], bool],
        on_batch: Callable[[], None],
        dropped: Callable[[int], None],
    ) -> None:
        self._records: deque[Any] = deque()
        self._capacity = capacity
        self._batch = min(batch, capacity)
        self._on_first = on_first
        self._on_batch = on_batch
        self._dropped = dropped
        self._alarm = 1
        self._started = False

    def append(self, record: Any) -> None:
        """Take `record`; this is all of delivery that a request thread sees."""
        records = self._records
        records.append(record)
        if len(records) >= self._alarm:
            self._crowded()

    def _crowded(self) -> None:
        if not self._started and self._on_first():
            self._started = True
            self._alarm = self._batch
        records = self._records
        if len(records) > self._capacity:
            self._drop_oldest()
        if len(records) >= self._batch:
            self._on_batch()

    def _drop_oldest(self) -> None:
        dropped = 0
        while len(self._records) > self._capacity:
            try:
                self._records.popleft()
            except IndexError:
                break
            dropped += 1
        self._dropped(dropped)

    def take(self, most: int) -> Iterator[Any]:
        """Yield up to `most` records, the oldest first, each taken as it is yielded."""
        popleft = self._records.popleft
        for _ in range(most):
            try:
                yield popleft()
            except IndexError:
                return

    def shut(self) -> None:
        """Drop every record from now on, and what is still here as soon as another comes."""
        self._capacity = 0
        self._alarm = 1

    def forget(self) -> None:
        """Be as new, as a forked child must: what is here is the parent's to deliver."""
        self._records.clear()
        self._alarm = 1
        self._started = False

    def __len__(self) -> int:
        return len(self._records)
