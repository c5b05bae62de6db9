"""What is believed of a dependency, and how often it is asked: pure, so on no clock at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_forge.health.judgement import LONGEST_PAUSE, Judgement, Pace
from otel_forge.health.results import BADNESS, FAIL, PASS, WARN, Status

STATUSES = st.lists(st.sampled_from([PASS, WARN, FAIL]), max_size=40)


def believed(results: list[Status], fall: int = 3, rise: int = 2) -> list[Status | None]:
    """Return what is believed after each result."""
    judgement = Judgement(fall, rise)
    found: list[Status | None] = []
    for result in results:
        judgement.note(result)
        found.append(judgement.status)
    return found


@pytest.mark.parametrize("first", [PASS, WARN, FAIL])
def test_the_first_result_counts_at_once(first: Status) -> None:
    """Until then nothing is known, and a service that starts wants to be used."""
    assert believed([first]) == [first]


def test_three_failures_in_a_row_make_it_ill_and_two_successes_well() -> None:
    """Not two, and not one."""
    results: list[Status] = [PASS, FAIL, FAIL, FAIL, PASS, PASS]
    assert believed(results) == [PASS, PASS, PASS, FAIL, FAIL, PASS]


def test_results_that_come_and_go_change_nothing() -> None:
    """A success in between begins the count anew, and so does a failure while it is ill."""
    assert believed([PASS, FAIL, FAIL, PASS, FAIL, FAIL, PASS]) == [PASS] * 7
    assert believed([FAIL, PASS, FAIL, PASS, FAIL]) == [FAIL] * 5


def test_worse_results_of_different_kinds_count_together() -> None:
    """Warning, failure, failure: it is not well, and the last result says how bad it is."""
    assert believed([PASS, WARN, FAIL, FAIL]) == [PASS, PASS, PASS, FAIL]
    assert believed([FAIL, WARN, WARN, PASS, PASS]) == [FAIL, FAIL, WARN, WARN, PASS]


@given(STATUSES, st.integers(1, 5), st.integers(1, 5))
def test_a_change_always_has_enough_results_behind_it(results: list[Status], fall: int, rise: int) -> None:
    """Whatever comes: the last `fall` (`rise`) results are all worse (better) than what was believed before."""
    found = believed(results, fall, rise)
    for place in range(1, len(results)):
        before, after = found[place - 1], found[place]
        if before == after or before is None or after is None:
            continue
        is_worse = BADNESS[after] > BADNESS[before]
        last = results[place + 1 - (fall if is_worse else rise) : place + 1]
        assert len(last) == (fall if is_worse else rise) and last[-1] == after
        assert all((BADNESS[result] > BADNESS[before]) == is_worse and result != before for result in last)


@given(STATUSES, st.floats(0.1, 600))
def test_pauses_stay_within_bounds(results: list[Status], interval: float) -> None:
    """Never shorter than a fifth of the interval, never longer than it or half a minute, give or take a tenth."""
    judgement, pace = Judgement(3, 2), Pace(interval)
    for result in results:
        judgement.note(result)
        pause = pace.pause(judgement, result)
        assert interval * 0.2 * 0.9 <= pause <= max(interval, LONGEST_PAUSE) * 1.1


def test_what_is_ill_is_asked_ever_less_often() -> None:
    """Ten seconds, twenty, then every thirty: one call at a time; a success is followed up soon."""
    judgement, pace = Judgement(3, 2), Pace(10.0, uniform=lambda low, high: 1.0)
    pauses = []
    for result in [PASS, FAIL, FAIL, FAIL, FAIL, FAIL, FAIL, PASS, PASS, FAIL]:
        judgement.note(result)
        pauses.append(pace.pause(judgement, result))
    assert pauses == [10, 2, 2, 10, 20, 30, 30, 2, 10, 2]
