"""One call of a check: on a thread of its own, whatever it does there."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace

from otel_forge.health.attempts import Attempt
from otel_forge.health.results import FAIL, PASS, TIMEOUT, WARN, Result
from otel_forge.sdk.current import SUPPRESSED, attach, context_with, current_context, detach


def outcome(function: Callable[[], Any], timeout: float = 5.0) -> Result:
    """Return what comes of a call."""
    over = threading.Event()
    attempt = Attempt("x", function, timeout, time.monotonic, over.set)
    assert over.wait(10)
    assert attempt.result is not None and 0 <= attempt.seconds < 10
    return attempt.result


def ending_with(error: BaseException) -> Callable[[], None]:
    """Return a check that raises."""

    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("answer", "status"), [(None, PASS), (True, PASS), (False, FAIL), (Result(WARN), WARN), (Result(FAIL), FAIL)]
)
def test_what_answers_mean(answer: object, status: str) -> None:
    """None and True are well, False is ill, a Result speaks for itself; so it is with coroutines."""

    async def later() -> object:
        return answer

    assert (outcome(lambda: answer).status, outcome(later).status) == (status, status)


def test_another_answer_is_a_failure_that_says_so() -> None:
    """A check that returns a count of rows has not said whether that is well."""
    assert outcome(lambda: 17) == Result(
        FAIL, "the check returned 'int' and not None, True, False or a Result.", reason="bad answer"
    )


@pytest.mark.parametrize("error", [ValueError("no such table"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_is_raised_is_a_failure(error: BaseException) -> None:
    """Even what would end a program."""
    assert outcome(ending_with(error)) == Result(FAIL, str(error), reason=type(error).__name__)


class Speechless(Exception):
    """One that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_exception_without_words_is_a_failure_like_any_other() -> None:
    """Else the call would never be over, and the check would be called no more."""
    assert outcome(ending_with(Speechless())) == Result(FAIL, "", reason="Speechless")


@pytest.mark.parametrize("observed", [float("nan"), float("inf"), "12 MB", None, [1]])
def test_a_measured_value_that_is_no_number_is_left_out(observed: Any) -> None:
    """JSON has no word for it."""
    assert outcome(lambda: Result(WARN, "much", observed, "MB")) == Result(WARN, "much", None, "MB")


def test_a_coroutine_that_takes_too_long_is_cancelled() -> None:
    """So its thread comes back."""
    ended: list[str] = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    result = outcome(hang, 0.05)
    assert (result.status, result.reason, ended) == (FAIL, TIMEOUT, ["cancelled"])


def test_a_timeout_of_the_dependency_counts_as_one() -> None:
    """That of a socket is the same class."""
    assert outcome(ending_with(TimeoutError("timed out"))) == Result(FAIL, "timed out", reason=TIMEOUT)


def test_a_call_belongs_to_no_request_and_makes_no_telemetry() -> None:
    """Not even if a request happened to start it."""
    seen: list[object] = []
    span = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))
    token = attach(context_with(span, current_context()))
    try:
        outcome(lambda: seen.append(trace.get_current_span()))
    finally:
        detach(token)
    assert seen == [SUPPRESSED]


def test_texts_are_clean_and_short() -> None:
    """A driver puts its connection string into its exceptions, and whole statements."""
    result = outcome(ending_with(ValueError("postgresql://app:hunter2-hunter2@db/x " + "y" * 1000)))
    assert "hunter2" not in result.detail and len(result.detail) <= 501


def test_a_process_without_room_for_threads_is_ill() -> None:
    """And goes on."""

    class Full(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    original, threading.Thread = threading.Thread, Full  # type: ignore[misc]
    try:
        attempt = Attempt("x", lambda: None, 1.0, time.monotonic, lambda: None)
    finally:
        threading.Thread = original  # type: ignore[misc]
    assert attempt.result == Result(FAIL, "can't start new thread", reason="no thread")


def test_a_result_of_another_status_is_an_error() -> None:
    """That names the ones there are."""
    with pytest.raises(ValueError, match="status='ok' is not one of pass, warn, fail"):
        Result("ok")  # type: ignore[arg-type]
