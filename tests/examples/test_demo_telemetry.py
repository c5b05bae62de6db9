"""The demo under opentelemetry-instrument: what an OTLP receiver gets is what the ledger says was sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from asset_forge.traffic import Ledger

from tests.examples.test_demo import DemoCommand
from tests.otlp_receiver import OtlpReceiver, Received, attributes

SERVER, CLIENT = 2, 3
REQUESTS = 250

Spans = list[tuple[str, Any]]


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, Received]]:
    """The ledger of one whole instrumented run without faults, and what a receiver got of it."""
    with OtlpReceiver() as receiver:
        demo = DemoCommand(tmp_path_factory.mktemp("instrumented"))
        given = ("--requests", str(REQUESTS), "--rate", "50", "--no-fault-phases", "--endpoint", receiver.url)
        code, said = demo.finish("run", *given)
        assert code == 0, said
        yield Ledger.read(demo.state.ledger), receiver.received


def test_server_spans_equal_the_ledger(sent: tuple[Ledger, Received]) -> None:
    """By method, route and status, over four worker processes that are stopped right after: none is missing."""
    ledger, received = sent
    assert ledger.tally().responses == ledger.tally().sent >= REQUESTS
    assert _answered(_spans(received)) == ledger.responses()


def test_a_generation_is_one_tree_over_three_services(sent: tuple[Ledger, Received]) -> None:
    """The API's span is the root; calls to both upstreams, their own spans and the SQL hang below it."""
    ledger, received = sent
    spans = _spans(received)
    trees = Counter(_tree(spans, span) for _, span in spans if _is_generation(span))
    assert trees == {_GENERATION: ledger.responses()["POST", "/api/generate", 201]}


def test_every_request_has_its_line_in_the_request_log(sent: tuple[Ledger, Received]) -> None:
    """The request log counts what the ledger counts, each line in the trace of its request."""
    ledger, received = sent
    lines = [record for record in received.logs() if record.event_name == "otel_forge.request"]
    assert _counted([attributes(line.attributes) for line in lines]) == ledger.responses()
    traces = {span.trace_id for service, span in _spans(received) if service == "asset-forge" and span.kind == SERVER}
    assert {line.trace_id for line in lines} == traces


def test_one_asset_is_one_server_span_one_query_and_one_log(sent: tuple[Ledger, Received]) -> None:
    """What the benchmarks count on holds through the whole pipeline, beside the request log."""
    _, received = sent
    spans = _spans(received)
    logs = Counter(record.trace_id for record in received.logs() if record.event_name != "otel_forge.request")
    sizes = Counter(span.trace_id for _, span in spans)
    roots = [span for _, span in spans if attributes(span.attributes).get("http.route") == "/api/assets/<int:id>"]
    assert len(roots) > REQUESTS / 10
    assert {(sizes[span.trace_id], logs[span.trace_id]) for span in roots} == {(2, 1)}


def _spans(received: Received) -> Spans:
    """Return every span with the name of its service."""
    return [
        (attributes(of_resource.resource.attributes)["service.name"], span)
        for request in received.requests["traces"]
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


_GENERATION = (
    ("ai-upstream", SERVER, "POST /v1/models/describe"),
    ("asset-forge", SERVER, "POST /api/generate"),
    ("asset-forge", CLIENT, "INSERT"),
    ("asset-forge", CLIENT, "INSERT"),
    ("asset-forge", CLIENT, "POST"),
    ("asset-forge", CLIENT, "POST"),
    ("image-server", SERVER, "POST /render"),
)


def _answered(spans: Spans) -> dict[tuple[str, str | None, int], int]:
    return _counted(
        [attributes(span.attributes) for service, span in spans if service == "asset-forge" and span.kind == SERVER]
    )


def _counted(requests: list[dict[str, Any]]) -> dict[tuple[str, str | None, int], int]:
    return Counter(
        (has["http.request.method"], has.get("http.route"), int(has["http.response.status_code"])) for has in requests
    )


def _is_generation(span: Any) -> bool:
    has = attributes(span.attributes)
    return (has.get("http.route"), has.get("http.response.status_code")) == ("/api/generate", 201)


def _tree(spans: Spans, root: Any) -> tuple[tuple[str, int, str], ...]:
    """Return the shape of a trace, after checking that every span but the root has its parent in it."""
    members = [(service, span) for service, span in spans if span.trace_id == root.trace_id]
    known = {span.span_id for _, span in members}
    assert all(span.parent_span_id in known for _, span in members if span.span_id != root.span_id)
    return tuple(sorted((service, span.kind, _short(span.name)) for service, span in members))


def _short(name: str) -> str:
    return name.split(" ")[0] if name.startswith("INSERT") else name
