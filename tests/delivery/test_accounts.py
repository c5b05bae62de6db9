"""The accounts: exact at every reading, under threads, overflow, signals and fork; readable by a person."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from threading import Event, Thread

import pytest

from otel_forge.delivery.accounts import Account, Accounts, Column, Reason, in_words
from otel_forge.delivery.ring import Ring


def assert_balanced(account: Account) -> None:
    """The equation of the accounts, in items and in bytes."""
    for column in (account, account.in_bytes):
        assert column.created == column.delivered + column.held + sum(column.dropped.values())
        assert min(column.waiting, column.in_memory, column.on_disk, *column.dropped.values(), 0) == 0


@contextmanager
def frequent_switches() -> Iterator[None]:
    """Have threads interrupted every few microseconds, so that what can come between two steps does."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def ring_of(capacity: int = 64) -> Ring:
    return Ring(
        capacity,
        16,
        on_first=lambda: True,
        on_batch=lambda: None,
        is_important=lambda record: record % 10 == 0,
    )


def test_each_movement_takes_from_one_place_and_gives_to_another() -> None:
    """From the encoder to memory, to disk, back, and out; in items and in bytes."""
    accounts = Accounts()
    steps: list[tuple[Callable[[], object], dict[str, int]]] = [
        (lambda: accounts.accept("traces", 10, 1000), {"in_memory": 10}),
        (lambda: accounts.take_over("traces", 5, 500), {"in_memory": 10, "on_disk": 5}),
        (lambda: accounts.write("traces", 10, 1000), {"in_memory": 0, "on_disk": 15}),
        (lambda: accounts.read_back("traces", 5, 500), {"in_memory": 5, "on_disk": 10}),
        (lambda: accounts.deliver("traces", 5, 500), {"in_memory": 0, "delivered": 5}),
        (lambda: accounts.deliver("traces", 4, 400, rejected=1, on_disk=True), {"on_disk": 6, "delivered": 8}),
        (lambda: accounts.drop("traces", Reason.EXPIRED, 6, 600, on_disk=True), {"on_disk": 0}),
    ]
    for step, expected in steps:
        step()
        account = accounts.of("traces")
        assert_balanced(account)
        assert {name: getattr(account, name) for name in expected} == expected
        assert {name: getattr(account.in_bytes, name) for name in expected} == {
            name: 100 * count for name, count in expected.items()
        }
    assert account == Account(
        created=15,
        delivered=8,
        taken_over=5,
        dropped={Reason.REJECTED: 1, Reason.EXPIRED: 6},
        in_bytes=Column(
            created=1500, delivered=800, taken_over=500, dropped={Reason.REJECTED: 100, Reason.EXPIRED: 600}
        ),
    )


def test_cutting_a_request_books_the_envelope_that_it_adds() -> None:
    """The same items, more bytes."""
    accounts = Accounts()
    accounts.accept("logs", 2, 100)
    accounts.reshape("logs", 100, 120)
    accounts.deliver("logs", 1, 60)
    accounts.drop("logs", Reason.TOO_LARGE, 1, 60)
    account = accounts.of("logs")
    assert_balanced(account)
    assert (account.created, account.in_bytes.created, account.in_bytes.held) == (2, 120, 0)


def test_more_cannot_be_rejected_than_was_sent() -> None:
    """Whatever the back end says."""
    accounts = Accounts()
    accounts.accept("logs", 2, 100)
    accounts.deliver("logs", 2, 100, rejected=7)
    assert_balanced(accounts.of("logs"))
    assert accounts.of("logs").dropped == {Reason.REJECTED: 2}


def test_what_cannot_be_encoded_is_turned_away() -> None:
    """It has no bytes, and was never accepted."""
    accounts = Accounts()
    accounts.accept("metrics", 3, 60, unencodable=2)
    account = accounts.of("metrics")
    assert_balanced(account)
    assert (account.created, account.accepted, account.turned_away) == (5, 3, {Reason.UNENCODABLE: 2})
    assert account.in_bytes.created == 60


def test_records_of_a_round_that_broke_off_are_not_forgotten() -> None:
    """A hand that was never booked is dropped when the next one is asked for."""
    accounts = Accounts()
    accounts.hand("traces").extend(range(3))
    assert accounts.of("traces").waiting == 3
    accounts.hand("traces")
    assert accounts.of("traces").dropped == {Reason.UNENCODABLE: 3}
    assert_balanced(accounts.of("traces"))


def deliver_some(accounts: Accounts, ring: Ring, random: Random) -> None:
    """Do what a delivery thread does with one batch, ending each time differently."""
    hand = accounts.hand("traces")
    taken = len(ring.take(16, hand))
    bad = random.randrange(taken + 1) if taken else 0
    size = 100 * (taken - bad)
    accounts.accept("traces", taken - bad, size, unencodable=bad)
    on_disk = random.random() < 0.5
    if on_disk:
        accounts.write("traces", taken - bad, size)
    if random.random() < 0.3:
        accounts.drop("traces", Reason.SPOOL_FULL, taken - bad, size, on_disk=on_disk)
    else:
        accounts.deliver("traces", taken - bad, size, rejected=random.randrange(3), on_disk=on_disk)


@pytest.mark.gate
def test_every_reading_is_exact_under_32_threads_and_overflow() -> None:
    """R1: whoever reads while 32 threads append to a ring that overflows never sees a record twice, or none.

    All records are there from the start, so that each reading must show the same number of them.
    """
    accounts, ring = Accounts(), ring_of()
    accounts.attach("traces", ring)
    each, threads, done = 1500, 32, Event()
    readings: list[Account] = []
    broken: list[Account] = []

    def append() -> None:
        for number in range(each):
            ring.append(number)

    def read() -> None:
        earlier = Account()
        while not done.is_set():
            account = accounts.of("traces")
            whole = account.delivered + account.held + account.lost
            if account.created != whole or account.created < earlier.created:
                broken.append(account)
            earlier = account
            readings.append(account)

    def deliver() -> None:
        random = Random(1)
        while not done.is_set():
            deliver_some(accounts, ring, random)

    others = [Thread(target=read), Thread(target=read), Thread(target=deliver)]
    appenders = [Thread(target=append) for _ in range(threads)]
    with frequent_switches():
        for thread in [*others, *appenders]:
            thread.start()
        for thread in appenders:
            thread.join()
        done.set()
        for thread in others:
            thread.join()
    account = accounts.of("traces")
    assert not broken
    assert len(readings) > 10
    assert_balanced(account)
    assert account.created == each * threads
    assert account.dropped[Reason.QUEUE_FULL] > 0 < account.delivered


def test_a_record_on_the_move_is_seen_exactly_once() -> None:
    """R1: with nothing appended any more, every reading shows the same number created, whoever moves what meanwhile."""
    accounts, ring = Accounts(), ring_of(capacity=20_000)
    accounts.attach("traces", ring)
    for number in range(20_000):
        ring.append(number)
    random = Random(2)

    def deliver() -> None:
        while ring:
            deliver_some(accounts, ring, random)

    assert seen_while(lambda: accounts.of("traces").created, deliver) <= {20_000}
    assert accounts.of("traces").created == 20_000


def seen_while(read_one: Callable[[], int], move: Callable[[], object]) -> set[int]:
    """Return all numbers that a reader sees while `move` runs."""
    seen: set[int] = set()
    done = Event()

    def read() -> None:
        while not done.is_set():
            seen.add(read_one())

    reader = Thread(target=read)
    with frequent_switches():
        reader.start()
        move()
        done.set()
        reader.join()
    return seen


def test_a_record_on_its_way_into_the_hand_is_seen_exactly_once() -> None:
    """R1: one by one, so that a reader comes between any two."""
    accounts, ring = Accounts(), ring_of(capacity=30_000)
    accounts.attach("traces", ring)
    for number in range(30_000):
        ring.append(number)
    hand = accounts.hand("traces")

    def move() -> None:
        for number in range(30_000):
            ring.take(number + 1, hand)

    assert seen_while(lambda: ring.waiting(hand).waiting, move) <= {30_000}
    assert len(hand) == 30_000


def test_a_record_that_has_to_go_is_seen_exactly_once() -> None:
    """R1: set aside or dropped, while nothing comes in."""
    accounts, ring = Accounts(), ring_of(capacity=40_000)
    accounts.attach("traces", ring)
    for number in range(40_000):
        ring.append(number)
    ring._capacity = 0
    assert seen_while(lambda: accounts.of("traces").created, ring._make_room) <= {40_000}
    account = accounts.of("traces")
    assert (account.waiting, account.dropped) == (4_000, {Reason.QUEUE_FULL: 36_000})


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_a_signal_handler_may_append_book_and_read() -> None:
    """R1: it interrupts the main thread between any two steps of doing the same; every reading in it is balanced."""
    accounts, ring = Accounts(), ring_of(capacity=8)
    accounts.attach("traces", ring)
    random = Random(3)
    handled = 0

    def handler(number: int, frame: object) -> None:
        nonlocal handled
        handled += 1
        for record in range(5):
            ring.append(record)
        accounts.take_over("traces", 1, 10)
        assert_balanced(accounts.of("traces"))

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    appended = 0
    try:
        while handled < 300:
            for record in range(20):
                ring.append(record)
            appended += 20
            accounts.take_over("traces", 1, 10)
            deliver_some(accounts, ring, random)
            assert_balanced(accounts.of("traces"))
            appended += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert accounts.of("traces").created == appended + handled * 6
    assert_balanced(accounts.of("traces"))


def test_a_forked_child_starts_with_empty_accounts() -> None:
    """What the parent created is the parent's to deliver, even if a thread was booking while it forked."""
    accounts, ring = Accounts(), ring_of()
    accounts.attach("traces", ring)
    accounts.accept("traces", 5, 50)
    with accounts._lock:
        booking = Thread(target=accounts.accept, args=("traces", 1, 10))
        booking.start()
        child = os.fork()
        if child == 0:
            ring.forget()
            empty = accounts.of("traces") == Account()
            accounts.accept("traces", 1, 10)
            os._exit(0 if empty and accounts.of("traces").held == 1 else 1)
    booking.join()
    assert os.waitpid(child, 0)[1] == 0
    assert accounts.of("traces").held == 6


def test_what_comes_after_the_end_is_counted_apart() -> None:
    """A ring that was shut turns everything away."""
    accounts, ring = Accounts(), ring_of()
    accounts.attach("logs", ring)
    ring.shut()
    for record in range(3):
        ring.append(record)
    assert accounts.of("logs").dropped == {Reason.AFTER_SHUTDOWN: 3}
    assert_balanced(accounts.of("logs"))


def test_counts_of_a_pipeline_that_cannot_tell_what_it_holds() -> None:
    """The upstream SDK's: nothing is lost under 32 threads."""
    accounts = Accounts()

    def work() -> None:
        for _ in range(500):
            accounts.created("traces")
            accounts.delivered("traces", 1)
            accounts.failed("logs", 2)

    threads = [Thread(target=work) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert accounts.read()["traces"] == Account(created=16000, delivered=16000, failed=0)
    assert accounts.read()["logs"] == Account(created=0, delivered=0, failed=32000)


def test_reasons_are_shown_by_their_value() -> None:
    """In metrics, logs, tables and JSON."""
    assert f"{Reason.QUEUE_FULL}" == str(Reason.QUEUE_FULL) == "queue_full"
    assert [reason.value for reason in Reason] == [
        "queue_full",
        "spool_full",
        "expired",
        "rejected",
        "refused",
        "too_large",
        "unencodable",
        "damaged",
        "shutdown_timeout",
        "after_shutdown",
    ]


def test_counts_in_words() -> None:
    """Zeros are left out, and one is singular."""
    assert in_words({"traces": 1, "metrics": 0, "logs": 12}) == "1 span, 12 log records"
    assert in_words({"traces": 0}) == ""
