"""Progress of a build is told in lines a person can follow, on a terminal and in a log."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from otel_forge.stack.engine_progress import (
    BuildProgress,
    ProgressText,
    duration_text,
    estimate_text,
    progress_line,
)

LOKI = BuildProgress(
    "loki", "3.7.8", "compiling", done=612, total=1480, elapsed=190.0, compiling_for=170.0, position=4, count=6
)


def test_compiling_says_what_how_far_and_how_long() -> None:
    assert progress_line(LOKI) == "building loki 3.7.8 (4/6)  612/1480 packages  3m10s, about 4m left"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"step": "fetching", "done": 31}, "building loki 3.7.8 (4/6)  fetching modules, 31 so far  3m10s"),
        ({"step": "fetching", "done": 0}, "building loki 3.7.8 (4/6)  preparing  3m10s"),
        ({"step": "linking"}, "building loki 3.7.8 (4/6)  linking  3m10s"),
        ({"step": "ready"}, "ready    loki 3.7.8 (4/6)  3m10s"),
        ({"step": "waiting"}, "waiting  loki 3.7.8 (4/6)  another build of it is running  3m10s"),
        ({"done": 3}, "building loki 3.7.8 (4/6)  3/1480 packages  3m10s"),
    ],
)
def test_every_step_has_its_own_line(change: dict[str, object], line: str) -> None:
    assert progress_line(replace(LOKI, **change)) == line  # type: ignore[arg-type]


def test_remaining_time_follows_the_pace_of_compiling_only() -> None:
    halfway = replace(LOKI, done=100, total=200, elapsed=500.0, compiling_for=60.0)
    assert halfway.remaining == 60.0


def test_no_estimate_before_the_pace_says_something() -> None:
    assert replace(LOKI, done=1).remaining is None
    assert replace(LOKI, done=0, total=0).remaining is None


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (59.9, "59s"), (60, "1m00s"), (3725, "1h02m")])
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(3, "10s"), (44, "40s"), (60, "1m"), (245, "4m")])
def test_estimates_are_no_more_exact_than_they_are(seconds: float, text: str) -> None:
    assert estimate_text(seconds) == f"about {text} left"


def test_log_gets_one_line_per_interval_and_one_per_step() -> None:
    stream = io.StringIO()
    now = [0.0]
    show = ProgressText(stream, interval=5.0, clock=lambda: now[0])
    for moment, done in ((0.0, 1), (1.0, 2), (4.9, 3), (5.0, 400), (6.0, 500)):
        now[0] = moment
        show(replace(LOKI, done=done))
    show(replace(LOKI, step="linking"))
    show(replace(LOKI, step="ready"))
    lines = stream.getvalue().splitlines()
    assert [line.split("  ")[1] for line in lines[:3]] == ["1/1480 packages", "400/1480 packages", "linking"]
    assert lines[3].startswith("ready")
    assert len(lines) == 4


def test_terminal_gets_one_line_that_is_rewritten_and_ends_when_ready() -> None:
    stream = io.StringIO()
    show = ProgressText(stream, terminal=True)
    show(LOKI)
    show(replace(LOKI, done=700))
    show(replace(LOKI, step="ready"))
    written = stream.getvalue()
    assert written.count("\r\x1b[K") == 3
    assert written.count("\n") == 1
    assert written.endswith("ready    loki 3.7.8 (4/6)  3m10s\n")
