"""Flood control: exact counts, nothing of ERROR and above, nothing twice."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest

from otel_forge.logs import flood
from otel_forge.logs.flood import FloodControl, Summary
from otel_forge.logs.logger import ForgeLogger
from tests.logs.conftest import Lines


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock at zero."""
    return Clock()


def messages(handler: Lines) -> list[str]:
    import json

    return [json.loads(line)["message"] for line in handler.written]


@pytest.mark.gate
def test_l3_a_flood_is_cut_and_counted(logger: ForgeLogger, lines: Callable[..., Lines], clock: Clock) -> None:
    """L3: the first pass, the number of the rest is said once, other templates and loggers are not touched."""
    counted: list[tuple[str, int]] = []
    control = FloodControl(3, 60, clock=clock, counted=lambda *what: counted.append(what))
    handler = lines(flood=control)
    for number in range(1237):
        logger.info("sold %d", number)
    logger.info("another")
    assert messages(handler) == ["sold 0", "sold 1", "sold 2", "another"]
    clock.now = 60
    control.flush()
    control.flush()
    assert messages(handler)[4:] == ["sold %d … 1,234 more of this in 60 s"]
    assert counted == [("shop", 1234)]
    logger.info("sold %d", 7)
    assert messages(handler)[5:] == ["sold 7"]


@pytest.mark.gate
def test_l3_errors_always_pass(logger: ForgeLogger, lines: Callable[..., Lines]) -> None:
    """L3: ERROR and CRITICAL of a template that is being cut, all of them."""
    handler = lines(flood=FloodControl(1, 60))
    for _ in range(500):
        logger.warning("failing")
        logger.error("failing")
        logger.critical("failing")
    assert len(handler.written) == 1001


@pytest.mark.gate
def test_l3_counts_are_exact_under_threads(logger: ForgeLogger, lines: Callable[..., Lines]) -> None:
    """L3: what passed and what is said to be suppressed is what was logged."""
    control = FloodControl(10, 60)
    handler = lines(flood=control)

    def log() -> None:
        for _ in range(500):
            logger.info("loop")

    threads = [Thread(target=log) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    control.flush(everything=True)
    assert len(handler.written) == 11 and "3,990 more" in handler.written[-1]
    assert control.suppressed == 3990


def test_several_views_get_the_same_answer(logger: ForgeLogger, lines: Callable[..., Lines]) -> None:
    """A record counts once, however many ask, and also as a filter on a handler of others."""
    control = FloodControl(2, 60)
    first, second = lines(flood=control), lines()
    second.addFilter(control)
    for number in range(5):
        logger.info("n %d", number)
    control.flush(everything=True)
    assert messages(first) == messages(second) == ["n 0", "n 1", "n %d … 3 more of this in 0 s"]


def test_the_next_record_after_the_window_says_it_too(
    logger: ForgeLogger, lines: Callable[..., Lines], clock: Clock
) -> None:
    """In front of itself, without waiting for anybody to look at the clock."""
    control = FloodControl(1, 10, clock=clock)
    handler = lines(flood=control)
    logger.info("a")
    logger.info("a")
    clock.now = 12
    logger.info("a")
    assert messages(handler) == ["a", "a … 1 more of this in 12 s", "a"]


def test_handlers_of_others_see_everything_and_no_summary(
    logger: ForgeLogger, lines: Callable[..., Lines], records: list[logging.LogRecord]
) -> None:
    """Flood control is ours."""
    control = FloodControl(1, 60)
    lines(flood=control)
    for _ in range(5):
        logger.info("a")
    control.flush(everything=True)
    assert len(records) == 5


def test_more_templates_than_can_be_told_apart_all_pass(
    logger: ForgeLogger, lines: Callable[..., Lines], clock: Clock
) -> None:
    """Texts that were formatted before they were logged fill no memory, and lose nothing."""
    control = FloodControl(1, 60, clock=clock)
    handler = lines(flood=control)
    for number in range(5000):
        logger.info(f"text {number}")
        logger.info(f"text {number}")
    assert len(handler.written) == 4096 + 2 * (5000 - 4096)
    assert len(control._windows) == 4096


def test_a_forked_child_counts_for_itself(logger: ForgeLogger, lines: Callable[..., Lines]) -> None:
    """What the parent suppressed is not said twice."""
    control = FloodControl(1, 60)
    handler = lines(flood=control)
    for _ in range(4):
        logger.info("a")
    child = os.fork()
    if child == 0:
        handler.written.clear()
        control.flush(everything=True)
        os._exit(len(handler.written))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    control.flush(everything=True)
    assert "3 more" in handler.written[-1]


@pytest.fixture
def current() -> Iterator[FloodControl]:
    """The control of this process."""
    control = FloodControl(2, 60)
    flood.set_current(control)
    yield control
    flood.set_current(None)


def test_telemetry_asks_as_well_and_is_told(logger: ForgeLogger, current: FloodControl) -> None:
    """One answer for each record, and one summary."""
    told: list[Any] = []
    stop = flood.listen(lambda logger, record: told.append((logger.name, record)))
    record = logging.makeLogRecord({"name": "shop", "msg": "a", "levelno": 20})
    assert [flood.is_admitted(record) for _ in range(5)] == [True] * 5
    others = [logging.makeLogRecord({"name": "shop", "msg": "a", "levelno": 20}) for _ in range(3)]
    assert [flood.is_admitted(other) for other in others] == [True, False, False]
    flood.say_what_is_left()
    stop()
    [(name, summary)] = told
    assert (name, type(summary), summary.suppressed) == ("shop", Summary, 2)
