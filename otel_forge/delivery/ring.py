"""The ring between the request threads and the delivery thread: bounded, exact, and without a lock.

A request thread appends to a deque and looks at its length, nothing more. Only when the ring is crowded
does it do anything else: ring the bell of the delivery thread, or, when the ring is full, make room. The oldest record
goes, but never an error before what is none: an important record that has become the oldest is set aside, in a deque a
quarter as large as the ring, and only when that is full as well do the oldest of all go. So each record is looked at
once, at most, and those set aside are the first that the delivery thread takes.

Every step of a record is one call into C, which neither a switch of threads nor a signal handler can cut in two: from
one deque to another (`_move`), or out of the ring and into a count (`_discard`). So the record is always in exactly
one place, and a reading (`waiting`) that looks at all places in one such call sees each record once, without a lock.
What is relied on is that ``append`` and ``popleft`` of a deque are atomic, which CPython promises with the global lock
or without, and for exact readings while records move, the global lock.

The bound may be exceeded for an instant by as many records as there are threads appending.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import repeat, starmap
from operator import length_hint
from typing import Any

from otel_forge.delivery.accounts import Waiting

SET_ASIDE = 4
"""One part in so many of the ring's capacity is for important records that would have to go."""

LOOK_EVERY = 8
"""Records between looks at the clock while the delivery thread is to have the interpreter at some later time."""

WAKING = 0.001
"""Seconds that the delivery thread has to wake up and get the interpreter by itself."""

APART = 0.0003
"""Seconds between two appends that give way, so that a request with many records does so once or twice."""

TAKEN_BY_OTHERS, BARRED = 0.0045, 0.5
"""If it takes so many seconds until a thread that gave way has the interpreter again, another thread that computes took
it, and would each time, for the 5 ms after which it must hand it over. Then nobody gives way for so many seconds."""


class Count:
    """A count that any thread may raise by a single call into C: ``raise_by_one()``.

    The count is what an almost endless `repeat` has given out: the one iterator that tells how much of it is left.
    """

    __slots__ = ("_left", "raise_by_one")

    def __init__(self) -> None:
        self._left = repeat(None, sys.maxsize)
        self.raise_by_one = self._left.__next__

    def discard(self, source: deque[Any], most: int) -> None:
        """Throw away the oldest `most` records of `source`, or as many as there are, and count each as it goes."""
        with suppress(IndexError):
            _swallow(zip(starmap(source.popleft, repeat((), most)), self._left, strict=False))

    @property
    def value(self) -> int:
        """How many it is."""
        return sys.maxsize - length_hint(self._left)


_swallow = deque[Any](maxlen=0).extend


def _move(source: deque[Any], target: deque[Any], most: int) -> None:
    """Move the oldest `most` records, or as many as there are."""
    with suppress(IndexError):
        target.extend(starmap(source.popleft, repeat((), most)))


class Ring:
    """Takes records from any thread; `on_first` is called until it returns True, `on_batch` when a batch is there.

    `is_important` is asked about a record that would have to go. `give_way` lets the delivery thread have the
    interpreter, on the thread of a request; appends do so after `ask_for_turn`.
    """

    __slots__ = (
        "_alarm",
        "_aside",
        "_asked",
        "_barred",
        "_batch",
        "_capacity",
        "_clock",
        "_from",
        "_full",
        "_give_way",
        "_is_important",
        "_late",
        "_most_aside",
        "_on_batch",
        "_on_first",
        "_records",
        "_shut",
        "_started",
    )

    def __init__(
        self,
        capacity: int,
        batch: int,
        *,
        on_first: Callable[[], bool],
        on_batch: Callable[[], None],
        is_important: Callable[[Any], bool] = lambda record: False,
        give_way: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records: deque[Any] = deque()
        self._aside: deque[Any] = deque()
        self._capacity = capacity
        self._most_aside = capacity // SET_ASIDE
        self._batch = min(batch, capacity)
        self._on_first = on_first
        self._on_batch = on_batch
        self._is_important = is_important
        self._give_way = give_way
        self._clock = clock
        self._full, self._late = Count(), Count()
        self._alarm = 1
        self._asked = 0
        self._from = self._barred = 0.0
        self._started = self._shut = False

    def append(self, record: Any) -> None:
        """Take `record`; this is all of delivery that a request thread sees."""
        records = self._records
        records.append(record)
        if len(records) >= self._alarm:
            self._crowded()

    def _crowded(self) -> None:
        if self._shut:
            self._discard_all()
            return
        if not self._started:
            self._begin()
        elif self._asked > 0:
            self._let_take_turn()
        records = self._records
        if len(records) > self._capacity:
            self._make_room()
        if len(records) >= self._batch:
            self._on_batch()

    def _begin(self) -> None:
        self._started = True  # before the thread runs, which may find nothing to do and rest again
        self.ask_for_turn(at=self._clock() + WAKING)
        if not self._on_first():
            self._started = False
            self._alarm = 1

    def _let_take_turn(self) -> None:
        before = self._clock()
        wait = max(self._from, self._barred) - before
        if wait > 0:
            if wait > APART:
                self._look_later()
            return
        if self._asked <= 1:  # two at once may both find the last turn; never are there fewer than none
            self.end_wait()
        else:
            self._asked -= 1
        self._give_way()
        after = self._clock()
        self._from = after + APART
        if after - before > TAKEN_BY_OTHERS:
            self._barred = after + BARRED

    def _look_later(self) -> None:
        self._set_alarm(min(self._batch, len(self._records) + LOOK_EVERY))

    def _set_alarm(self, length: int) -> None:
        self._alarm = length
        if self._shut or not self._started:  # or forgotten, perhaps in this instant
            self._alarm = 1

    def _make_room(self) -> None:
        records, aside = self._records, self._aside
        while len(records) > self._capacity:
            if len(aside) < self._most_aside and self._is_oldest_important():
                _move(records, aside, 1)
            else:
                self._full.discard(records, 1)

    def _is_oldest_important(self) -> bool:
        """Ask about the oldest record. Another thread may take it meanwhile; then the next goes by its answer."""
        try:
            return self._is_important(self._records[0])
        except Exception:  # noqa: BLE001 - gone meanwhile, or no such record as is known: nothing to be kept for
            return False

    def _discard_all(self) -> None:
        self._late.discard(self._aside, len(self._aside))
        self._late.discard(self._records, len(self._records))

    def take(self, most: int, hand: deque[Any]) -> deque[Any]:
        """Move records into `hand` until it holds `most`, and return it: those set aside first, then the oldest."""
        _move(self._aside, hand, most - len(hand))
        _move(self._records, hand, most - len(hand))
        return hand

    def waiting(self, hand: deque[Any]) -> Waiting:
        """Return, of one instant, how many records wait in the ring and in `hand`, and how many were turned away."""
        places = (self._records, self._aside, hand)
        while True:
            full, late = self._full.value, self._late.value
            waiting = sum(tuple(map(len, places)))
            if full == self._full.value and late == self._late.value:
                return Waiting(waiting, full, late)

    @property
    def turned_away(self) -> int:
        """How many records were dropped so far, for want of room or because they came after the end."""
        return self._full.value + self._late.value

    def rest(self) -> bool:
        """Call `on_first` with the next record again; return whether the ring is empty, so that one may wait for it."""
        self._started = False
        self._alarm = 1
        return not self

    def ask_for_turn(self, times: int = 1, *, at: float = 0.0) -> None:
        """Have the next `times` appends give way: the delivery thread waits for the interpreter, or will at that time.

        Without asking it may wait for very long. A request thread that calls into the system every fifth of a
        millisecond offers the interpreter each time and takes it back before the other thread is awake, and each such
        call starts the 5 ms anew after which the interpreter must be handed over. And every one of these awakenings in
        vain costs the request some 40 µs.
        """
        self._asked = times
        self._from = at
        if at:
            self._look_later()
        else:
            self._alarm = 1

    def end_wait(self) -> None:
        """Take back `ask_for_turn`."""
        self._asked = 0
        self._set_alarm(self._batch)

    def shut(self) -> None:
        """Drop every record from now on, and what is still here as soon as another comes."""
        self._shut = True
        self._alarm = 1

    def forget(self) -> None:
        """Be as new, as a forked child must: what is here is the parent's to deliver."""
        self._records.clear()
        self._aside.clear()
        self._full, self._late = Count(), Count()
        self._started = False
        self._asked = 0
        self._barred = 0.0
        self._alarm = 1

    def __len__(self) -> int:
        return len(self._records) + len(self._aside)
