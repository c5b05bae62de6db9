"""From what a condition says to what people are told: the state machine, with a clock of its own."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from otel_forge.alerts.rule import AlertRule
from otel_forge.alerts.states import CALM, FLAPPING, RECENTLY, STATES, Change, Phase, step

MINUTE = 60.0


def rule(**options: float) -> AlertRule:
    return AlertRule("Queue", bool, **options)  # type: ignore[arg-type]


def told(rule: AlertRule, answers: Sequence[bool | None], every: float = MINUTE) -> list[tuple[int, Change]]:
    """Return at which evaluation people are told what."""
    phase, changes = Phase(), []
    for number, answer in enumerate(answers):
        phase, change = step(phase, answer, number * every, rule)
        if change is not None:
            changes.append((number, change))
    return changes


def test_an_alert_fires_once_and_is_resolved_once() -> None:
    """However long it lasts."""
    assert told(rule(), [False, True, True, True, False, False]) == [(1, "firing"), (4, "resolved")]


def test_a_condition_has_to_hold_for_its_time() -> None:
    """In between it is pending; if it does not hold, nobody hears of it."""
    assert told(rule(for_=120), [True, True, False, True, True, True, True]) == [(5, "firing")]
    phase, change = step(Phase(), True, 0.0, rule(for_=120))
    assert (phase.state, change) == ("pending", None)


def test_an_alert_is_resolved_when_it_has_been_well_for_its_time() -> None:
    """One good minute in a bad hour is not the end of it."""
    answers = [True, False, True, False, False, False, False]
    assert told(rule(keep_firing_for=120), answers) == [(0, "firing"), (5, "resolved")]


def test_what_goes_on_is_told_again_at_its_time_and_not_before() -> None:
    """Cool-down: every `repeat` seconds; never with 0."""
    assert told(rule(repeat=300), [True] * 12) == [(0, "firing"), (5, "repeated"), (10, "repeated")]
    assert told(rule(repeat=0), [True] * 1000) == [(0, "firing")]


def test_what_cannot_be_evaluated_changes_nothing() -> None:
    """It neither fires nor is it well: no data is no good news."""
    assert told(rule(), [None, True, None, None, False]) == [(1, "firing"), (4, "resolved")]
    assert told(rule(for_=180), [True, None, None, True]) == [(3, "firing")]


def test_a_flapping_alert_is_resolved_when_it_has_been_calm() -> None:
    """From the third time within an hour on it has to be well for ten minutes."""
    changes = told(rule(), [True, False] * 10 + [False] * 20)
    assert [change for _, change in changes] == ["firing", "resolved"] * FLAPPING
    last_bad, resolved = 18, changes[-1][0]
    assert (resolved - last_bad - 1) * MINUTE == CALM


def test_a_resolved_alert_is_inactive_after_an_hour() -> None:
    """Until then `otel-forge alerts list` shows that there was something."""
    phase = Phase("resolved", since=0.0)
    assert step(phase, False, RECENTLY - 1, rule())[0].state == "resolved"
    assert step(phase, False, RECENTLY, rule())[0].state == "inactive"


def test_a_phase_can_be_moved_to_another_clock() -> None:
    """As after a restart of the machine: the distances stay."""
    phase = Phase("firing", since=50.0, well_since=90.0, said=50.0, fired=(10.0, 50.0))
    assert phase.moved(-40.0) == Phase("firing", since=10.0, well_since=50.0, said=10.0, fired=(-30.0, 10.0))
    assert Phase().moved(5.0).well_since is None


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([True, False, None]), st.floats(0.5, 600)), max_size=300),
    st.floats(0, 600),
    st.floats(0, 600),
    st.floats(60, 7200),
)
def test_whatever_happens_people_hear_a_story_that_makes_sense(
    answers: list[tuple[bool | None, float]], for_: float, keep_firing_for: float, repeat: float
) -> None:
    """Firing and resolved take turns, repetitions are in between and far apart, and no hour has many of them."""
    one = rule(for_=for_, keep_firing_for=keep_firing_for, repeat=repeat)
    phase, now, is_firing, last, fired = Phase(), 0.0, False, 0.0, []
    for answer, seconds in answers:
        now += seconds
        before = phase
        phase, change = step(phase, answer, now, one)
        assert phase.state in STATES
        assert (phase.state == "firing") == (is_firing if change in (None, "repeated") else change == "firing")
        if answer is None:
            assert (phase, change) == (before, None)
        if change == "firing":
            assert not is_firing and answer is True
            fired.append(now)
        elif change == "repeated":
            assert is_firing and answer is True and now - last >= repeat
        elif change == "resolved":
            assert is_firing and answer is False
        if change is not None:
            is_firing, last = change != "resolved", now
    for start in fired:
        within = [time for time in fired if start <= time < start + RECENTLY]
        assert len(within) <= FLAPPING + RECENTLY / CALM
