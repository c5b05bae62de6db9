"""First light: what was sent is in the stores, exactly, and each signal leads to the others."""

from __future__ import annotations

import re
import time
from collections import Counter
from threading import Thread

import pytest

from grafana.src import live
from tests.e2e.conftest import Apps, Stack
from tests.e2e.stores import Span, Stores, eventually
from tests.examples.conftest import EXAMPLE
from tests.otlp_receiver import free_port
from tests.programs import BIN, Programs, get

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

ROUNDS = (1, 2, 3)
Counts = Counter[tuple[str, str | None, int]]


def stored_counts(stores: Stores, service: str) -> Counts:
    """Return what Prometheus counted for a service, by method, route and status."""
    labels = "http_request_method, http_route, http_response_status_code"
    series = stores.promql(
        f'sum by ({labels}) (http_server_request_duration_seconds_count{{service_name="{service}"}})'
    )
    counts: Counts = Counter()
    for one in series:
        metric = one["metric"]
        key = (metric["http_request_method"], metric.get("http_route"), int(metric["http_response_status_code"]))
        counts[key] += int(float(one["value"][1]))
    return counts


def assert_all_counted(stores: Stores, apps: Apps, service: str) -> None:
    sent = apps.responses[service]
    stored = eventually(lambda: stored_counts(stores, service), until=lambda counts: counts == sent)
    assert (stored - sent, sent - stored) == (Counter(), Counter())


@pytest.mark.parametrize("service", ["asset-forge", "httpbin"])
@pytest.mark.parametrize("seed", ROUNDS)
def test_request_counts_by_route_and_status_equal_what_was_sent(
    stack: Stack, apps: Apps, service: str, seed: int
) -> None:
    """Three rounds in a row, four workers, faults in the last: PromQL and the ledger agree to the last request."""
    ledger = apps.send(service, 400, seed=seed, rate=35, faults=seed == ROUNDS[-1])
    assert (ledger.tally().not_sent, ledger.tally().unknown) == (0, 0)
    assert_all_counted(stack.stores, apps, service)


def test_a_trace_spans_two_services_in_one_tree(stack: Stack, apps: Apps) -> None:
    """A thumbnail request has server, SQL and client spans, and the image server's span hangs below the client's."""
    found = eventually(lambda: stack.stores.search(THUMBNAILS))
    assert found
    spans = eventually(lambda: stack.stores.trace(found[0]), until=is_whole)
    assert is_whole(spans)
    server = next(span for span in spans if span.service == "image-server")
    client = next(span for span in spans if span.span_id == server.parent_id)
    root = next(span for span in spans if not span.parent_id)
    assert (client.service, client.kind) == ("asset-forge", "SPAN_KIND_CLIENT")
    assert client.parent_id == root.span_id
    assert root.attributes["http.route"] == "/api/assets/<int:id>/thumbnail"
    assert any(span.attributes.get("db.system.name") == "sqlite" for span in spans)


THUMBNAILS = '{ resource.service.name = "asset-forge" && kind = server && name =~ "POST .*thumbnail" }'


def is_whole(spans: list[Span]) -> bool:
    """Return whether every parent is there, with both services and a database call among them."""
    ids = {span.span_id for span in spans} | {""}
    services = {span.service for span in spans}
    return {"asset-forge", "image-server"} <= services and all(span.parent_id in ids for span in spans)


def test_the_logs_of_a_trace_are_found_by_its_id(stack: Stack, apps: Apps) -> None:
    """Loki has the lines that both services logged in a traced request."""
    trace_id = eventually(lambda: stack.stores.search(THUMBNAILS))[0]
    query = f'{{service_namespace="otel-forge-demo"}} | trace_id="{trace_id}"'
    lines = eventually(lambda: stack.stores.log_lines(query))
    assert lines
    assert {labels["service_name"] for labels, _ in lines} & {"asset-forge", "image-server"}
    assert all(labels["trace_id"] == trace_id for labels, _ in lines)


def test_an_exemplar_leads_to_a_trace_that_exists(stack: Stack, apps: Apps) -> None:
    """An exemplar of the latency histogram carries a trace id that Tempo knows."""
    query = 'http_server_request_duration_seconds_bucket{service_name="asset-forge"}'
    exemplars = eventually(lambda: stack.stores.exemplars(query))
    assert exemplars
    newest = exemplars[-1]["trace_id"]
    assert eventually(lambda: stack.stores.trace(newest))


def test_the_service_graph_has_the_edges(stack: Stack, apps: Apps) -> None:
    """The API calls the image server and the AI upstream: Tempo's generator drew both into Prometheus."""

    def edges() -> set[tuple[str, str]]:
        series = stack.stores.promql("traces_service_graph_request_total")
        return {(one["metric"]["client"], one["metric"]["server"]) for one in series}

    expected = {("asset-forge", "image-server"), ("asset-forge", "ai-upstream")}
    assert eventually(edges, until=lambda found: expected <= found) >= expected


def test_every_panel_and_alert_query_returns_data(stack: Stack, apps: Apps) -> None:
    """Each expression of each panel, variable and alert runs; faults were injected, so nothing may be empty."""
    stores = live.Stores(stack.stores.prometheus, stack.stores.loki, stack.stores.tempo)

    def outcomes() -> list[live.Outcome]:
        return live.check(stores, "asset-forge", start=apps.started, end=time.time())

    last = eventually(outcomes, until=lambda found: not live.failures(found, faults_injected=True))
    assert not live.failures(last, faults_injected=True), live.report(live.failures(last, faults_injected=True))


def test_the_queries_of_the_walk_through_a_broken_image_server_have_answers(stack: Stack, apps: Apps) -> None:
    """The README of the example shows them; what health checks believe and how many requests fail is in Prometheus."""
    queries = re.findall(r"--data-urlencode 'query=([^']+)'", (EXAMPLE / "README.md").read_text(encoding="utf-8"))
    assert len(queries) == 2
    assert all(stack.stores.promql(query) for query in queries)
    believed = {one["metric"]["check"]: one["value"][1] for one in stack.stores.promql(queries[0])}
    assert {"database", "imageServer", "telemetry"} <= set(believed)


def test_the_collector_may_stop_and_start_in_the_middle_of_traffic(stack: Stack, apps: Apps) -> None:
    """No request fails while it is restarted and then silent for 12 s; counts are whole after, and no span is lost.

    A batch that the silent Collector had taken in before it could say so is sent again: spans arrive at least once.
    """
    failures: list[int] = []

    def traffic() -> None:
        ledger = apps.send("httpbin", 500, seed=11, rate=28)
        failures.append(ledger.tally().not_sent + ledger.tally().unknown)

    sending = Thread(target=traffic)
    sending.start()
    stack.forge("restart", "collector")
    stack.silence("collector", seconds=12)
    sending.join(120)
    assert failures == [0]
    assert_all_counted(stack.stores, apps, "httpbin")
    sent = sum(apps.responses["httpbin"].values())
    spans = 'sum(traces_spanmetrics_calls_total{service="httpbin", span_kind="SPAN_KIND_SERVER"})'
    assert eventually(lambda: stack.stores.number(spans), until=lambda number: number >= sent) >= sent


def test_a_collector_that_is_killed_loses_nothing(stack: Stack, apps: Apps) -> None:
    """``kill -9`` twice under traffic: the supervisor starts it again, its queues are on disk, ours too."""
    failures: list[int] = []

    def traffic() -> None:
        ledger = apps.send("httpbin", 300, seed=12, rate=25)
        failures.append(ledger.tally().not_sent + ledger.tally().unknown)

    sending = Thread(target=traffic)
    sending.start()
    for _ in range(2):
        stack.kill("collector")
    sending.join(120)
    assert failures == [0]
    assert_all_counted(stack.stores, apps, "httpbin")
    sent = sum(apps.responses["httpbin"].values())
    spans = 'sum(traces_spanmetrics_calls_total{service="httpbin", span_kind="SPAN_KIND_SERVER"})'
    assert eventually(lambda: stack.stores.number(spans), until=lambda number: number >= sent) >= sent


def test_a_scrape_endpoint_is_scraped_as_of_old(stack: Stack, programs: Programs) -> None:
    """OTEL_METRICS_EXPORTER=otlp,prometheus: a target file is all that Prometheus needs to pull as well."""
    port, scrape = free_port(), free_port()
    programs.instrumented(
        str(BIN / "gunicorn"), "httpbin:app", "--bind", f"127.0.0.1:{port}", "--no-control-socket",
        OTEL_SERVICE_NAME="scraped", OTEL_EXPORTER_OTLP_ENDPOINT=stack.stores.otlp,
        OTEL_METRICS_EXPORTER="otlp,prometheus", OTEL_EXPORTER_PROMETHEUS_PORT=str(scrape),
    )  # fmt: skip
    for _ in range(5):
        get(f"http://127.0.0.1:{port}/get")
    targets = stack.state / "config/prometheus/targets/scrape"
    targets.mkdir(exist_ok=True)
    workers = [f"127.0.0.1:{scrape + offset}" for offset in range(8)]
    (targets / "test.yaml").write_text(f"- targets: {workers}\n  labels: {{job: asset-forge-api}}\n")
    counted = 'sum(http_server_request_duration_seconds_count{job="asset-forge-api"})'
    assert eventually(lambda: stack.stores.number(counted), within=90, until=lambda number: number == 5) == 5


def test_the_collector_reports_on_itself_through_its_own_pipe(stack: Stack, apps: Apps) -> None:
    """Its metrics are in Prometheus under its own service name, and nothing was refused or failed to be sent."""
    accepted = 'otelcol_receiver_accepted_spans_total{service_name="otelcol-forge"}'
    assert eventually(lambda: stack.stores.number(f"sum({accepted})")) > 0


def test_rules_are_loaded_and_none_of_the_services_is_reported_down(stack: Stack, apps: Apps) -> None:
    """Prometheus evaluates our rules; only the watchdog, and what the injected faults earn, may fire."""
    firing = {one["metric"]["alertname"] for one in stack.stores.promql('ALERTS{alertstate="firing"}')}
    assert "Watchdog" in eventually(
        lambda: {one["metric"]["alertname"] for one in stack.stores.promql('ALERTS{alertstate="firing"}')},
        until=lambda found: "Watchdog" in found,
    )
    assert not firing & {"ServiceDown", "TelemetryMissing"}
