"""The parts that run as processes, and the whole with tiny numbers."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.cli import SECTIONS, run
from benchmarks.measure import QUICK, cpu_by_kind
from benchmarks.process import Commanded, ProcessFailed
from benchmarks.profiling import profile
from benchmarks.report import report
from benchmarks.results import Results
from benchmarks.sink import parsed_head, route
from benchmarks.stage import Stage
from benchmarks.starting import starting
from benchmarks.variants import BASELINE, FORGE, FORGE_RUN, HEADER, UPSTREAM, VARIANTS, Variant

TINY = replace(QUICK, rounds=2, requests=30, load_rounds=1, load_seconds=0.3, start_rounds=1, unit_rounds=1)


def here(_: Variant) -> Path:
    """Return the environment that the tests run in, which has all that the app and we need."""
    return Path(sys.executable).parent


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage(here, quiet) as running:
        yield running


def one_span() -> bytes:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(name="a")
    return bytes(request.SerializeToString())


def test_the_sink_counts_each_variant_by_itself_and_forgets_what_it_told(stage: Stage) -> None:
    for variant, times in ((UPSTREAM, 2), ("stock-http", 1)):
        for _ in range(times):
            requests.post(f"{stage.addresses.otlp_http}/v1/traces", one_span(), headers={HEADER: variant}, timeout=5)
    assert stage.arrived(VARIANTS[UPSTREAM]).spans == 2
    assert stage.arrived(VARIANTS["stock-http"]).spans == 1
    assert stage.arrived(VARIANTS[UPSTREAM]).spans == 0


def test_the_sink_takes_many_requests_on_one_connection_and_chunked_bodies(stage: Stage) -> None:
    connection = http.client.HTTPConnection(stage.addresses.otlp_http.removeprefix("http://"), timeout=5)
    for _ in range(3):
        connection.request("POST", "/v1/traces", iter([one_span()]), {HEADER: UPSTREAM}, encode_chunked=True)
        assert connection.getresponse().read() == b""
    connection.close()
    assert stage.arrived(VARIANTS[UPSTREAM]).spans == 3


def test_requests_are_routed_by_header_or_by_the_products_own_paths() -> None:
    target, headers = parsed_head(f"POST /v1/logs HTTP/1.1\r\nHost: x\r\n{HEADER.title()}: forge")
    assert route(target, headers) == ("forge", "logs")
    assert route("/v0.4/traces", {}) == ("ddtrace", "ddtrace")
    assert route("/api/1/envelope/", {}) == ("sentry", "sentry")
    assert route("/info", {})[1] == ""


def test_variants_are_measured_in_turn_in_every_round(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    ask = Commanded.ask

    def noting(process: Commanded, patience: float = 60, **command: object) -> dict[str, object]:
        if command.get("do") == "requests":
            asked.append(process.name)
        return ask(process, patience, **command)

    monkeypatch.setattr(Commanded, "ask", noting)
    variants = [VARIANTS[BASELINE], VARIANTS[UPSTREAM]]
    cpu_by_kind(stage, variants, replace(TINY, rounds=2, requests=2, kinds=("asset",)), Results())
    warming, first, second = asked[:2], asked[2:4], asked[4:]
    assert warming == first == [BASELINE, UPSTREAM]
    assert second == [UPSTREAM, BASELINE]


def test_a_process_that_ends_too_soon_is_told_with_what_it_said(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such setting'); raise SystemExit(3)"]
    said = r"broken ended. It said last:\n  no such setting"
    with Commanded(command, {}, name="broken", scratch=tmp_path) as process, pytest.raises(ProcessFailed, match=said):
        process.ask(do="about")


def test_a_profile_names_functions_of_the_app_and_of_the_instrumentation(stage: Stage) -> None:
    text = profile(stage, VARIANTS[UPSTREAM], "asset", requests=600, rows=200)
    assert "Store.one" in text
    assert "TracedCursorProxy.execute" in text


def test_a_start_with_our_own_launcher_is_measured_and_must_send_something(stage: Stage) -> None:
    results = Results()
    starting(stage, [VARIANTS[FORGE]], TINY, results)
    assert [len(results.starts[name]) for name in (FORGE, FORGE_RUN)] == [1, 1]
    assert 0 < results.starts[FORGE_RUN][0].launcher_ms < results.starts[FORGE_RUN][0].wall_ms
    silent = replace(VARIANTS[FORGE], started="plain")
    with pytest.raises(ProcessFailed, match="forge, started with plain, sent nothing"):
        starting(stage, [silent], TINY, results)


def test_two_variants_are_measured_side_by_side_and_reported() -> None:
    """The smoke run: everything but scaling, with numbers too small to mean anything."""
    results = run([VARIANTS[BASELINE], VARIANTS[UPSTREAM]], here, TINY, SECTIONS, quiet)
    assert results.skipped == {}
    assert results.disqualified(UPSTREAM) == ""
    assert results.deliveries["asset", UPSTREAM].arrived.spans >= 2 * 2 * 30
    assert results.deliveries["gunicorn", UPSTREAM].requests > 0
    assert [len(results.cpu[kind][UPSTREAM]) for kind in TINY.kinds] == [2] * len(TINY.kinds)
    text = report(results)
    for section in ("## CPU: the error request", "## gunicorn", "## Start", "## One operation", "## Gates"):
        assert section in text
