"""The plan of the traffic: the same for a seed, and right about what the target's router will say."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
from asset_forge.traffic import TARGETS, Request, Target, planned_requests
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException

SAMPLE = 3000


def sample(target: Target, seed: int, count: int = SAMPLE) -> list[Request]:
    """Return the first requests of an endless plan."""
    return [planned.request for planned in islice(planned_requests(target, seed), count)]


def matched_rule(app: Flask, request: Request) -> str | None:
    """Return the rule that an application's router finds for a request."""
    adapter = app.url_map.bind("127.0.0.1")
    path, _, query = request.path.partition("?")
    try:
        rule, _ = adapter.match(path, request.method, return_rule=True, query_args=query)
    except HTTPException:
        return None
    return str(rule.rule)


@pytest.fixture(params=sorted(TARGETS))
def target(request: pytest.FixtureRequest) -> Target:
    """Each target that traffic can be made for."""
    return TARGETS[request.param]


def test_the_same_seed_plans_the_same_sequence(target: Target) -> None:
    """Requests, phases and gaps are equal for equal seeds, and others for another seed."""
    one, two, other = (list(islice(planned_requests(target, seed), 500)) for seed in (7, 7, 8))
    assert one == two
    assert [planned.request for planned in one] != [planned.request for planned in other]


def test_every_route_of_the_asset_plan_is_the_routers(api: Flask) -> None:
    """What the ledger will call a route is what Flask calls it; None where Flask finds none."""
    requests = sample(TARGETS["asset-forge"], 1)
    assert [request.route for request in requests] == [matched_rule(api, request) for request in requests]


def test_every_route_of_the_httpbin_plan_is_the_routers() -> None:
    """The same holds for an application that we did not write."""
    from httpbin import core  # type: ignore[import-untyped]  # slow to import, and only this test needs it

    requests = sample(TARGETS["httpbin"], 1)
    assert [request.route for request in requests] == [matched_rule(core.app, request) for request in requests]


def test_the_asset_plan_visits_every_rule(api: Flask) -> None:
    """No endpoint is left without traffic, and requests without a route are there, too."""
    visited = {request.route for request in sample(TARGETS["asset-forge"], 1)}
    assert visited == {rule.rule for rule in api.url_map.iter_rules()} | {None}


@given(seed=st.integers(), limit=st.integers(1, 2000))
def test_a_limit_is_kept_exactly(seed: int, limit: int) -> None:
    """There are never more or fewer requests than asked for, numbered from 0."""
    planned = list(planned_requests(TARGETS["asset-forge"], seed, limit))
    assert [entry.number for entry in planned] == list(range(limit))


def test_a_limited_plan_still_has_every_phase() -> None:
    """A short run has all the phases in it, in proportion."""
    target = TARGETS["asset-forge"]
    phases = Counter(planned.phase.name for planned in planned_requests(target, 7, 200))
    assert set(phases) == {phase.name for phase in target.cycle}
    assert phases["steady"] > 100


def test_a_traceparent_is_sent_only_when_wanted() -> None:
    """With trace, every request carries a valid parent of its own; without, none does."""
    target = TARGETS["asset-forge"]
    with_trace = [dict(planned.request.headers) for planned in planned_requests(target, 7, 50, trace=True)]
    assert len({headers["traceparent"] for headers in with_trace}) == 50
    assert all(len(headers["traceparent"]) == 55 for headers in with_trace)
    plain = planned_requests(target, 7, 50)
    assert not any("traceparent" in dict(planned.request.headers) for planned in plain)
