"""The real Collector, started from each shipped configuration, with stand-ins where the stores are."""

from __future__ import annotations

import contextlib
import gzip
import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from tests.otlp_receiver import Received, attributes
from tests.stack_config.collector_runs import CollectorRun
from tests.stack_config.conftest import FindEngine, FreePorts, StartServer
from tests.stack_config.stores import Stores
from tests.stack_config.telemetry import counter, logs, post, send, span, traces
from tests.stack_config.test_collector_configs import CONFIGS


@pytest.fixture
def stores() -> Iterator[Stores]:
    """Stand-ins for the three stores."""
    with Stores() as running:
        yield running


@pytest.fixture
def prepare(
    engine: FindEngine, stores: Stores, start: StartServer, free_ports: FreePorts, tmp_path: Path
) -> Callable[[Path], CollectorRun]:
    """Prepares a Collector for a configuration file, without starting it."""
    return lambda config: CollectorRun.prepare(
        engine("collector"), config, stores, start, free_ports, tmp_path / "state"
    )


@pytest.fixture
def single(prepare: Callable[[Path], CollectorRun], bundle: Path) -> CollectorRun:
    """The Collector of the one-machine configuration, not started yet."""
    return prepare(bundle / "collector" / "config-single.yaml")


def resources(received: Received, signal: str) -> list[dict[str, Any]]:
    """Return the resource attributes of everything that came for a signal."""
    return [
        attributes(part.resource.attributes)
        for request in received.requests[signal]
        for part in getattr(request, f"resource_{signal if signal != 'traces' else 'spans'}")
    ]


def log_bodies(received: Received) -> list[str]:
    return [record.body.string_value for record in received.logs()]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_validate_accepts_it_with_no_environment(config: Path, engine: FindEngine, tmp_path: Path) -> None:
    """Every variable has a default, so a configuration can be started by hand."""
    done = subprocess.run(
        [str(engine("collector")), "validate", f"--config={config}"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_it_starts_and_passes_on_each_signal(config: Path, prepare: Callable[[Path], CollectorRun]) -> None:
    """One request of each signal reaches its store, and no line of the log warns of something deprecated."""
    collector = prepare(config).up()
    collector.send(traces(span("GET /", error=True)), logs("hello"), counter("orders", 3))
    stores = collector.stores
    stores.wait_for(lambda received: "GET /" in [one.name for one in received.spans()], 60)
    stores.wait_for(lambda received: "hello" in log_bodies(received))
    stores.wait_for(lambda received: "orders" in received.metrics())
    assert {"/api/v1/otlp/v1/metrics", "/otlp/v1/logs", "/v1/traces"} == stores.paths
    assert collector.server is not None
    collector.server.stop()
    assert [line for line in collector.log.splitlines() if "deprecated" in line.lower()] == []
    running, stopping, _ = collector.log.partition(
        "Received signal from OS"
    )  # then it can't send itself its last lines
    assert stopping
    assert [line for line in running.splitlines() if "\terror\t" in line] == []


def test_it_reports_its_own_metrics_and_logs_down_the_same_pipe(single: CollectorRun) -> None:
    """They arrive under its own service name; a pull reader offers the metrics a second time."""
    stores = single.up().stores

    def metric_from_itself(received: Received) -> bool:
        return any(name.startswith("otelcol_process_uptime") for name in received.metrics())

    stores.wait_for(metric_from_itself, 40)
    stores.wait_for(lambda received: any("Everything is ready" in body for body in log_bodies(received)))
    for signal in ("metrics", "logs"):
        names = {of.get("service.name") for of in resources(stores.received, signal)}
        assert "otelcol-forge" in names
    with urllib.request.urlopen(single.own_metrics, timeout=5) as page:
        assert b"otelcol_exporter_queue_size" in page.read()


def test_it_measures_the_machine(single: CollectorRun) -> None:
    """Processor, memory, load and disk of the machine arrive, with the machine's name."""
    wanted = {"system.cpu.time", "system.memory.usage", "system.cpu.load_average.1m", "system.filesystem.usage"}
    stores = single.up().stores
    stores.wait_for(lambda received: wanted <= set(received.metrics()), 40)


def test_it_names_the_machine_only_where_the_app_did_not(single: CollectorRun) -> None:
    """resource_detection fills gaps and overrides nothing."""
    stores = single.up().stores
    single.send(counter("orders", 1), traces(span("GET /")))
    stores.wait_for(lambda received: received.spans() and "orders" in received.metrics())
    [of_spans] = resources(stores.received, "traces")
    assert of_spans["host.name"] and of_spans["os.type"] == "linux"
    of_metrics = [of for of in resources(stores.received, "metrics") if of.get("service.name") == "shop"]
    assert {of["host.name"] for of in of_metrics} == {"named-by-the-app"}


def test_a_delta_counter_arrives_cumulative(single: CollectorRun) -> None:
    """Three deltas of two are six."""
    stores = single.up().stores
    for _ in range(3):
        single.send(counter("orders", 2, delta=True))

    def total(received: Received) -> Any:
        metric = received.metrics().get("orders")
        return metric and metric.sum.data_points[-1].as_int == 6 and metric

    metric = stores.wait_for(total)
    assert metric.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


def test_a_long_stack_trace_moves_into_the_line(single: CollectorRun) -> None:
    """Loki refuses a line with more than 64 KB of structured metadata; the trace itself must not be lost."""
    deep = "Traceback\n" + "  File app.py, line 1\n" * 5_000
    stores = single.up().stores
    single.send(logs("it broke", {"exception.stacktrace": deep, "exception.type": "Boom", "note": "n" * 70_000}))
    single.send(logs("it broke a little", {"exception.stacktrace": "Traceback\n  short"}))
    stores.wait_for(lambda received: len([b for b in log_bodies(received) if b.startswith("it broke")]) == 2)
    by_body = {record.body.string_value: attributes(record.attributes) for record in stores.received.logs()}
    moved = by_body[f"it broke\n{deep}"]
    assert set(moved) == {"exception.type", "note"} and len(moved["note"]) == 16_384
    assert by_body["it broke a little"] == {"exception.stacktrace": "Traceback\n  short"}


def test_an_oversized_body_is_refused_packed_and_unpacked(single: CollectorRun) -> None:
    """17 MiB are too many, also when gzip makes 17 KiB of them; the Collector goes on."""
    single.up()
    body = logs("x" * 17 * 1024 * 1024).SerializeToString()
    url = f"{single.endpoint}/v1/logs"
    assert post(url, gzip.compress(body), {"Content-Encoding": "gzip"}) in (400, 413)
    with contextlib.suppress(OSError):  # it may also hang up before the body is through
        assert post(url, body, {}) in (400, 413)
    assert send(single.endpoint, logs("a small one")) == 200


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
def test_what_it_accepted_in_an_outage_survives_its_own_end(single: CollectorRun, end: str) -> None:
    """All stores refuse; the Collector is ended, started again, the stores come back: everything is there, once."""
    stores = single.stores
    stores.behaviour = "503"
    single.up()
    for number in range(20):
        single.send(logs(f"line {number}"), counter(f"metric_{number}", number), traces(span(f"span {number}")))
    assert single.server is not None
    single.server.kill() if end == "SIGKILL" else single.server.stop()
    stores.behaviour = "ok"
    single.up()

    def everything(received: Received) -> bool:
        return (
            {f"line {number}" for number in range(20)} <= set(log_bodies(received))
            and {f"metric_{number}" for number in range(20)} <= set(received.metrics())
            and {f"span {number}" for number in range(20)} <= {one.name for one in received.spans()}
        )

    stores.wait_for(everything, 60)
    lines = [body for body in log_bodies(stores.received) if body.startswith("line ")]
    assert len(lines) == len(set(lines)), "a queued request was delivered twice"


def test_health_answers_with_an_empty_configuration(single: CollectorRun) -> None:
    """docker-compose.yml asks for health by `validate --config=http://…`, which reads the body as configuration."""
    single.up()
    with urllib.request.urlopen(single.health, timeout=5) as answer:
        assert json.loads(answer.read()) == {}


def test_the_container_health_check_tells_up_from_down(single: CollectorRun, bundle: Path) -> None:
    """The very subcommand that the compose file uses, against a running Collector and against none."""
    single.up()

    def check() -> int:
        return subprocess.run(
            [str(single.binary), "validate", f"--config={single.config}", f"--config={single.health}"],
            env=single.environ,
            capture_output=True,
            timeout=60,
        ).returncode

    assert check() == 0
    assert single.server is not None
    single.server.stop()
    assert check() == 1


def test_a_full_queue_says_no_in_a_way_that_senders_retry(
    prepare: Callable[[Path], CollectorRun], bundle: Path, tmp_path: Path
) -> None:
    """With the store away and the queue full the answer is 503; what was accepted before arrives when it is back."""
    config = (bundle / "collector/config-single.yaml").read_text()
    small = tmp_path / "config-small.yaml"
    small.write_text(
        config.replace("queue_size: 536870912", "queue_size: 50000").replace("min_size: 262144", "min_size: 1")
    )
    collector = prepare(small)
    collector.stores.behaviour = "503"
    collector.up()
    accepted, answer = 0, 200
    while answer == 200 and accepted < 200:
        answer = send(collector.endpoint, logs(f"line {accepted} " + "x" * 1000))
        accepted += answer == 200
    assert answer == 503 and accepted > 10
    collector.stores.behaviour = "ok"

    def lines(received: Received) -> set[int]:
        return {int(body.split()[1]) for body in log_bodies(received) if body.startswith("line ")}

    collector.stores.wait_for(lambda received: lines(received) == set(range(accepted)), 60)
