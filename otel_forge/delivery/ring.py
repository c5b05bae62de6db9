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

    `dropped` is told how many of the oldest records had to go. `give_way` lets the delivery thread have the
    interpreter, on the thread of a request; the next append does so after `ask_for_turn`.
    """

    __slots__ = (
        "_alarm",
        "_asked",
        "_batch",
        "_capacity",
        "_dropped",
        "_give_way",
        "_on_batch",
        "_on_first",
        "_records",
        "_started",
    )

    def __init__(
        self,
        capacity: int,
        batch: int,
        *,
        on_first: Callable[[], bool],
        on_batch: Callable[[], None],
        dropped: Callable[[int], None],
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        self._records: deque[Any] = deque()
        self._capacity = capacity
        self._batch = min(batch, capacity)
        self._on_first = on_first
        self._on_batch = on_batch
        self._dropped = dropped
        self._give_way = give_way
        self._alarm = 1
        self._started = False
        self._asked = False

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
        if self._asked:
            self.end_wait()
            self._give_way()
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

    def ask_for_turn(self) -> None:
        """Have the next append give way: the delivery thread waits for the interpreter.

        It would get it at some time without asking. But until then every wait of a request thread for a file or a
        database wakes it in vain, which costs more than a turn.
        """
        self._asked = True
        self._alarm = 1

    def end_wait(self) -> None:
        """Take back `ask_for_turn`."""
        self._asked = False
        self._alarm = self._batch
        if not (self._started and self._capacity):  # shut or forgotten, perhaps in this instant
            self._alarm = 1

    def shut(self) -> None:
        """Drop every record from now on, and what is still here as soon as another comes."""
        self._capacity = 0
        self._alarm = 1

    def forget(self) -> None:
        """Be as new, as a forked child must: what is here is the parent's to deliver."""
        self._records.clear()
        self._alarm = 1
        self._started = False
        self._asked = False

    def __len__(self) -> int:
        return len(self._records)
