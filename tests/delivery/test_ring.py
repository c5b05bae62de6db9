"""The ring: exact under 32 threads, overflow included, and never an error before what is none."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import pytest

from otel_forge.delivery.accounts import Waiting
from otel_forge.delivery.ring import APART, BARRED, LOOK_EVERY, TAKEN_BY_OTHERS, WAKING, Ring


class Counting:
    """Counts what a ring tells of, and what it asks."""

    def __init__(self) -> None:
        self.first = 0
        self.batches = 0
        self.asked = 0

    def ring(
        self,
        capacity: int,
        batch: int,
        important: Callable[[Any], bool] = lambda record: False,
        give_way: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Ring:
        def is_important(record: Any) -> bool:
            self.asked += 1
            return important(record)

        return Ring(
            capacity,
            batch,
            on_first=self._on_first,
            on_batch=self._on_batch,
            is_important=is_important,
            give_way=give_way,
            clock=clock,
        )

    def _on_first(self) -> bool:
        self.first += 1
        return True

    def _on_batch(self) -> None:
        self.batches += 1


def taken(ring: Ring, most: int) -> list[Any]:
    return list(ring.take(most, deque()))


def test_the_first_record_and_every_full_batch_are_told() -> None:
    """And nothing else."""
    counting = Counting()
    ring = counting.ring(10, 3)
    for number in range(3):
        ring.append(number)
        assert (counting.first, counting.batches) == (1, number // 2)
    assert taken(ring, 2) == [0, 1]
    assert taken(ring, 9) == [2]


@pytest.mark.parametrize("batch", [1, 4])
def test_a_full_ring_drops_the_oldest(batch: int) -> None:
    """And counts them."""
    counting = Counting()
    ring = counting.ring(4, batch)
    for number in range(10):
        ring.append(number)
    assert taken(ring, 10) == [6, 7, 8, 9]
    assert ring.turned_away == 6


def is_error(record: Any) -> bool:
    return bool(record < 0)


def test_errors_are_never_dropped_before_what_is_none() -> None:
    """They are set aside when they would have to go, and are the first to be taken."""
    ring = Counting().ring(8, 4, is_error)
    for record in (1, -1, 2, -2, *range(3, 20)):
        ring.append(record)
    assert len(ring) == 10
    assert taken(ring, 3) == [-1, -2, 12]
    assert taken(ring, 99) == list(range(13, 20))
    assert ring.turned_away == 11


def test_errors_beyond_a_quarter_of_the_ring_go_as_well() -> None:
    """The memory for them is bounded, too; the oldest of those set aside stay."""
    ring = Counting().ring(8, 4, is_error)
    for record in range(-1, -21, -1):
        ring.append(record)
    assert taken(ring, 99) == [-1, -2, *range(-13, -21, -1)]
    assert ring.turned_away == 10


def test_a_record_is_asked_about_only_when_it_would_have_to_go() -> None:
    """And once at most, however long the overflow lasts."""
    counting = Counting()
    ring = counting.ring(100, 50, is_error)
    for record in range(100):
        ring.append(record)
    assert counting.asked == 0
    for record in range(1000):
        ring.append(record)
    assert counting.asked == 1000


def test_a_question_that_fails_makes_a_record_unimportant() -> None:
    """The request thread notices nothing."""
    ring = Counting().ring(1, 1, lambda record: record.no_such_attribute)
    ring.append(object())
    ring.append(object())
    assert (len(ring), ring.turned_away) == (1, 1)


def test_a_ring_that_was_shut_keeps_nothing() -> None:
    """What was left, set aside or not, goes with the next record that comes; nobody is woken for it."""
    counting = Counting()
    ring = counting.ring(4, 2, is_error)
    for record in (-1, 1, 2, 3, 4):
        ring.append(record)
    batches = counting.batches
    ring.shut()
    assert ring.waiting(deque()) == Waiting(5, 0, 0)
    ring.append(5)
    assert ring.waiting(deque()) == Waiting(0, 0, 6)
    assert counting.batches == batches


def test_forgetting_is_complete() -> None:
    """A forked child starts with an empty ring, no counts, and tells of its first record."""
    counting = Counting()
    ring = counting.ring(4, 2, is_error)
    for record in (-1, 1, 2, 3, 4, 5):
        ring.append(record)
    ring.forget()
    assert ring.waiting(deque()) == Waiting(0, 0, 0)
    ring.append(1)
    assert counting.first == 2


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


def test_several_appends_give_way_while_a_request_is_on_its_way() -> None:
    """Each call into the system makes the delivery thread wait for the interpreter once more, but not for ever."""
    given: list[int] = []
    now = [10.0]
    ring = Counting().ring(10, 8, give_way=lambda: given.append(len(ring)), clock=lambda: now[0])
    ring.append(1)
    ring.ask_for_turn(2)
    for record in range(2, 7):
        ring.append(record)
        now[0] += APART
    assert given == [2, 3]


def test_records_of_the_same_moment_give_way_once() -> None:
    """A request with many records is not held up for each of them."""
    given: list[int] = []
    ring = Counting().ring(100, 90, give_way=lambda: given.append(len(ring)), clock=lambda: 10.0)
    ring.append(1)
    ring.ask_for_turn(6)
    for record in range(50):
        ring.append(record)
    assert given == [2]


def test_nobody_gives_way_where_others_take_the_interpreter() -> None:
    """A thread that computes would take it each time, for 5 ms; so for a while only one such turn is given."""
    given: list[int] = []
    now = [10.0]

    def give_way() -> None:
        given.append(len(ring))
        now[0] += 2 * TAKEN_BY_OTHERS

    ring = Counting().ring(1000, 900, give_way=give_way, clock=lambda: now[0])
    ring.append(1)
    for _ in range(20):
        ring.ask_for_turn(6)
        for record in range(20):
            ring.append(record)
        now[0] += BARRED / 100
    assert len(given) == 1
    now[0] += BARRED
    ring.ask_for_turn()
    ring.append(1)
    assert len(given) == 2


def test_a_turn_that_is_taken_back_while_it_is_given_leaves_none() -> None:
    """The delivery thread came by itself in just this moment."""
    given: list[int] = []
    now = [10.0]

    def clock() -> float:
        ring.end_wait()
        return now[0]

    ring = Counting().ring(1000, 900, give_way=lambda: given.append(len(ring)), clock=clock)
    ring.append(1)
    ring.ask_for_turn()
    for record in range(50):
        ring.append(record)
        now[0] += 1
    assert len(given) <= 1


def test_a_thread_that_wakes_up_at_its_time_is_let_in_from_then_on() -> None:
    """Appends look at the clock, one in `LOOK_EVERY`, and give way once the time has come; not before."""
    given: list[int] = []
    now = [10.0]
    ring = Counting().ring(100, 90, give_way=lambda: given.append(len(ring)), clock=lambda: now[0])
    ring.append(1)
    ring.ask_for_turn(at=11.0)
    for record in range(2, 40):
        ring.append(record)
    assert given == []
    now[0] = 11.0
    for record in range(LOOK_EVERY):
        ring.append(record)
    assert len(given) == 1


def test_a_thread_that_does_not_wake_up_by_itself_is_let_in() -> None:
    """The first record wakes it; if it has not come after a millisecond, it waits for the interpreter."""
    given: list[int] = []
    now = [10.0]
    ring = Counting().ring(100, 90, give_way=lambda: given.append(len(ring)), clock=lambda: now[0])
    ring.append(1)
    now[0] += WAKING
    for record in range(LOOK_EVERY):
        ring.append(record)
    assert len(given) == 1


def test_a_ring_that_was_shut_while_the_thread_waited_stays_shut() -> None:
    """What comes later is dropped and counted."""
    ring = Counting().ring(10, 5)
    ring.append("first")
    ring.ask_for_turn()
    ring.shut()
    ring.end_wait()
    ring.append("too late")
    assert ring.turned_away == 2


@pytest.mark.gate
def test_nothing_is_lost_or_counted_twice_under_32_threads() -> None:
    """R1: appended = taken + dropped, with a ring that overflows all the time and one who takes meanwhile."""
    each, threads = 5000, 32
    ring = Counting().ring(64, 16, lambda record: record[1] % 100 == 0)
    done = Event()
    hand: deque[tuple[int, int]] = deque()

    def append(thread: int) -> None:
        for number in range(each):
            ring.append((thread, number))

    def take() -> None:
        while not done.is_set():
            ring.take(len(hand) + 16, hand)

    taker = Thread(target=take)
    appenders = [Thread(target=append, args=(number,)) for number in range(threads)]
    for thread in [taker, *appenders]:
        thread.start()
    for thread in appenders:
        thread.join()
    done.set()
    taker.join()
    ring.take(len(hand) + 1000, hand)
    assert ring.turned_away > 0
    assert len(hand) + ring.turned_away == each * threads
    assert len(set(hand)) == len(hand)
