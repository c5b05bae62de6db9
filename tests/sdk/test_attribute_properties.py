"""Any sequence of attribute calls leaves a lean span with what it leaves upstream's span with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_forge.sdk.limits import UNLIMITED, RecordLimits
from tests.sdk.pairs import all_facts, both

scalars = st.one_of(
    st.text(max_size=8), st.integers(), st.floats(allow_nan=False), st.booleans(), st.none(), st.binary(max_size=4)
)
keys: Any = st.one_of(st.sampled_from(["a", "b", "c", "d", ""]), st.sampled_from([0, 1, 2.5, None, True]))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.tuples(inner), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=5,
)
mappings = st.dictionaries(keys, values, max_size=6)
calls = st.one_of(
    st.tuples(st.just("set_attribute"), keys, values),
    st.tuples(st.just("set_attributes"), mappings),
    st.tuples(st.just("add_event"), st.text(max_size=3), mappings),
)
limits = st.builds(
    RecordLimits,
    attributes=st.sampled_from([0, 1, 2, 3, 128, UNLIMITED]),
    attribute_length=st.sampled_from([0, 3, UNLIMITED]),
    events=st.sampled_from([0, 1, 2, 128, UNLIMITED]),
    event_attributes=st.sampled_from([0, 1, 2, 128, UNLIMITED]),
)


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@given(mappings, st.lists(calls, max_size=8), limits)
def test_attributes_end_as_with_upstream(given_ones: Any, steps: list[Any], chosen: RecordLimits) -> None:
    """Keys, values, order and the counts of what was dropped, with limits of all sizes."""

    def run(tracer: Any) -> None:
        with tracer.start_as_current_span("span", attributes=given_ones) as span:
            for name, *arguments in steps:
                getattr(span, name)(*arguments)

    upstream, lean = both(run, limits=chosen)
    assert list(all_facts(lean)) == list(all_facts(upstream))
