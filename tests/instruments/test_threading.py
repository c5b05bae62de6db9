"""threading: threads, timers and executors go on in the context that they were started in."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread, Timer
from typing import Any

import pytest
from opentelemetry import baggage
from opentelemetry.context import attach, detach

from otel_forge.instruments.threading import ThreadingInstrument
from otel_forge.logs.context import context_fields, log_context
from otel_forge.sdk.current import current_context
from tests.instruments.conftest import Kept, Start


@pytest.fixture
def seen() -> list[Any]:
    """What was seen in other threads."""
    return []


@pytest.fixture(autouse=True)
def _on() -> Iterator[None]:
    instrument = ThreadingInstrument()
    instrument.instrument()
    yield
    instrument.uninstrument()


def fields() -> dict[str, Any]:
    return dict(context_fields())


class Worker(Thread):
    """A thread with a `run` of its own, which upstream's instrumentation does not reach."""

    def __init__(self, seen: list[Any]) -> None:
        super().__init__()
        self._seen = seen

    def run(self) -> None:
        self._seen.append(fields())


@pytest.mark.parametrize("kind", ["target", "subclass", "timer"])
def test_a_thread_goes_on_in_the_context_of_its_start(seen: list[Any], kind: str) -> None:
    """Whatever it overrides; the thread's own changes stay in it."""

    def note() -> None:
        seen.append(fields())

    threads: dict[str, Thread] = {
        "target": Thread(target=note),
        "subclass": Worker(seen),
        "timer": Timer(0, note),
    }
    thread = threads[kind]
    with log_context(request_id="r1"):
        thread.start()
    thread.join()
    assert seen == [{"request_id": "r1"}] and fields() == {}
    assert "run" not in vars(thread)


def test_baggage_goes_along(seen: list[Any]) -> None:
    """The whole OpenTelemetry context does."""
    token = attach(baggage.set_baggage("tenant", "blue"))
    thread = Thread(target=lambda: seen.append(baggage.get_baggage("tenant")))
    thread.start()
    thread.join()
    detach(token)
    assert seen == ["blue"]


def test_each_work_of_an_executor_has_the_context_of_its_submission() -> None:
    """Not that of the request in which the pool's thread happened to be started."""
    with ThreadPoolExecutor(1) as pool:
        with log_context(request_id="r1"):
            first = pool.submit(fields)
        second = pool.submit(fields)
        with log_context(request_id="r3"):
            third = list(pool.map(lambda _: fields(), range(2)))
        fourth = pool.submit(fields)
    assert [first.result(), second.result(), *third, fourth.result()] == [
        {"request_id": "r1"},
        {},
        {"request_id": "r3"},
        {"request_id": "r3"},
        {},
    ]


def test_work_fails_and_is_cancelled_as_ever() -> None:
    """Results, errors and arguments pass through."""

    def failing(number: int, *, word: str) -> None:
        raise ValueError(f"{number} {word}")

    with log_context(a=1), ThreadPoolExecutor(1) as pool:
        future = pool.submit(failing, 3, word="fn")
        assert str(future.exception()) == "3 fn"
        assert pool.submit(dict, fn=1, self=2).result() == {"fn": 1, "self": 2}


def test_coroutines_hand_over_to_their_executor() -> None:
    """`to_thread` and `run_in_executor` alike."""

    async def both() -> list[dict[str, Any]]:
        with log_context(a=1):
            loop = asyncio.get_running_loop()
            return [await asyncio.to_thread(fields), await loop.run_in_executor(None, fields)]

    assert asyncio.run(both()) == [{"a": 1}, {"a": 1}]


def test_a_thread_without_a_context_is_left_as_it_is(seen: list[Any]) -> None:
    """Nothing is wrapped; and one that is started twice fails as ever."""
    thread = Thread(target=lambda: seen.append(current_context()))
    thread.start()
    thread.join()
    assert seen == [{}]
    with log_context(a=1), pytest.raises(RuntimeError, match="once"):
        thread.start()
    assert "run" not in vars(thread)


def test_nothing_is_kept_alive() -> None:
    """A finished thread goes, and takes the context with it."""

    class Big:
        pass

    big = Big()
    gone = weakref.ref(big)
    ended = Event()
    with log_context(big=big):
        thread = Thread(target=ended.set)
        thread.start()
    thread.join()
    del big
    gc.collect()
    assert ended.is_set() and gone() is None


def test_it_is_taken_off_again() -> None:
    """The very functions are back, and a second activation does nothing."""
    start, submit = Thread.start, ThreadPoolExecutor.submit
    instrument = ThreadingInstrument()
    instrument.instrument()
    changed = Thread.start
    instrument.instrument()
    assert Thread.start is changed is not start
    instrument.uninstrument()
    assert (Thread.start, ThreadPoolExecutor.submit) == (start, submit)


@pytest.mark.gate
def test_l2_every_record_in_a_request_has_its_ids(start: Start, kept: Kept) -> None:
    """L2: in its thread, in threads that it starts, in executors, timers and coroutines."""
    start("logging")
    log = logging.getLogger("shop.l2")
    log.setLevel(logging.INFO)
    core = kept.core()
    with core.tracer("test", "").start_as_current_span("GET /") as span, ThreadPoolExecutor(2) as pool:
        log.info("itself")
        others = [Thread(target=log.info, args=("thread",)), Timer(0, log.info, ("timer",))]
        for other in others:
            other.start()
        for other in others:
            other.join()
        pool.submit(log.info, "executor").result()
        nested = pool.submit(lambda: pool.submit(log.info, "nested"))
        nested.result().result()
        asyncio.run(asyncio.to_thread(log.info, "coroutine"))
    expected = (span.get_span_context().trace_id, span.get_span_context().span_id)
    assert {record.body: (record.trace_id, record.span_id) for record in kept.logs} == dict.fromkeys(
        ("itself", "thread", "timer", "executor", "nested", "coroutine"), expected
    )
