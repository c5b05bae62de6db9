"""One description of a record, whatever the application logs."""

from __future__ import annotations

import logging
import queue
from datetime import datetime, timezone
from decimal import Decimal
from logging.handlers import QueueHandler
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext

from otel_forge.logs.context import log_context
from otel_forge.logs.describe import Describer, Stamp, timestamp
from otel_forge.logs.logger import ForgeLogger
from otel_forge.logs.values import plain_fields

SPAN = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False))
IDS = {"trace_id": f"{0xABC:032x}", "span_id": f"{0xDEF:016x}"}


def test_the_whole_description(logger: ForgeLogger, records: list[logging.LogRecord]) -> None:
    """The handbook's fields, in order, and nothing that is empty."""
    with trace.use_span(SPAN), log_context(request_id="r1"):
        logger.warning("Loading %s", "asset", asset_id="123")
        records[0].created = 1_700_000_000.25
        described = Describer("asset-forge")(records[0])
    assert list(described.items()) == [
        ("timestamp", "2023-11-14T22:13:20.250000Z"),
        ("level", "WARN"),
        ("context", "shop"),
        ("message", "Loading asset"),
        ("data", {"request_id": "r1", "asset_id": "123"}),
        ("trace_id", IDS["trace_id"]),
        ("span_id", IDS["span_id"]),
        ("service", "asset-forge"),
    ]
    assert list(Describer()(logging.makeLogRecord({"msg": "m"}))) == ["timestamp", "level", "context", "message"]


def test_an_error_has_name_message_and_stack(logger: ForgeLogger, records: list[logging.LogRecord]) -> None:
    """The stack is the interpreter's own text."""
    try:
        raise ValueError("no bread")
    except ValueError as error:
        logger.error("failed", exc_info=error)
    error_part = Describer()(records[0])["error"]
    assert (error_part["name"], error_part["message"]) == ("ValueError", "no bread")
    assert error_part["stack"].startswith("Traceback (most recent call last):\n")
    assert error_part["stack"].endswith("ValueError: no bread")


def test_arguments_that_do_not_fit_stand_behind_the_template() -> None:
    """Nothing raises and nothing is lost."""
    record = logging.LogRecord("shop", 20, "", 0, "total %d", ("twelve",), None)
    message = "total %d [arguments do not fit: ['twelve']; TypeError]"
    assert Describer()(record)["message"] == message


def test_the_colours_of_the_development_server_are_left_out() -> None:
    """They are werkzeug's own; those in messages of others are not touched."""
    line = "\x1b[31m\x1b[1mGET /x HTTP/1.1\x1b[0m 404"
    messages = [
        Describer()(logging.LogRecord(name, 20, "", 0, line, None, None))["message"] for name in ("werkzeug", "w")
    ]
    assert messages == ["GET /x HTTP/1.1 404", line]


class Hostile:
    """An object that cannot be printed."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Hostile(), "<Hostile cannot be printed: RuntimeError>"),
        (float("nan"), "nan"),
        (1 << 5000, "<int of 5001 bits>"),
        (b"caf\xc3\xa9 \xff", "café \\xff"),
        ({1: {2}}, {"1": [2]}),
        ((1, [None, True]), [1, [None, True]]),
        (datetime(2026, 1, 2, tzinfo=timezone.utc), "2026-01-02T00:00:00+00:00"),
        (Decimal("3.50"), "3.50"),
        (ValueError("no"), "ValueError: no"),
    ],
)
def test_any_value_becomes_plain_data(value: Any, plain: Any) -> None:
    """What JSON cannot hold is written as text."""
    assert plain_fields({"field": value}) == {"field": plain}


def test_structures_end() -> None:
    """One that contains itself, one that is too deep, one that is too long."""
    circle: list[Any] = []
    circle.append(circle)
    assert plain_fields({"field": circle}) == {"field": ["<list that contains itself>"]}
    deep: Any = "bottom"
    for _ in range(5000):
        deep = {"d": deep}
    assert "too deep" in str(plain_fields({"field": deep}))
    long = plain_fields({"field": list(range(5000))})["field"]
    assert len(long) == 1001 and long[-1] == "… [cut, 5,000 items]"


def test_long_texts_are_cut_and_say_so() -> None:
    """Message, field and traceback; the word at the cut goes with the rest."""
    record = logging.LogRecord("shop", 20, "", 0, "word " * 2_000_000, None, None)
    message = Describer(longest=1000)(record)["message"]
    assert message == "word " * 199 + "word… [cut, 10,000,000 characters]"
    assert len(plain_fields({"field": "x" * 10_000_000})["field"]) < 66_000


class Upper:
    """Stands for redaction: what it has seen is in capitals."""

    def text(self, text: str) -> str:
        return text.upper()

    def value(self, key: str, value: Any) -> Any:
        return f"{key}!"


def test_every_text_passes_the_redactor(logger: ForgeLogger, records: list[logging.LogRecord]) -> None:
    """Message, logger, fields, error and stack."""
    try:
        raise ValueError("secret")
    except ValueError:
        logger.exception("message", stack_info=True, password=[1])
    described = Describer("s", Upper())(records[0])
    texts = [described["context"], described["message"], described["stack"], *described["error"].values()]
    assert [text for text in texts if text != text.upper()] == []
    assert described["data"] == {"password": "password!"}


def test_a_record_that_crosses_a_queue_keeps_where_it_was_made(logger: ForgeLogger) -> None:
    """With `Stamp` on the queue's handler."""
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = QueueHandler(waiting)
    handler.addFilter(Stamp())
    logger.logger.addHandler(handler)
    with trace.use_span(SPAN), log_context(request_id="r1"):
        logger.info("queued", asset_id=1)
    described = Describer()(waiting.get())
    assert described["data"] == {"request_id": "r1", "asset_id": 1}
    assert {"trace_id": described["trace_id"], "span_id": described["span_id"]} == IDS


@given(st.floats(0, 4e9, allow_nan=False))
def test_timestamps_are_iso_8601(created: float) -> None:
    """To the microsecond, and readable by Python itself."""
    text = timestamp(created)
    read = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    assert abs(read.timestamp() - created) < 2e-6


recursive: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), recursive))
def test_whatever_is_logged_can_be_described(fields: dict[str, Any]) -> None:
    """And no field is lost."""
    assert plain_fields(fields).keys() >= {name for name in fields if len(name) <= 256}
