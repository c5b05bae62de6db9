"""`capture_error` without Sentry: the span, the log, and never twice."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from otel_forge import guard
from otel_forge.errortracking import capture_error
from otel_forge.sdk.tracer import LeanTracer, LeanTracerProvider


@pytest.fixture
def spans() -> list[Any]:
    """Spans that have ended."""
    return []


@pytest.fixture
def tracer(spans: list[Any]) -> LeanTracer:
    """Makes spans that end up in `spans`."""
    return LeanTracerProvider(spans.append, Resource({})).get_tracer("t")


def raised(error: BaseException) -> BaseException:
    """Return `error` with a traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


def test_the_span_is_marked(tracer: LeanTracer, spans: list[Any]) -> None:
    """With an event that has component and context, and the status ERROR."""
    with tracer.start_as_current_span("request"):
        assert capture_error(raised(ValueError("bad")), component="AssetService", asset_id=7, parts=["a"]) is None
    [span] = spans
    [event] = span.events
    assert (span.status_code, span.status_description) == (2, "ValueError: bad")
    assert event.name == "exception"
    assert (
        event.attributes.items()
        >= {
            "exception.type": "ValueError",
            "exception.message": "bad",
            "component": "AssetService",
            "asset_id": 7,
            "parts": "['a']",
        }.items()
    )


def test_the_log_has_one_record_of_the_component(caplog: pytest.LogCaptureFixture) -> None:
    """With the exception and the context as fields; the component is `unknown` unless given."""
    error = raised(ValueError("bad"))
    capture_error(error, asset_id="7")
    [record] = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == ("unknown", logging.ERROR, "ValueError: bad")
    assert record.exc_info is not None and record.exc_info[1] is error
    assert vars(record)["otel_forge_fields"] == {"asset_id": "7"}


def test_the_same_exception_is_captured_once(
    tracer: LeanTracer, spans: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Captured twice and then raised out of the block, it is one record and one event; the outer span has its own."""
    raises, in_span = pytest.raises(ValueError, match="bad"), tracer.start_as_current_span
    with raises, in_span("outer"), in_span("inner"):
        try:
            raise ValueError("bad")
        except ValueError as error:
            capture_error(error)
            capture_error(error, component="again")
            raise
    assert [(span.name, len(span.events)) for span in spans] == [("inner", 1), ("outer", 1)]
    assert len(caplog.records) == 1


def test_equal_exceptions_are_different_ones(caplog: pytest.LogCaptureFixture) -> None:
    """What counts is the object."""
    for _ in range(3):
        capture_error(ValueError("bad"))
    assert len(caplog.records) == 3


def test_strange_exceptions_are_captured(caplog: pytest.LogCaptureFixture) -> None:
    """Frozen ones, those without words, and what is no exception at all; nothing raises."""

    @dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    not_an_error: Any = "it broke"
    frozen = Frozen(7)
    for error in (frozen, frozen, Silent(), KeyboardInterrupt(), not_an_error):
        capture_error(error)
    assert [record.getMessage() for record in caplog.records] == [
        "Frozen: 7",
        "Silent: <exception str() failed>",
        "KeyboardInterrupt: ",
        "RuntimeError: it broke",
    ]


def test_context_may_have_any_name_and_value(tracer: LeanTracer, spans: list[Any]) -> None:
    """Names of log record attributes, and values that cannot be shown."""

    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    guard.set_strict(False)
    with tracer.start_as_current_span("request"):
        capture_error(ValueError("bad"), message="m", name="n", args=(1,), thing=Hostile())
    [event] = spans[0].events
    assert (event.attributes["message"], event.attributes["name"], event.attributes["args"]) == ("m", "n", "(1,)")
    assert event.attributes["thing"] == "<Hostile>"


def test_a_handler_that_raises_does_not_reach_the_application() -> None:
    """Logging is the application's; capturing an error is never another one."""

    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("disk full")

    guard.set_strict(False)
    logger, handler = logging.getLogger("Raising"), Raising()
    logger.addHandler(handler)
    try:
        assert capture_error(ValueError("bad"), component="Raising") is None
    finally:
        logger.removeHandler(handler)


@pytest.fixture(autouse=True)
def _only_what_is_captured(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Keep records of ERROR and above, whatever else logs."""
    with caplog.at_level(logging.ERROR):
        yield
