"""The corpus through the encoders of all signals: attributes, events, links, bodies, exemplars, resources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_forge import redaction
from otel_forge.otlp.attributes import fixed_attributes
from otel_forge.otlp.encode_logs import encode_logs
from otel_forge.otlp.encode_metrics import encode_metrics
from otel_forge.otlp.encode_spans import encode_spans
from otel_forge.otlp.envelope import EncodedResource
from otel_forge.redaction import Policy
from tests.corpus import Secret, secrets
from tests.otlp.generated import NO_LIMITS, Log, Span

SCOPE = InstrumentationScope("tests")
RESOURCE = Resource({"service.name": "tests"})
NOW = 1_795_435_200_000_000_000


def _left(encoded: bytes, corpus: list[Secret]) -> list[str]:
    return [secret.name for secret in corpus if secret.needle.encode() in encoded]


def _attributes(secret: Secret) -> dict[str, Any]:
    return {
        secret.key or "note": secret.value,
        "text": secret.text,
        "list": [secret.text],
        "data": secret.text.encode(),
    }


def _statement(secret: Secret) -> str:
    literal = secret.value.replace("'", "''")
    return f"SELECT '{literal}' FROM t"


@pytest.fixture(params=["straight", "carefully"])
def odd(request: pytest.FixtureRequest, policy: Policy) -> dict[str, Any]:
    """Attributes that leave a record to the straight encoder, or that only the careful one can encode."""
    return {} if request.param == "straight" else {"odd": 1 << 70}


@pytest.fixture(autouse=True)
def _fresh(policy: Policy) -> Iterator[None]:
    yield


def test_spans_hold_no_secret(odd: dict[str, Any]) -> None:
    """Name, attributes, shared attributes, events, links, trace state and status."""
    corpus = secrets()
    spans = [
        Span(
            f"GET {secret.text}",
            2,
            1 + number,
            2 + number,
            start_time=NOW,
            end_time=NOW + 1,
            attributes={**_attributes(secret), **odd},
            fixed=fixed_attributes({"shared": secret.text, "db.query.text": _statement(secret)}),
            events=[
                (secret.text, NOW, {"exception.stacktrace": f"ValueError: {secret.text}\n", **_attributes(secret)})
            ],
            links=[(3, 4, 1, None, _attributes(secret), False)],
            status_code=2,
            status_description=secret.text,
            scope=SCOPE,
        )
        for number, secret in enumerate(corpus)
    ]
    encoded = encode_spans(spans, EncodedResource(RESOURCE), NO_LIMITS)
    assert _left(encoded, corpus) == []
    assert encoded.count(b"[REDACTED:") > 8 * len(corpus)


def test_log_records_hold_no_secret(odd: dict[str, Any]) -> None:
    """Text and structured bodies, attributes, event names."""
    corpus = secrets()
    records = [
        Log(NOW, NOW, body=body, attributes={**_attributes(secret), **odd}, event_name=secret.text, scope=SCOPE)
        for secret in corpus
        for body in (secret.text, {"message": secret.text, secret.key or "note": [secret.value]})
    ]
    encoded = encode_logs(records, EncodedResource(RESOURCE), NO_LIMITS)
    assert _left(encoded, corpus) == []
    assert encoded.count(b"[REDACTED:") > 8 * len(corpus)


def test_metrics_hold_no_secret(odd: dict[str, Any]) -> None:
    """Attributes of points of all kinds, and those that only an exemplar has."""
    corpus = secrets()
    numbers: list[Any] = []
    histograms: list[Any] = []
    for secret in corpus:
        attributes = {**_attributes(secret), **odd}
        exemplars = [Exemplar(attributes, 1.0, NOW, 5, 6)]
        numbers.append(NumberDataPoint(attributes, NOW, NOW, 1, exemplars))
        histograms.append(HistogramDataPoint(attributes, NOW, NOW, 1, 1.0, (1,), (), 1.0, 1.0, exemplars))
    cumulative = AggregationTemporality.CUMULATIVE
    metrics = [
        Metric("a", "", "", Sum(numbers, cumulative, True)),
        Metric("b", "", "", Gauge(numbers)),
        Metric("c", "", "", Histogram(histograms, cumulative)),
    ]
    data = MetricsData([ResourceMetrics(RESOURCE, [ScopeMetrics(SCOPE, metrics, "")], "")])
    encoded = encode_metrics(data)
    assert _left(encoded, corpus) == []
    assert encoded.count(b"[REDACTED:") > 8 * len(corpus)


def test_resources_hold_no_secret() -> None:
    """Command lines are where secrets of a process are."""
    corpus = secrets()
    resource = Resource(
        {
            "process.command_args": ["app", "--db-password", "hunter2hunter2", *(secret.text for secret in corpus)],
            "process.command_line": "app --api-key hunter2hunter2",
        }
    )
    head = EncodedResource(resource).head
    assert _left(head, corpus) == []
    assert b"hunter2" not in head


def test_a_secret_that_comes_again_is_counted_again_and_kept_nowhere(policy: Policy) -> None:
    """What holds no secret is encoded from the tables; a secret never gets into one."""
    span = Span("a", 1, 1, 1, start_time=NOW, end_time=NOW, attributes={"password": "hunter2"}, scope=SCOPE)
    for _ in range(3):
        encode_spans([span], EncodedResource(RESOURCE), NO_LIMITS)
    assert policy.counts == {"password": 3}


def test_rules_added_later_apply_to_what_was_encoded_before(policy: Policy) -> None:
    """Tables and shared attributes are forgotten when the policy changes."""
    fixed = fixed_attributes({"badge": "B-12345"})
    attributes = {"text": "badge B-12345"}
    span = Span("B-12345", 1, 1, 1, start_time=NOW, end_time=NOW, attributes=attributes, fixed=fixed, scope=SCOPE)
    assert encode_spans([span], EncodedResource(RESOURCE), NO_LIMITS).count(b"B-12345") == 3
    redaction.add(patterns={"badge": r"B-\d{5}"})
    encoded = encode_spans([span], EncodedResource(RESOURCE), NO_LIMITS)
    assert encoded.count(b"B-12345") == 0
    assert encoded.count(b"[REDACTED:badge]") == 3
