"""Console and JSON: the same fields, one record one line, nothing that steers a terminal."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext

from otel_forge.logs.console_view import ConsoleView
from otel_forge.logs.describe import Describer
from otel_forge.logs.escaping import escaped, json_escaped
from otel_forge.logs.json_view import JsonView
from otel_forge.logs.record import FIELDS

INJECTIONS = {
    "line feed": "ok\n2026-01-01T00:00:00Z INFO forged",
    "carriage return": "ok\rforged",
    "crlf": "ok\r\nforged",
    "vertical tab, form feed": "ok\x0bforged\x0cforged",
    "separators of files and records": "ok\x1cforged\x1dforged\x1eforged",
    "next line": "ok\x85forged",
    "line separator": "ok\u2028forged",
    "paragraph separator": "ok\u2029forged",
    "colours": "\x1b[31mred\x1b[0m",
    "clear the screen": "\x1b[2J\x1b[H",
    "title": "\x1b]0;owned\x07",
    "link": "\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\",
    "eight-bit CSI and OSC": "\x9b31m\x9d0;owned\x9c",
    "backspace": "admin\x08\x08\x08\x08\x08root",
    "nul": "ok\x00forged",
    "delete": "ok\x7f",
    "bidi": "\u202egnp.exe \u2066x\u2069 \u200f\u061c",
    "byte order mark": "\ufeffok",
    "tags": "ok\U000e0041\U000e007f",
    "lone surrogates": "ok\udfff\udc80 \ud800",
}
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
console = ConsoleView(Describer("s"), colour=False)
as_json = JsonView(Describer("s"))


def record_of(text: str) -> logging.LogRecord:
    """Return a record that has `text` wherever a caller can put it."""
    record = logging.LogRecord(text, 20, "", 0, f"{text} %s", (text,), None)
    record.__dict__[FIELDS] = {"field": text, text: 1, "nested": {text: [text]}}
    return record


def failure(text: str) -> logging.LogRecord:
    """Return a record of an exception whose text is `text`."""
    try:
        raise ValueError(text)
    except ValueError as error:
        return logging.LogRecord("shop", 40, "", 0, "failed", None, (type(error), error, error.__traceback__))


@pytest.mark.gate
@pytest.mark.parametrize("text", INJECTIONS.values(), ids=INJECTIONS.keys())
def test_s3_one_record_is_one_line_without_control_characters(text: str) -> None:
    """S3: in every view, wherever the text stands, and it can be encoded; JSON gives the text back as it was."""
    for line in (console.line(record_of(text)), as_json.line(record_of(text)), as_json.line(failure(text))):
        assert UNSAFE.search(line) is None and len(line.splitlines()) == 1
        line.encode()
    read = json.loads(as_json.line(record_of(text)))
    assert (read["context"], read["message"], read["data"]["field"]) == (text, f"{text} {text}", text)
    assert json.loads(as_json.line(failure(text)))["error"]["message"] == text


@pytest.mark.gate
@pytest.mark.parametrize("text", INJECTIONS.values(), ids=INJECTIONS.keys())
def test_s3_a_traceback_on_the_console_forges_no_record(text: str) -> None:
    """S3: its lines are indented and have no control character in them."""
    first, *others = console.line(failure(text)).split("\n")
    assert others and all(line.startswith("    ") for line in others)
    assert [line for line in (first, *others) if UNSAFE.search(line)] == []


STARTED = "WARNING: This is a development server.\n * Running on http://127.0.0.1:5000"


def test_the_address_of_werkzeugs_server_has_a_line_of_its_own() -> None:
    """It is what the developer looks for; colours of werkzeug's are taken off, and the line is no record."""
    record = logging.LogRecord("werkzeug", 20, "", 0, f"\x1b[31m{STARTED}\x1b[0m", None, None)
    first, second = console.line(record).split("\n")
    assert first.endswith("WARNING: This is a development server.")
    assert second == "     * Running on http://127.0.0.1:5000"
    assert json.loads(as_json.line(record))["message"] == STARTED


@pytest.mark.gate
@pytest.mark.parametrize("text", INJECTIONS.values(), ids=INJECTIONS.keys())
def test_s3_no_text_in_a_line_of_werkzeugs_forges_a_record(text: str) -> None:
    """S3: whatever comes after a line feed is indented, and no line has a control character."""
    record = logging.LogRecord("werkzeug", 20, "", 0, 'GET "%s"', (text,), None)
    first, *others = console.line(record).split("\n")
    assert all(line.startswith("    ") for line in others)
    assert [line for line in (first, *others) if UNSAFE.search(line)] == []


def test_a_trace_id_that_the_message_says_is_not_repeated() -> None:
    """JSON has it as a field all the same."""
    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False))
    with trace.use_span(span):
        line = console.line(logging.makeLogRecord({"msg": f"slow (trace {0xABC:032x})"}))
        other = console.line(logging.makeLogRecord({"msg": "slow"}))
        read = json.loads(as_json.line(logging.makeLogRecord({"msg": f"slow (trace {0xABC:032x})"})))
    assert (line.count(f"{0xABC:032x}"), line.count("trace_id=")) == (1, 0)
    assert f"trace_id={0xABC:032x}" in other
    assert read["trace_id"] == f"{0xABC:032x}"


@given(st.text(st.characters(codec=None)))
def test_json_means_the_same_after_escaping(text: str) -> None:
    """For any text at all."""
    document = json.dumps({text: text}, ensure_ascii=False)
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # halves side by side are one
    assert json.loads(json_escaped(document)) == {whole: whole}
    assert UNSAFE.search(json_escaped(document)) is None and UNSAFE.search(escaped(text)) is None


def test_text_of_any_script_stays_readable() -> None:
    """Escapes are for what is dangerous only."""
    text = "Größe 大小 حجم 👩‍🚀"
    assert escaped(text) == text and text in as_json.line(record_of(text))


def described(**more: Any) -> logging.LogRecord:
    """Return a record with a known time."""
    record = logging.LogRecord("AssetService", 30, "", 0, "Slow asset", None, None)
    record.created = 1_700_000_000.25
    record.__dict__[FIELDS] = {
        "asset_id": "123",
        "note": "two words",
        "empty": "",
        "parts": [1, "a"],
        "ok": True,
        **more,
    }
    return record


def test_the_console_without_colours() -> None:
    """As it stands in a file or a pipe: the whole time, aligned, fields that can be told apart."""
    view = ConsoleView(Describer("s"), colour=False)
    assert view.line(described()) == (
        "2023-11-14T22:13:20.250000Z WARN  AssetService Slow asset                       "
        'asset_id=123 note="two words" empty="" parts=[1, "a"] ok=true'
    )


def test_the_console_with_colours() -> None:
    """The level in its colour, what is secondary faint, the time of day."""
    line = ConsoleView(Describer(), colour=True).line(described())
    assert line.startswith("\x1b[2m22:13:20.250Z\x1b[0m \x1b[33mWARN \x1b[0m \x1b[2mAssetService\x1b[0m \x1b[1mSlow")
    assert "\x1b[2masset_id=\x1b[0m123" in line


def test_contexts_are_aligned() -> None:
    """To the widest seen so far, within reason."""
    view = ConsoleView(Describer(), colour=False)
    lines = [view.line(logging.makeLogRecord({"name": name, "msg": "|"})) for name in ("aaaa", "a" * 60, "a")]
    assert [line.index("|") - len(lines[0].split(" NOTSET")[0]) for line in lines][0] < 20
    assert lines[2].index("|") == lines[0].index("|") + 20


def test_a_describer_that_fails_costs_no_record() -> None:
    """A line says that there was one."""

    def failing(record: logging.LogRecord) -> dict[str, Any]:
        raise RuntimeError("no")

    record = logging.makeLogRecord({"name": "shop", "levelname": "INFO", "levelno": 20, "created": 1.5})
    assert json.loads(JsonView(failing).line(record)) == {
        "timestamp": "1970-01-01T00:00:01.500000Z",
        "level": "INFO",
        "context": "shop",
        "message": "<this record cannot be written: RuntimeError>",
    }
    assert "<this record cannot be written: RuntimeError>" in ConsoleView(failing, colour=False).line(record)
