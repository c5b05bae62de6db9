"""The ring: exact under 32 threads, overflow included."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock, Thread

import pytest

from otel_forge.delivery.ring import Ring


class Counting:
    """Counts what a ring tells of."""

    def __init__(self) -> None:
        self.dropped = 0
        self.first = 0
        self.batches = 0
        self._lock = Lock()

    def ring(self, capacity: int, batch: int, give_way: Callable[[], None] = lambda: None) -> Ring:
        return Ring(
            capacity,
            batch,
            on_first=self._on_first,
            on_batch=self._on_batch,
            dropped=self._on_dropped,
            give_way=give_way,
        )

    def _on_first(self) -> bool:
        self.first += 1
        return True

    def _on_batch(self) -> None:
        self.batches += 1

    def _on_dropped(self, items: int) -> None:
        with self._lock:
            self.dropped += items


def test_the_first_record_and_every_full_batch_are_told() -> None:
    """And nothing else."""
    counting = Counting()
    ring = counting.ring(10, 3)
    for number in range(3):
        ring.append(number)
        assert (counting.first, counting.batches) == (1, number // 2)
    assert list(ring.take(2)) == [0, 1]
    assert list(ring.take(9)) == [2]


@pytest.mark.parametrize("batch", [1, 4])
def test_a_full_ring_drops_the_oldest(batch: int) -> None:
    """And counts them."""
    counting = Counting()
    ring = counting.ring(4, batch)
    for number in range(10):
        ring.append(number)
    assert list(ring.take(10)) == [6, 7, 8, 9]
    assert counting.dropped == 6


def test_asked_for_a_turn_the_next_append_gives_way_once() -> None:
    """So the delivery thread gets the interpreter soon, and requests are held up once."""
    given: list[int] = []
    ring = Counting().ring(10, 5, give_way=lambda: given.append(len(ring)))
    ring.append("first")
    ring.ask_for_turn()
    ring.append("second")
    ring.append("third")
    assert given == [2]


def test_a_turn_that_came_by_itself_is_not_given_again() -> None:
    """The delivery thread got the interpreter without help."""
    given: list[int] = []
    ring = Counting().ring(10, 5, give_way=lambda: given.append(len(ring)))
    ring.append("first")
    ring.ask_for_turn()
    ring.end_wait()
    ring.append("second")
    assert given == []


def test_a_ring_that_was_shut_while_the_thread_waited_stays_shut() -> None:
    """What comes later is dropped and counted."""
    counting = Counting()
    ring = counting.ring(10, 5)
    ring.append("first")
    ring.ask_for_turn()
    ring.shut()
    ring.end_wait()
    ring.append("too late")
    assert counting.dropped == 2


def test_nothing_is_lost_or_counted_twice_under_32_threads() -> None:
    """R1: appended = taken + dropped, with a ring that overflows all the time and one who takes meanwhile."""
    counting = Counting()
    ring = counting.ring(64, 16)
    each, threads = 5000, 32
    done = Event()
    taken: list[tuple[int, int]] = []

    def append(thread: int) -> None:
        for number in range(each):
            ring.append((thread, number))

    def take() -> None:
        while not done.is_set():
            taken.extend(ring.take(16))

    taker = Thread(target=take)
    appenders = [Thread(target=append, args=(number,)) for number in range(threads)]
    for thread in [taker, *appenders]:
        thread.start()
    for thread in appenders:
        thread.join()
    done.set()
    taker.join()
    taken.extend(ring.take(1000))
    assert counting.dropped > 0
    assert len(taken) + counting.dropped == each * threads
    assert len(set(taken)) == len(taken)
    assert counting.first >= 1
