"""What the gate does to a Sentry event: order, filters, link, sampling, redaction."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from otel_forge import guard
from otel_forge.errortracking import events
from otel_forge.errortracking.events import Gate, add_filter
from otel_forge.redaction.policy import Policy
from otel_forge.sdk.captured import captured
from otel_forge.sdk.tracer import LeanTracer, LeanTracerProvider

SECRET = "correct-horse-battery"
ID = "9ec79c33ec9942ab8353589fcb2e04dc"


@pytest.fixture
def tracer() -> LeanTracer:
    """Makes spans."""
    spans: list[Any] = []
    return LeanTracerProvider(spans.append, Resource({})).get_tracer("t")


@pytest.fixture(autouse=True)
def _own_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters that a test adds are gone after it."""
    monkeypatch.setattr(events, "_filters", [])


def hint(error: BaseException) -> dict[str, Any]:
    """Return the hint that Sentry gives with an exception."""
    return {"exc_info": (type(error), error, None)}


def test_redaction_comes_after_all_filters(tracer: LeanTracer) -> None:
    """The client's own before_send, then added filters in order; they see the link, and what they add is redacted."""
    order: list[str] = []

    def own(event: Any, hint: Any) -> Any:
        order.append("own")
        return {**event, "extra": {"seen": event["contexts"]["trace"]["trace_id"]}}

    @add_filter
    def first(event: Any, hint: Any) -> Any:
        order.append("first")
        return {**event, "message": f"password={SECRET}"}

    @add_filter
    def second(event: Any, hint: Any) -> Any:
        order.append("second")
        return event

    with tracer.start_as_current_span("request") as span:
        event = Gate(Policy, before=own).before_send({"message": "m"}, {})
    assert event is not None
    assert order == ["own", "first", "second"]
    assert SECRET not in event["message"]
    assert event["extra"]["seen"] == f"{span.get_span_context().trace_id:032x}"


def test_without_a_span_an_event_keeps_sentrys_ids() -> None:
    """There is nothing to link to."""
    event = {"contexts": {"trace": {"trace_id": "a" * 32}}}
    assert Gate(Policy).before_send(event, {}) == event


def test_where_the_application_lets_sentry_trace_its_ids_stay(tracer: LeanTracer) -> None:
    """Ours stand beside them."""
    theirs = {"trace_id": "a" * 32, "span_id": "b" * 16}
    with tracer.start_as_current_span("request") as span:
        event = Gate(Policy, owns_trace=False).before_send({"contexts": {"trace": theirs}}, {})
    assert event is not None
    assert event["contexts"]["trace"] == theirs
    assert event["contexts"]["opentelemetry"]["span_id"] == f"{span.get_span_context().span_id:016x}"


def test_an_error_that_was_reported_is_not_reported_again() -> None:
    """By the log line that describes it, or by a framework that it passes through."""
    error = ValueError("bad")
    gate = Gate(Policy)
    assert gate.before_send({"event_id": ID}, hint(error)) is not None
    assert gate.sample({"event_id": ID}, hint(error)) == 1.0
    assert gate.before_send({"event_id": "f" * 32}, hint(error)) is None
    assert captured(error).event_id == ID


def test_network_errors_are_dropped_where_that_is_asked_for() -> None:
    """By the gate of our own client."""
    for drops in (True, False):
        gate = Gate(Policy, drops_network_errors=drops)
        assert (gate.before_send({}, hint(ConnectionResetError())) is None) is drops


def test_the_share_of_errors_is_that_of_traces(tracer: LeanTracer) -> None:
    """An error is kept exactly where TraceIdRatioBased keeps the trace."""
    from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

    ratio, gate, kept = TraceIdRatioBased(0.3), Gate(Policy, sample_rate=0.3), 0
    for number in range(300):
        with tracer.start_as_current_span("request") as span:
            trace_id = span.get_span_context().trace_id
            is_kept = gate.sample({"event_id": ID}, hint(ValueError(number))) == 1.0
            assert is_kept == (ratio.should_sample(None, trace_id, "s").decision is Decision.RECORD_AND_SAMPLE)
            assert ("sentry.event_id" in span.attributes) is is_kept  # type: ignore[attr-defined]
        kept += is_kept
    assert 50 < kept < 130


def test_a_clients_own_sampler_is_asked() -> None:
    """And its answer holds."""
    asked: list[Any] = []
    gate = Gate(Policy, sampler=lambda event, hint: asked.append(event) or 0.0)  # type: ignore[func-returns-value]
    assert gate.sample({"event_id": ID}, {}) == 0.0
    assert asked == [{"event_id": ID}]


def test_every_part_of_an_event_is_redacted() -> None:
    """Whatever Sentry calls it; names of packages, ids and numbers stay."""
    event: dict[str, Any] = {
        "event_id": ID,
        "timestamp": "2026-11-23T10:00:00Z",
        "level": "error",
        "modules": {"secretstorage": "3.3.3", "token-lib": "1.0"},
        "message": f"login with password={SECRET}",
        "logentry": {"formatted": f"Authorization: Bearer {SECRET}", "params": [f"token={SECRET}"]},
        "exception": {
            "values": [
                {
                    "type": "DatabaseError",
                    "value": f"postgresql://shop:{SECRET}@db/shop",
                    "stacktrace": {
                        "frames": [
                            {
                                "lineno": 7,
                                "context_line": f'    password = "{SECRET}"',
                                "pre_context": [f'api_key = "{SECRET}"'],
                                "vars": {"password": f"'{SECRET}'", "config": {"api_key": f"'{SECRET}'"}, "n": "1"},
                            }
                        ]
                    },
                }
            ]
        },
        "breadcrumbs": {
            "values": [
                {"category": "httplib", "data": {"url": "http://a/b", "http.query": f"key={SECRET}"}},
                {"category": "query", "message": f"SELECT 1 FROM users WHERE name = '{SECRET}'"},
            ]
        },
        "request": {
            "url": f"http://shop/?token={SECRET}",
            "query_string": f"q={SECRET}",
            "cookies": {"session": SECRET},
            "headers": {"Cookie": f"session={SECRET}", "X-Internal": SECRET, "Host": "shop"},
            "data": {"password": SECRET, "quantity": 2},
        },
        "extra": {"user_password": SECRET, "secrets": [SECRET], "credentials": {"any": SECRET}},
        "tags": [["api_key", SECRET], ["component", "AssetService"]],
        "user": {"id": "7"},
        "contexts": {"trace": {"trace_id": "a" * 32, "span_id": "b" * 16}},
    }
    cleaned = Gate(Policy).before_send(event, {})
    assert cleaned is not None
    assert SECRET not in str(cleaned)
    frame = cleaned["exception"]["values"][0]["stacktrace"]["frames"][0]
    assert (frame["lineno"], frame["vars"]["n"]) == (7, "1")
    assert cleaned["request"]["data"]["quantity"] == 2
    assert cleaned["request"]["headers"]["Host"] == "shop"
    for name in ("event_id", "timestamp", "level", "modules", "user", "contexts"):
        assert cleaned[name] == event[name]
    assert cleaned["tags"][1] == ["component", "AssetService"]


def test_an_event_that_cannot_be_redacted_is_not_sent() -> None:
    """Rather nothing than a secret."""
    guard.set_strict(False)

    class Broken:
        def text(self, text: str) -> str:
            raise RuntimeError("broken rule")

        def value(self, key: str, value: Any) -> Any:
            raise RuntimeError("broken rule")

    assert Gate(Broken).before_send({"message": "m", "extra": ["x"]}, {}) is None


def test_an_event_that_is_too_deep_is_cut() -> None:
    """No recursion without end."""
    deep: Any = "end"
    for _ in range(500):
        deep = {"a": deep}
    assert "end" not in str(Gate(Policy).before_send({"extra": deep}, {}))
