"""Which lines somebody wants to see, and their order."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_forge.logs.describe import timestamp
from otel_forge.logs.files.entries import (
    Entry,
    Selection,
    SelectionError,
    by_time,
    entry_of,
    pattern_from,
    since_from,
    time_in,
    trace_id_from,
)
from tests.logs.files.conftest import NOON

TRACE = "0af7651916cd43dd8448eb211c80319c"


def line(**fields: object) -> bytes:
    return json.dumps({"timestamp": "2026-11-23T12:00:00.000001Z", **fields}).encode()


@given(st.floats(min_value=1, max_value=4e9))
def test_the_time_of_a_line_is_read_as_it_was_written(moment: float) -> None:
    """To the microsecond, as our JSON view writes it."""
    read = time_in(json.dumps({"timestamp": timestamp(moment), "level": "INFO"}))
    assert read == pytest.approx(moment, abs=2e-6)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T12:00:00Z up",
        "2026-11-23 12:00:00,000 up",
        "ts=2026-11-23T13:00:00+01:00 up",
        "2026-11-23T07:00:00.000-0500 up",
        "2026-11-23T08:30:00-03:30 up",
        "2026-11-23T17:30:00+05:30 up",
    ],
)
def test_times_of_other_loggers_are_read(text: str) -> None:
    """With their zone, or as UTC."""
    assert time_in(text) == NOON


@pytest.mark.parametrize("text", ["", "no time", "2026-13-45T99:00:00Z", f"{'x' * 300} 2026-11-23T12:00:00Z"])
def test_a_line_without_a_time_has_none(text: str) -> None:
    """A time far from the start is part of the message."""
    assert time_in(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", NOON - 600),
        ("1.5h", NOON - 5400),
        ("30s", NOON - 30),
        ("2d", NOON - 172800),
        ("1w", NOON - 604800),
        ("2026-11-23T11:00:00Z", NOON - 3600),
        ("2026-11-23T11:00:00", NOON - 3600),
        ("2026-11-23 12:00:00+01:00", NOON - 3600),
        ("2026-11-23", NOON - 43200),
    ],
)
def test_since_takes_durations_and_times(text: str, expected: float) -> None:
    """A time without a zone is UTC, as those in the lines are."""
    assert since_from(text, NOON) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "10", "10 minutes ago", "-5m", "2026-11-31", "2026-11-23T25:00:00Z"])
def test_since_says_what_it_takes(text: str) -> None:
    """With what was given."""
    with pytest.raises(SelectionError, match=re.escape(f"'{text}' is no time: a duration such as 30s")):
        since_from(text, NOON)


def test_a_bad_expression_is_explained() -> None:
    """By the words of the expression compiler."""
    with pytest.raises(SelectionError, match=r"'\(' is no regular expression: missing \), unterminated subpattern"):
        pattern_from("(")


@pytest.mark.parametrize("text", ["abc", "0" * 32, TRACE[:-1], TRACE + "0", "g" * 32])
def test_a_bad_trace_id_is_explained(text: str) -> None:
    """All zeros are no trace id either (W3C Trace Context)."""
    with pytest.raises(SelectionError, match="is no trace id, which is 32 hexadecimal digits"):
        trace_id_from(text)


def test_a_trace_id_may_be_in_capitals() -> None:
    """Some viewers show it so."""
    assert trace_id_from(f" {TRACE.upper()} ") == TRACE


@pytest.mark.parametrize(
    ("selection", "wanted", "unwanted"),
    [
        (Selection(), [line(level="DEBUG"), b"text", b""], []),
        (Selection(trace_id=TRACE), [line(trace_id=TRACE)], [line(trace_id=TRACE[::-1]), b"text"]),
        (
            Selection(errors=True, is_error_text=lambda text: text.startswith("E")),
            [line(level="ERROR"), line(level="FATAL"), line(level="critical"), b"E text"],
            [line(level="WARN", message="an ERROR"), line(), b"text", b"[1]"],
        ),
        (
            Selection(pattern=re.compile('said "yes"')),
            [line(message='he said "yes"'), b'said "yes"'],
            [line(message="said yes"), b"{not json"],
        ),
        (Selection(since=NOON), [line(), b"without a time"], [b"2026-11-23T11:59:59Z earlier"]),
    ],
)
def test_selections(selection: Selection, wanted: list[bytes], unwanted: list[bytes]) -> None:
    """Of lines that are JSON, and of others."""
    assert [selection.keeps(one) for one in wanted] == [True] * len(wanted)
    assert [selection.keeps(one) for one in unwanted] == [False] * len(unwanted)


def at(second: int | None, source: str, number: int) -> Entry:
    stamp = "" if second is None else datetime.fromtimestamp(second, timezone.utc).isoformat().replace("+00:00", "Z")
    return Entry(source, f"{stamp} {number}")


@given(st.lists(st.lists(st.none() | st.integers(0, 50)), max_size=4))
def test_merging_loses_nothing_and_keeps_the_order_of_each_log(batches: list[list[int | None]]) -> None:
    """And where every log is in order of time, so are all of them together."""
    logs = [[at(second, f"s{log}", number) for number, second in enumerate(batch)] for log, batch in enumerate(batches)]
    merged = by_time(logs)
    for log, entries in enumerate(logs):
        assert [entry for entry in merged if entry.source == f"s{log}"] == entries
    assert len(merged) == sum(map(len, logs))
    ordered = by_time(
        [sorted((entry for entry in log if entry.time is not None), key=lambda e: e.time or 0) for log in logs]
    )
    times = [entry.time or 0.0 for entry in ordered]
    assert times == sorted(times)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_entry(text: bytes) -> None:
    """Whatever somebody else has put into the file."""
    entry = entry_of("shop", text.replace(b"\n", b""))
    assert entry.source == "shop"
    assert entry.fields is None or isinstance(entry.fields, dict)


def test_deeply_nested_json_is_text() -> None:
    """A line may be an attack on the parser."""
    assert entry_of("shop", b'{"a":' * 100_000).fields is None
