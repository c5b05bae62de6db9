"""The sampling configuration: what is kept, and that the counts do not depend on it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.otlp_receiver import Received, attributes
from tests.stack_config.collector_runs import CollectorRun
from tests.stack_config.conftest import FindEngine, FreePorts, StartServer
from tests.stack_config.stores import Stores
from tests.stack_config.telemetry import span, traces

_IDS = random.Random(2026).sample(range(1, 2**62), 541)
ERRORS, SLOW, USUAL, LAST = _IDS[:20], _IDS[20:40], _IDS[40:540], _IDS[540]


@pytest.fixture
def sampling(
    engine: FindEngine, bundle: Path, start: StartServer, free_ports: FreePorts, tmp_path: Path
) -> Iterator[CollectorRun]:
    """A Collector that samples, running."""
    config = bundle / "collector" / "config-sampling.yaml"
    with Stores() as stores:
        yield CollectorRun.prepare(engine("collector"), config, stores, start, free_ports, tmp_path / "state").up()


def calls(received: Received) -> int:
    """Return how many server spans have been counted."""
    counted = received.metrics().get("traces.spanmetrics.calls")
    return sum(point.as_int for point in counted.sum.data_points) if counted else 0


def edges(received: Received) -> dict[tuple[Any, Any], int]:
    """Return the requests of each edge of the service graph."""
    graph = received.metrics().get("traces_service_graph_request_total")
    points = graph.sum.data_points if graph else []
    return {(of["client"], of["server"]): point.as_int for point in points for of in [attributes(point.attributes)]}


def test_errors_and_slow_requests_are_kept_and_everything_is_counted(sampling: CollectorRun) -> None:
    """20 errors, 20 slow ones and 500 others: the 40 arrive, about a tenth of the rest does, 540 are counted."""
    sampling.send(traces(*[span("GET /", trace=number, error=True) for number in ERRORS]))
    sampling.send(traces(*[span("GET /", trace=number, milliseconds=1_500) for number in SLOW]))
    sampling.send(traces(*[span("GET /", trace=number) for number in USUAL]))
    stores = sampling.stores
    stores.wait_for(lambda received: calls(received) == len(ERRORS) + len(SLOW) + len(USUAL), 40)

    def kept(received: Received) -> set[int]:
        return {int.from_bytes(one.trace_id, "big") for one in received.spans()}

    sampling.send(traces(span("the last one", trace=LAST, error=True)))  # decided on after all others
    stores.wait_for(lambda received: {*ERRORS, *SLOW, LAST} <= kept(received), 40)
    usual = kept(stores.received) & set(USUAL)
    assert 20 <= len(usual) <= 90
    assert len(stores.received.spans()) == len(kept(stores.received))


def test_the_service_graph_has_the_edge(sampling: CollectorRun) -> None:
    """A client span of one service and its server span in another make an edge, sampled or not."""
    for number in range(30):
        client = span("GET", trace=5_000 + number, kind=Span.SPAN_KIND_CLIENT)
        server = span("GET /stock", trace=5_000 + number)
        server.span_id, server.parent_span_id = (9_000 + number).to_bytes(8, "big"), client.span_id
        sampling.send(traces(client), traces(server, service="warehouse"))
    sampling.stores.wait_for(lambda received: edges(received).get(("shop", "warehouse")) == 30, 40)
