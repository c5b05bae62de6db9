"""Which instruments are offered, and what they are made of: bounded tables and headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import propagate
from opentelemetry.util.http import SanitizeValue, normalise_request_header_name

from otel_forge.instruments import INSTRUMENTS, is_offered
from otel_forge.instruments.bounded import Bounded
from otel_forge.instruments.carrier import EnvironGetter, extract
from otel_forge.instruments.core import MeterMetrics, scope
from otel_forge.instruments.differences import DIFFERENCES
from otel_forge.instruments.http import Headers
from otel_forge.sdk.current import SPAN_KEY


@pytest.mark.parametrize(
    ("opt_in", "offered"),
    [
        (("http", "database"), {"flask", "requests", "sqlite3", "logging", "threading"}),
        (("http",), {"flask", "requests", "logging", "threading"}),
        (("http/dup", "http", "database"), {"sqlite3", "logging", "threading"}),
        ((), {"logging", "threading"}),
    ],
)
def test_instruments_are_offered_for_stable_conventions_only(opt_in: tuple[str, ...], offered: set[str]) -> None:
    """Old and doubled conventions are left to upstream."""
    assert {name for name in INSTRUMENTS if is_offered(name, opt_in)} == offered
    assert not is_offered("django", opt_in)


def test_a_full_table_is_renewed_after_many_misses() -> None:
    """Until then it keeps what it has."""
    table = Bounded(2)
    for key in "abc":
        table.keep(key, key)
    assert set(table) == {"a", "b"}
    for key in "0123456789":
        table.keep(key, key)
    assert len(table) <= 2 and "a" not in table


HEX = "0123456789abcdef"
traceparents = st.one_of(
    st.builds(
        "{}-{}-{}-{}".format,
        st.sampled_from(["00", "01", "ff"]),
        st.text(HEX, min_size=32, max_size=32) | st.just("0" * 32),
        st.text(HEX, min_size=16, max_size=16) | st.just("0" * 16),
        st.text(HEX, min_size=2, max_size=2),
    ),
    st.text(max_size=60),
)
STATES = st.none() | st.sampled_from(["a=1", "a=1,b=2", "", "broken", "x=" + "y" * 520])


@given(traceparents, STATES, st.none() | st.just("tenant=blue"))
def test_extraction_agrees_with_the_propagators(parent: str, state: str | None, baggage: str | None) -> None:
    """The short way gives what the long way gives."""
    environ = {"HTTP_TRACEPARENT": parent}
    environ |= {} if state is None else {"HTTP_TRACESTATE": state}
    environ |= {} if baggage is None else {"HTTP_BAGGAGE": baggage}
    ours, theirs = extract(environ), propagate.extract(environ, getter=EnvironGetter())
    spans = [context.get(SPAN_KEY) for context in (ours, theirs)]
    shown = [span and (span.get_span_context(), span.get_span_context().trace_state) for span in spans]  # type: ignore[attr-defined]
    assert shown[0] == shown[1]
    assert ours.keys() == theirs.keys()


@given(
    st.dictionaries(st.sampled_from(["X-One", "X-Two", "Cookie", "Accept"]), st.text(max_size=5)),
    st.lists(st.sampled_from(["x-.*", "Cookie", ".*"]), min_size=1, max_size=2),
    st.lists(st.sampled_from(["cookie", "two"]), max_size=2),
)
def test_captured_headers_agree_with_upstream(
    headers: dict[str, str], captured: list[str], sanitized: list[str]
) -> None:
    """By regular expressions, whatever the case of the letters."""
    theirs = SanitizeValue(sanitized).sanitize_header_values(headers, captured, normalise_request_header_name)
    ours = Headers("request", captured, sanitized).attributes(headers.items())
    assert {key: list(value) for key, value in ours.items()} == theirs


def test_measurements_can_go_through_a_meter_provider() -> None:
    """For readers that know nothing of bound cells."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    metrics = MeterMetrics(MeterProvider([reader], shutdown_on_exit=False))
    who = scope("case", "")
    metrics.histogram("duration", "s", "", who, (1, 2)).bind({"a": 1}).record(1.5, 5, 6, 1)
    metrics.up_down_counter("active", "{request}", "", who).bind({"a": 1}).add(2)
    data = reader.get_metrics_data()
    assert data is not None
    found = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    duration: Any = found["duration"].data.data_points[0]
    active: Any = found["active"].data.data_points[0]
    assert (duration.count, duration.explicit_bounds, duration.exemplars[0].span_id) == (1, (1, 2), 6)
    assert (active.value, dict(active.attributes)) == (2, {"a": 1})


def test_the_documentation_lists_every_difference() -> None:
    """docs/pipelines.md and the table in the code say the same."""
    page = (Path(__file__).parents[2] / "docs/pipelines.md").read_text()
    rows = [f"| {d.name} | {d.instrument} | {d.upstream} | {d.ours} | {d.why} |" for d in DIFFERENCES]
    assert [row for row in rows if row not in page] == []
