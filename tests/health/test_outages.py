"""An hour of outage, a dependency that hangs, one that flickers: on a compressed clock."""

from __future__ import annotations

import pytest

from otel_forge.health.judgement import LONGEST_PAUSE
from otel_forge.health.results import FAIL, PASS, TIMEOUT, Result
from tests.health.simulated import HANGS, Simulation

HOUR = 3600.0


@pytest.mark.gate
def test_an_hour_of_outage_is_one_fall_and_one_rise() -> None:
    """H3: ill within half a minute, asked at most every thirty seconds meanwhile, well soon after it is back."""
    down, up = 1000 + 600.0, 1000 + 600 + HOUR
    simulation = Simulation(lambda now: not down <= now < up)
    simulation.run(600 + HOUR + 600)
    assert [status for _, status in simulation.changes] == [PASS, FAIL, PASS]
    fell, rose = simulation.changes[1][0], simulation.changes[2][0]
    assert fell - down <= 10 + 2 * 2
    assert rose - up <= LONGEST_PAUSE + 2
    during = [call for call in simulation.calls if fell < call.started < up]
    assert len(during) <= HOUR / LONGEST_PAUSE + 3
    assert simulation.watched.known.status == PASS and simulation.watched.known.has_passed


def test_a_dependency_that_hangs_for_an_hour_is_called_once_more_when_it_is_back() -> None:
    """One call hangs on; meanwhile each time another would be due counts as a failure, and none is made."""
    simulation = Simulation(lambda now: HANGS if now >= 1100 else True)
    simulation.run(100 + HOUR)
    hanging = [call for call in simulation.calls if call.result is None]
    assert len(hanging) == 1 and simulation.watched.is_hung
    assert simulation.watched.known.status == FAIL
    assert simulation.watched.known.result is not None and simulation.watched.known.result.reason == TIMEOUT
    simulation.answer = lambda now: True
    before = len(simulation.calls)
    simulation.run(HOUR)
    assert len(simulation.calls) == before, "its thread has not come back"
    hanging[0].result = Result(PASS)
    simulation.run(60)
    assert simulation.watched.known.status == PASS and not simulation.watched.is_hung


def test_a_late_answer_does_not_count() -> None:
    """It was judged when its time was over."""
    simulation = Simulation(lambda now: HANGS)
    simulation.run(1.5)
    assert simulation.changes == [(1001.0, FAIL)]
    simulation.calls[0].result = Result(PASS)
    simulation.run(0.1)
    assert simulation.watched.known.status == FAIL


def test_one_failure_in_three_takes_nothing_out() -> None:
    """A lossy network for an hour: believed well all the time."""
    simulation = Simulation(lambda now: True)
    simulation.answer = lambda now: len(simulation.calls) % 3 != 2
    simulation.run(HOUR)
    assert simulation.changes == [(1000.0, PASS)]


def test_a_healthy_dependency_is_called_once_in_an_interval() -> None:
    """However often probes come: they have nothing to do with it."""
    simulation = Simulation(lambda now: True)
    simulation.run(HOUR)
    assert len(simulation.calls) == HOUR / 10 + 1
