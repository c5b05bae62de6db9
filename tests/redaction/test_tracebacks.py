"""Texts with tracebacks in them: what is remembered of them, and what never is."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest

from otel_forge.redaction.policy import Policy
from otel_forge.redaction.rules import Rules
from otel_forge.redaction.tracebacks import Tracebacks
from tests.corpus import secrets


def traceback_of(fail: Callable[[], Any]) -> str:
    try:
        fail()
    except Exception:
        return traceback.format_exc()
    raise AssertionError("it did not fail")


def failing_with(message: str) -> str:
    def fail() -> None:
        try:
            raise KeyError(message)
        except KeyError as error:
            raise RuntimeError(f"because of {message}") from error

    return traceback_of(fail)


def test_frames_that_are_known_to_be_clean_are_not_looked_through_again() -> None:
    """Only the lines that differ are."""
    seen: list[str] = []

    def redact(text: str) -> str:
        seen.append(text)
        return text

    tracebacks = Tracebacks(redact)
    first, second = failing_with("item 1"), failing_with("item 2")
    assert tracebacks.redacted(first) is first
    before = len(seen)
    assert tracebacks.redacted(second) is second
    assert [text for text in seen[before:] if "File" in text] == []
    assert any("because of item 2" in text for text in seen[before:])
    assert tracebacks.redacted(second) is second
    assert len(seen) == before + 2


@pytest.mark.gate
def test_no_secret_leaves_in_a_traceback_however_often_the_place_is_seen() -> None:
    """S1: in the message, in what it came from, and each time it comes."""
    policy = Policy()
    policy.text(failing_with("nothing special"))
    for secret in secrets():
        text = failing_with(secret.text)
        assert secret.value not in policy.text(text), secret
        assert secret.value not in policy.text(text), secret


def test_a_secret_in_a_source_line_is_replaced_and_counted_each_time() -> None:
    """Frames with one are never remembered."""
    policy = Policy()
    text = (
        "Traceback (most recent call last):\n"
        + '  File "app.py", line 1, in <module>\n' * 10
        + '    connect("postgresql://shop:hunter2hunter2@db/shop")\nValueError: no\n'
    )
    for times in (1, 2, 3):
        assert "hunter2" not in policy.text(text)
        assert sum(policy.counts.values()) == times


def test_the_users_patterns_see_a_traceback_as_a_whole() -> None:
    """They may be about several lines."""
    import re

    policy = Policy(Rules(patterns={"own": re.compile(r"File[^\n]*\n[^\n]*\nRuntimeError: [a-z ]+")}))
    text = (
        "Traceback (most recent call last):\n"
        + '  File "app.py", line 1, in f\n    f()\n' * 10
        + "RuntimeError: alas\n"
    )
    assert "alas" not in policy.text(text)
