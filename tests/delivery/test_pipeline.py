"""The pipeline from ring to back end: batches, flushing, closing, forking, and the accounts of it all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread, get_ident
from typing import Any

import pytest

from otel_forge.delivery.answers import Outcome, Verdict
from otel_forge.delivery.batch import Packer
from otel_forge.delivery.pipeline import Pipeline
from otel_forge.delivery.ring import BARRED
from otel_forge.delivery.sender import Sender
from otel_forge.settings import BatchSettings
from tests.delivery.parts import DELIVERED, Parts, Sending, joined
from tests.delivery.scripted import eventually, hang, scripted
from tests.delivery.test_sender import settings

SLOW = BatchSettings(schedule_delay=3_600_000, max_queue_size=2048, max_export_batch_size=512, export_timeout=30_000)


class Record:
    """The least that the pipeline needs of a record."""

    scope = "scope"

    def __init__(self, data: bytes = b"x", settle: Callable[[], None] = lambda: None) -> None:
        self.data = data
        self.settle = settle


class Scene:
    """A pipeline with its surroundings."""

    def __init__(
        self,
        sending: Sending,
        batch: BatchSettings = SLOW,
        *,
        folder: Path | None = None,
        max_batch_bytes: int = 1 << 20,
        **options: Any,
    ) -> None:
        self.sending = sending
        self.parts = Parts(sending, folder=folder, max_bytes=max_batch_bytes)
        self.pipeline = Pipeline(
            "traces",
            lambda record: record.data,
            Packer("traces", joined, max_bytes=max_batch_bytes),
            self.parts.outbox,
            self.parts.courier,
            self.parts.accounts,
            batch,
            **options,
        )

    @property
    def counts(self) -> dict[str, Any]:
        return self.parts.counts


@contextmanager
def running(
    answer: Callable[[bytes], Outcome] = lambda body: DELIVERED, batch: BatchSettings = SLOW, **options: Any
) -> Iterator[Scene]:
    scene = Scene(Sending(answer), batch, **options)
    yield scene
    scene.pipeline.close(5)


def test_flush_tries_again_until_its_time_is_over() -> None:
    """One request that fails is no reason to say that nothing can be delivered."""
    outcomes = [Outcome(Verdict.LATER, "down")]
    with running(lambda body: outcomes.pop() if outcomes else DELIVERED) as scene:
        scene.pipeline.append(Record())
        assert scene.pipeline.flush(10)
        assert scene.counts == {"created": 1, "delivered": 1}


def test_records_wait_for_the_interval_and_then_go_in_one_request() -> None:
    """No thread before the first record."""
    with running(batch=replace(SLOW, schedule_delay=50)) as scene:
        for _ in range(3):
            scene.pipeline.append(Record())
        eventually(lambda: scene.sending.bodies)
        assert scene.sending.bodies == [b"xxx"]
        assert scene.counts == {"created": 3, "delivered": 3}


def test_what_comes_after_a_flush_of_a_resting_pipeline_goes_by_itself() -> None:
    """The flush may be quicker than the wake-up that the record before it asked for."""
    with running(batch=replace(SLOW, schedule_delay=50)) as scene:
        for _ in range(5):
            scene.pipeline.append(Record())
            assert scene.pipeline.flush(5)
            scene.pipeline.append(Record())
            eventually(lambda: scene.counts["delivered"] == scene.counts["created"], timeout=5)
            eventually(lambda: not scene.pipeline._ring._started, timeout=5)


def test_appends_are_not_held_up_again_and_again_beside_a_thread_that_computes() -> None:
    """It takes the interpreter from whoever gives way, for 5 ms each time."""
    over = Event()

    def compute() -> None:
        while not over.is_set():
            sum(range(100))

    def slowly(body: bytes) -> Outcome:
        time.sleep(0.3)
        return DELIVERED

    busy = Thread(target=compute)
    given: list[float] = []
    with running(slowly, batch=replace(SLOW, schedule_delay=50)) as scene:
        give_way = scene.pipeline._ring._give_way

        def counted() -> None:
            given.append(0)
            give_way()

        scene.pipeline._ring._give_way = counted
        began = time.monotonic()
        busy.start()
        for _ in range(500):
            scene.pipeline.append(Record())
            time.sleep(0)
        over.set()
        busy.join()
    assert len(given) <= 4 + (time.monotonic() - began) / BARRED


def test_a_ring_half_full_does_not_wait() -> None:
    """The thread is woken; the interval here is an hour."""
    with running() as scene:
        for _ in range(1024):
            scene.pipeline.append(Record())
        eventually(lambda: len(scene.sending.bodies) == 2)
        assert scene.counts["delivered"] == 1024


def test_requests_are_bounded_by_count_and_by_bytes() -> None:
    """Whichever comes first."""
    with running(max_batch_bytes=100) as scene:
        for data in [b"a" * 60, b"b" * 60, b"c" * 250, b"d"]:
            scene.pipeline.append(Record(data))
        assert scene.pipeline.flush(5)
        assert [len(body) for body in scene.sending.bodies] == [120, 250, 1]


def test_flush_says_whether_everything_was_taken() -> None:
    """False, within its time, if the back end does not answer; then nothing is lost either."""
    outcomes = [Outcome(Verdict.LATER, "down")]
    with running(lambda body: outcomes.pop() if outcomes else DELIVERED) as scene:
        assert scene.pipeline.flush(1)
        scene.pipeline.append(Record())
        assert not scene.pipeline.flush(0.3)
        assert scene.counts == {"created": 1, "in_memory": 1}
        assert scene.pipeline.flush(5)
        assert scene.counts == {"created": 1, "delivered": 1}


def test_flush_is_false_when_something_was_refused() -> None:
    """The ring is empty then, but nothing has arrived."""
    with running(lambda body: Outcome(Verdict.REFUSED, "HTTP 400")) as scene:
        scene.pipeline.append(Record())
        assert not scene.pipeline.flush(5)
        assert scene.counts == {"created": 1, "refused": 1}


def test_flush_and_close_are_bounded_while_the_back_end_hangs() -> None:
    """The caller's time, not the sender's; what is held is said to be held."""
    release = Event()

    def hang(body: bytes) -> Outcome:
        release.wait(20)
        return DELIVERED

    scene = Scene(Sending(hang))
    scene.pipeline.append(Record())
    started = time.monotonic()
    assert not scene.pipeline.flush(0.2)
    assert not scene.pipeline.close(0.2)
    assert time.monotonic() - started < 2
    assert scene.counts == {"created": 1, "in_memory": 1}
    release.set()
    eventually(lambda: scene.counts.get("delivered") == 1)
    assert scene.sending.closed.wait(5)


def test_closing_delivers_what_is_left_and_later_records_are_counted_as_dropped() -> None:
    """Nothing is sent after the end."""
    with running() as scene:
        scene.pipeline.append(Record())
        assert scene.pipeline.close(5)
        assert scene.sending.closed.wait(5)
        scene.pipeline.append(Record())
        assert scene.counts == {"created": 2, "delivered": 1, "after_shutdown": 1}
        assert not scene.pipeline.flush(1)


def test_a_pipeline_that_was_never_used_closes_at_once() -> None:
    """Without a thread."""
    scene = Scene(Sending())
    assert scene.pipeline.close(5)
    assert scene.pipeline.close(5)


def test_a_record_that_cannot_be_encoded_costs_only_itself() -> None:
    """One that changes while it is read gets a second look."""
    failures = [RuntimeError("dictionary changed size during iteration")]

    def changing() -> None:
        if failures:
            raise failures.pop()

    with running() as scene:
        for record in (Record(b"a"), Record(b""), Record(b"b", changing)):
            scene.pipeline.append(record)
        scene.pipeline.flush(5)
        assert scene.sending.bodies == [b"ab"]
        assert scene.counts == {"created": 3, "delivered": 2, "unencodable": 1}


def test_a_burst_larger_than_the_ring_arrives_whole() -> None:
    """A loop that makes records faster than they are delivered lets the delivery thread have its turns."""

    def encode(record: Record) -> bytes:
        return b"".join([record.data for _ in range(20)])[:1]  # as long as a span takes

    with running() as scene:
        scene.pipeline._encode = encode
        for _ in range(6000):
            sum(range(100))  # as long as making a span takes
            scene.pipeline.append(Record())
        assert scene.pipeline.flush(20)
        assert scene.counts == {"created": 6000, "delivered": 6000}


def test_a_back_end_that_hangs_slows_nobody_down() -> None:
    """P3: once the turns given are used up, an overflowing ring costs next to nothing again."""
    release = Event()

    def hang(body: bytes) -> Outcome:
        release.wait(60)
        return DELIVERED

    with running(hang) as scene:
        for _ in range(6000):
            scene.pipeline.append(Record())
        started = time.perf_counter()
        for _ in range(10_000):
            scene.pipeline.append(Record())
        assert time.perf_counter() - started < 1.0  # 0.1 ms each would be what a wait costs
        release.set()


@pytest.mark.gate
def test_accounts_are_exact_under_32_threads_with_overflow_and_refusals() -> None:
    """R1: created = delivered + held + dropped, and the back end has exactly what is said to be delivered."""
    count = 0

    def moody(body: bytes) -> Outcome:
        nonlocal count
        count += 1
        if count % 7 == 0:
            return Outcome(Verdict.REFUSED, "HTTP 400")
        if count % 5 == 0 and len(body) > 1:
            return Outcome(Verdict.TOO_LARGE, "HTTP 413")
        return DELIVERED

    small = replace(SLOW, max_queue_size=200, max_export_batch_size=50)
    with running(moody, small) as scene:

        def append() -> None:
            for _ in range(2000):
                scene.pipeline.append(Record())

        threads = [Thread(target=append) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        scene.pipeline.close(20)
        counts = scene.counts
        assert counts["created"] == 64000
        assert not {"waiting", "in_memory", "on_disk"} & set(counts)
        assert counts["queue_full"] > 0
        assert sum(map(len, scene.sending.bodies)) == counts["delivered"]


def test_a_forked_child_starts_anew_and_sends_only_its_own() -> None:
    """The parent's records stay the parent's; the child's thread starts with the child's first record."""
    with running() as scene:
        for _ in range(5):
            scene.pipeline.append(Record(b"p"))
        scene.pipeline.flush(5)
        scene.pipeline.append(Record(b"p"))
        child = os.fork()
        if child == 0:
            scene.sending.bodies.clear()
            fresh = scene.counts == {}
            scene.pipeline.append(Record(b"c"))
            sent = scene.pipeline.flush(5) and scene.sending.bodies == [b"c"]
            os._exit(0 if fresh and sent and scene.counts == {"created": 1, "delivered": 1} else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert scene.pipeline.flush(5)
        assert scene.sending.bodies == [b"ppppp", b"p"]
        assert scene.counts == {"created": 6, "delivered": 6}


def test_forking_under_load_never_hangs_a_child() -> None:
    """Whatever locks other threads held, the child's are new."""
    with running(batch=replace(SLOW, max_queue_size=100, max_export_batch_size=10)) as scene:
        stop = Event()

        def append() -> None:
            while not stop.is_set():
                scene.pipeline.append(Record())

        threads = [Thread(target=append) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(20):
                child = os.fork()
                if child == 0:
                    scene.pipeline.append(Record())
                    os._exit(0 if scene.pipeline.flush(10) else 1)
                assert os.waitpid(child, 0)[1] == 0
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def test_records_are_settled_and_encoded_on_the_delivery_thread() -> None:
    """Not on the thread that made them."""
    threads: list[int] = []
    prepared: list[int] = []
    with running(prepare_thread=lambda: prepared.append(get_ident())) as scene:
        scene.pipeline.append(Record(settle=lambda: threads.append(get_ident())))
        scene.pipeline.flush(5)
    assert threads == prepared
    assert threads != [get_ident()]


def test_what_is_not_due_yet_is_on_the_disk_within_a_second(tmp_path: Path) -> None:
    """R3: a process that is killed loses no more; sent, it leaves nothing behind."""
    with running(folder=tmp_path) as scene:
        scene.pipeline.append(Record())
        eventually(lambda: scene.counts.get("on_disk") == 1, timeout=2)
        assert scene.pipeline.flush(5)
        assert scene.counts == {"created": 1, "delivered": 1}
    assert list(tmp_path.glob("*/*")) == []


def test_full_batches_never_touch_the_disk_while_the_back_end_answers(tmp_path: Path) -> None:
    """P2: the normal case."""
    with running(folder=tmp_path) as scene:
        for _ in range(3):
            for _ in range(1024):
                scene.pipeline.append(Record())
            eventually(lambda: not scene.parts.account.held)
        assert list(tmp_path.iterdir()) == []


def test_a_thread_with_nothing_to_do_sleeps_until_the_next_record(tmp_path: Path) -> None:
    """No ticks: only the look for what dead processes left is to come."""
    with running(batch=replace(SLOW, schedule_delay=20), folder=tmp_path) as scene:
        for _ in range(2):
            scene.pipeline.append(Record())
            eventually(lambda: not scene.parts.account.held)
            eventually(lambda: (scene.pipeline._pause() or 0) > 1)
        assert scene.counts == {"created": 2, "delivered": 2}


def test_a_back_end_that_hangs_does_not_make_the_ring_overflow(tmp_path: Path) -> None:
    """While it is waited for, what comes is encoded and written."""
    with (
        scripted(hang) as server,
        running(batch=replace(SLOW, max_queue_size=200, max_export_batch_size=50), folder=tmp_path) as scene,
    ):
        sender = Sender(replace(settings(server.url), timeout=60), proxies={})
        scene.parts.courier._sender = sender
        made = 0
        while made < 1000:
            for _ in range(50):
                scene.pipeline.append(Record())
            made += 50
            eventually(lambda: len(scene.pipeline._ring) < 50)
        assert server.requests
        eventually(lambda: scene.counts == {"created": 1000, "on_disk": 1000})
        started = time.monotonic()
        assert not scene.pipeline.close(1.0)
        assert time.monotonic() - started < 1.1
        assert scene.counts == {"created": 1000, "on_disk": 1000}


def test_flush_keeps_its_time_while_the_back_end_hangs() -> None:
    """Ten per cent more or less."""
    with scripted(hang) as server, running() as scene:
        scene.parts.courier._sender = Sender(replace(settings(server.url), timeout=60), proxies={})
        scene.pipeline.append(Record())
        started = time.monotonic()
        assert not scene.pipeline.flush(1.0)
        assert 0.9 <= time.monotonic() - started <= 1.1
        scene.pipeline.close(0.5)


def test_what_is_left_at_the_end_is_for_the_next_start(tmp_path: Path) -> None:
    """Whoever comes next delivers it, once."""
    with running(lambda body: Outcome(Verdict.LATER, "down"), folder=tmp_path) as first:
        for _ in range(700):
            first.pipeline.append(Record(b"1"))
        assert not first.pipeline.close(5)
        assert first.counts == {"created": 700, "on_disk": 700}
    with running(folder=tmp_path) as second:
        second.pipeline.append(Record(b"2"))
        assert second.pipeline.flush(5)
        assert b"".join(second.sending.bodies).count(b"1") == 700
        assert second.counts == {"created": 701, "taken_over": 700, "delivered": 701}
    assert list(tmp_path.glob("*/*")) == []


def test_a_durable_append_returns_when_the_record_is_on_the_disk(tmp_path: Path) -> None:
    """R3: with `always` nothing is lost; many threads share one write."""
    with running(lambda body: Outcome(Verdict.LATER, "down"), folder=tmp_path, durable=True) as scene:
        early = []

        def append() -> None:
            for _ in range(20):
                scene.pipeline.append(Record())
                if scene.parts.accounts.of("traces").waiting > 16:
                    early.append(1)

        threads = [Thread(target=append) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not early
        assert scene.counts == {"created": 320, "on_disk": 320}
        assert scene.parts.spool is not None
        assert scene.parts.spool.held < 320


def test_errors_are_given_up_last() -> None:
    """Of a ring that overflows."""
    small = replace(SLOW, max_queue_size=100, max_export_batch_size=100)
    scene = Scene(Sending(), small, has_errors=lambda records: any(record.data == b"e" for record in records))
    scene.pipeline._worker.start = scene.pipeline._worker.rouse = lambda: True  # type: ignore[method-assign]
    for number in range(1000):
        scene.pipeline.append(Record(b"e" if number % 100 == 0 else b"x"))
    scene.pipeline._take()
    shipment = scene.parts.outbox.take(fresh=True)
    assert shipment is not None
    assert shipment.body.count(b"e") == 10
    assert shipment.parts[0][1].important
