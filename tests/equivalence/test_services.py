"""Whole services through both pipelines: what arrives differs only where `DIFFERENCES` says so."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from otel_forge.instruments.differences import DIFFERENCES
from tests.equivalence.arrivals import APART, Arrivals
from tests.equivalence.callers import agent, is_sampled
from tests.equivalence.scenes import EVERYDAY, FAULTS, SCENES
from tests.equivalence.services import PIPELINES
from tests.equivalence.undone import UNDONE, undone

REQUESTS = {"asset_forge": EVERYDAY + sum(len(makers) for _, _, makers in FAULTS), "httpbin": EVERYDAY}
DIFFERING = {
    "asset_forge": set(UNDONE),
    "httpbin": {"name-without-route", "log-template"},
}
"""Which of the differences each scene shows."""


@pytest.fixture(scope="module", params=SCENES)
def arrived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Arrivals, Arrivals]:
    """A scene, and what arrived of it through upstream and through ours; both run at the same time."""
    scene = request.param
    folders = [tmp_path_factory.mktemp(pipeline) for pipeline in PIPELINES]
    with ThreadPoolExecutor(len(PIPELINES)) as pool:
        theirs, ours = pool.map(SCENES[scene], PIPELINES, folders)
    return scene, theirs, ours


def test_all_that_arrives_is_equal_but_for_the_differences_on_purpose(arrived: tuple[str, Arrivals, Arrivals]) -> None:
    """Spans, logs, metrics and resources of each request, compared with the listed differences undone."""
    scene, through_upstream, through_lean = arrived
    expected, found = undone(through_upstream, through_lean)
    theirs, ours = expected["requests"], through_lean["requests"]
    wrong = {key: (theirs.get(key), ours.get(key)) for key in theirs | ours if theirs.get(key) != ours.get(key)}
    assert wrong == {}
    assert expected["metrics"] == through_lean["metrics"]
    assert expected["resources"] == through_lean["resources"]
    assert found == DIFFERING[scene]


def test_nothing_is_missing_on_both_sides(arrived: tuple[str, Arrivals, Arrivals]) -> None:
    """Each sampled request has one server span of the service it was sent to, one that is not has none."""
    scene, _, ours = arrived
    served = {key for key, found in ours["requests"].items() if any(_is_entry(span) for span in found["spans"])}
    expected = {agent(number) for number in range(REQUESTS[scene]) if is_sampled(number)}
    assert served - {APART} == expected


def _is_entry(span: dict[str, Any]) -> bool:
    return str(span["attributes"].get("user_agent.original", "")).startswith("equivalence/")


def test_every_difference_known_here_is_in_the_list() -> None:
    """What the docs print is all there is."""
    assert set(UNDONE) <= {difference.name for difference in DIFFERENCES}
    assert set().union(*DIFFERING.values()) == set(UNDONE)
