"""What upstream encodes, we encode to the same message; ``python -m tests.otlp.long_fuzz`` asks the same at length."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind

from otel_forge.otlp.attributes import fixed_attributes
from otel_forge.settings import Limits
from tests.otlp import equality
from tests.otlp.generated import NO_LIMITS, Log, Span

_quick = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
RESOURCE = Resource({"service.name": "shop", "process.pid": 7, "list": ["a", "b"]}, "https://schema")
TRAPS: dict[str, Any] = {
    "integer": 1,
    "boolean": True,
    "double": 1.0,
    "text": "1",
    "bytes": b"1",
    "zero": 0,
    "false": False,
    "minus zero": -0.0,
    "empty": "",
    "none": None,
}


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    """Upstream complains about each odd key and value."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@_quick
@given(equality.span_batches)
def test_spans_are_the_same_message(batch: tuple[list[Span], Resource, Limits]) -> None:
    """Any spans, under any limits."""
    equality.assert_same_spans(*batch)


@_quick
@given(equality.log_batches)
def test_log_records_are_the_same_message(batch: tuple[list[Log], Resource, Limits]) -> None:
    """Any log records, under any limits."""
    equality.assert_same_logs(*batch)


@_quick
@given(equality.metric_batches)
def test_metrics_are_the_same_message(data: MetricsData) -> None:
    """Any points of any kind, with exemplars."""
    equality.assert_same_metrics(data)


def test_values_that_python_calls_equal_do_not_stand_for_each_other() -> None:
    """``True == 1 == 1.0``: under one key, in any order, first from nothing and then from what is kept."""
    values = list(TRAPS.values())
    spans = [Span(attributes={"key": value}) for value in values + values[::-1]]
    equality.assert_same_spans(spans, RESOURCE, NO_LIMITS)
    equality.assert_same_logs([Log(attributes={"key": value}, body=value) for value in values * 2], RESOURCE, NO_LIMITS)


def test_a_key_set_again_over_a_fixed_one_becomes_the_youngest() -> None:
    """As in upstream's BoundedAttributes."""
    fixed = fixed_attributes({"a": 1, "b": 2, "c": 3})
    for limit in (128, 3, 2, 1, 0):
        limits = Limits(limit, None, 128, 128, 128, 128, 128, None)
        equality.assert_same_spans([Span(fixed=fixed, attributes={"b": 5, "d": 6})], RESOURCE, limits)


@pytest.mark.parametrize("length", [0, 1, 5, 6, 7])
def test_a_limit_of_text_reaches_fixed_attributes(length: int) -> None:
    """What was encoded without a limit is not used where the limit would have cut it."""
    limits = Limits(128, length, 128, 128, 128, 128, 128, length)
    for mapping in ({"a": "sechs!"}, {"a": ["sechs!"]}, {"a": {"b": "sechs!"}}, {"a": 5}):
        equality.assert_same_spans([Span(fixed=fixed_attributes(mapping))], RESOURCE, limits)


def test_a_span_of_upstreams_kind_is_encoded_like_one_of_otlps() -> None:
    """The lean span keeps the API's enum."""
    kinds = [(kind.value + 1, kind) for kind in SpanKind]
    for number, kind in kinds:
        assert equality.spans_of([Span(kind=kind)]) == equality.spans_of([Span(kind=number)])


def test_equal_scopes_share_one_group_and_others_have_their_own() -> None:
    """A library that asks for its tracer at every request is one scope all the same."""
    scopes = [InstrumentationScope("a", "1"), InstrumentationScope("b", "1"), InstrumentationScope("a", "1"), None]
    spans = [Span(name=str(number), scope=scopes[number % 4]) for number in range(12)]
    equality.assert_same_spans(spans, RESOURCE, NO_LIMITS)


def test_nothing_is_an_empty_request() -> None:
    """No records, no resource."""
    equality.assert_same_spans([], RESOURCE, NO_LIMITS)
    equality.assert_same_logs([], RESOURCE, NO_LIMITS)
    equality.assert_same_metrics(MetricsData([]))
