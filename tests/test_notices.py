"""Notices: single lines on standard error, rationed."""

from __future__ import annotations

import io
import sys

import pytest

from otel_forge.notices import Rationed, notice


def test_a_notice_is_one_prefixed_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Everything we say can be told from the application's own output."""
    notice("hello")
    assert capsys.readouterr().err == "otel-forge: hello\n"


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_a_missing_or_closed_stream_is_no_error(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None) -> None:
    """Under pythonw or after a daemon closed its streams nothing can be said, and nothing happens."""
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    notice("hello")


def test_rationed_says_one_line_in_an_interval() -> None:
    """Whatever happens between two lines is silent; the line is composed only when it is said."""
    said: list[str] = []
    now = [100.0]
    rationed = Rationed(60, say=said.append, clock=lambda: now[0])
    assert rationed(lambda: "first")
    now[0] += 59
    assert not rationed(lambda: pytest.fail("composed in vain"))
    now[0] += 1
    assert rationed(lambda: "second")
    assert said == ["first", "second"]
