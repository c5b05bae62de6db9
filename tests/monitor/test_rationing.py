"""How often may be restarted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_forge.monitor.rationing import Ration


def ration(**options: float) -> Ration:
    return Ration(chance=lambda: 0.5, **options)  # type: ignore[arg-type]


@pytest.mark.gate
def test_the_fourth_restart_in_ten_minutes_is_not_made() -> None:
    """H3: nor any later one, however long one waits."""
    some = ration()
    for moment in (0.0, 100.0, 200.0):
        assert some.wait(moment) == 0
        some.take(moment)
    assert some.wait(599.0) is None
    assert some.wait(10_000.0) is None
    assert some.is_used_up


def test_restarts_of_long_ago_do_not_count() -> None:
    """One a quarter of an hour goes on for ever."""
    some = ration()
    assert [(some.wait(moment), some.take(moment)) for moment in (0.0, 900.0, 1800.0, 2700.0, 3600.0)] == [(0, 1)] * 5


def test_pauses_double() -> None:
    """2, 4 and 8 seconds, more or less."""
    some = ration(most=9)
    waits = []
    for number in range(3):
        assert some.take(100.0) == number + 1
        waits.append(some.wait(100.0))
    assert waits == [2, 4, 8]


def test_pauses_differ_between_instances() -> None:
    """By a factor from a half to one and a half."""
    shortest, longest = Ration(chance=lambda: 0.0), Ration(chance=lambda: 1.0)
    shortest.take(0.0)
    longest.take(0.0)
    assert (shortest.wait(0.0), longest.wait(0.0)) == (1, 3)


@given(st.lists(st.floats(0, 400), max_size=60), st.integers(1, 5))
def test_no_window_ever_has_more_restarts_than_allowed(pauses: list[float], most: int) -> None:
    """Whenever one asks."""
    some, now, taken = Ration(most), 0.0, []
    for pause in pauses:
        now += pause
        if some.wait(now) == 0:
            some.take(now)
            taken.append(now)
    assert all(sum(start <= one < start + 600 for one in taken) <= most for start in taken)
    assert all(
        later - earlier >= 1.0 for earlier, later in zip(taken, taken[1:], strict=False) if later - earlier < 600
    )
