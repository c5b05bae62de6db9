"""The configurations of the stores: accepted by each server's own checker, and started until it says it is ready."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from otel_forge.stack.components import BY_NAME, Place
from otel_forge.stack.ports import PORTS
from otel_forge.stack.settings import StackSettings
from tests.stack_config.collector_runs import CollectorRun
from tests.stack_config.conftest import FindEngine, FreePorts, StartServer
from tests.stack_config.servers import Server
from tests.stack_config.stores import Stores, send_traces
from tests.stack_config.telemetry import counter, logs, send, span, traces

STORES = ("prometheus", "alertmanager", "loki", "tempo")


def tempo_config(bundle: Path, binary: Path) -> Path:
    """Return the file for this Tempo: the 2.x and 3.x lines refuse each other's keys."""
    said = subprocess.run([str(binary), "-version"], capture_output=True, text=True, timeout=20)
    older = "version 2." in said.stdout + said.stderr
    return bundle / "backends/tempo" / ("tempo-2.yaml" if older else "tempo.yaml")


def check(*command: object, environ: dict[str, str] | None = None) -> None:
    """Run a checker; it must say yes."""
    done = subprocess.run([str(part) for part in command], env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_configuration_and_its_rules(engine: FindEngine, bundle: Path) -> None:
    """Rules and target files are found by the relative paths."""
    check(engine("promtool"), "check", "config", bundle / "backends/prometheus/prometheus.yaml")


def test_amtool_accepts_the_routes(engine: FindEngine, bundle: Path) -> None:
    """The file is as simple as Alertmanager 0.25 needs it."""
    check(engine("amtool"), "check-config", bundle / "backends/alertmanager/alertmanager.yaml")


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["severity=page", "alertname=ServiceDown"], "page"),
        (["severity=ticket", "alertname=ErrorBudget"], "ticket"),
        (["severity=info", "alertname=Restarted"], "null"),
        (["alertname=Watchdog", "severity=none"], "heartbeat"),
        (["alertname=Mistaken"], "ticket"),
    ],
)
def test_alerts_reach_their_receiver(engine: FindEngine, bundle: Path, labels: list[str], receiver: str) -> None:
    """By severity; one without a known severity is a mistake that somebody should look at, not silence."""
    path = bundle / "backends/alertmanager/alertmanager.yaml"
    command = [engine("amtool"), "config", "routes", "test", f"--config.file={path}"]
    check(*command, f"--verify.receivers={receiver}", *labels)


def test_loki_accepts_its_configuration(engine: FindEngine, bundle: Path) -> None:
    """With no environment at all."""
    check(
        engine("loki"), "-verify-config", "-config.expand-env=true",
        f"-config.file={bundle / 'backends/loki/loki.yaml'}", environ={},
    )  # fmt: skip


def test_tempo_accepts_its_configuration_without_a_warning(engine: FindEngine, bundle: Path) -> None:
    """Its checker fails on warnings as well."""
    binary = engine("tempo")
    check(
        binary, "-config.verify=true", "-config.expand-env=true",
        f"-config.file={tempo_config(bundle, binary)}", environ={},
    )  # fmt: skip


class StartedStore:
    """A store that runs from the shipped configuration, and its ports."""

    def __init__(self, run: Callable[[], Server], ports: dict[str, int]) -> None:
        self.run, self.ports = run, ports
        self.server = run()

    def kill_and_start_again(self) -> None:
        """End it with SIGKILL, and start it with the same command on what it left."""
        self.server.kill()
        self.server = self.run()

    def get(self, port: str, path: str) -> Any:
        """Return the JSON that an address of the store answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[port]}{path}", timeout=10) as answer:
            return json.loads(answer.read())

    def listening(self) -> set[tuple[str, int]]:
        """Return the addresses it listens on."""
        connections = psutil.Process(self.server.process.pid).net_connections("inet")
        return {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}


@pytest.fixture
def store(
    request: pytest.FixtureRequest,
    engine: FindEngine,
    bundle: Path,
    start: StartServer,
    free_ports: FreePorts,
    tmp_path: Path,
) -> StartedStore:
    """The store named by the test's parameter, started with the command line of the table."""
    component = BY_NAME[request.param]
    numbers = free_ports(*(port.setting for port in PORTS))
    config, state = tmp_path / "config", tmp_path / "state"
    shutil.copytree(bundle / component.config, config)
    if component.name == "prometheus":  # a run of its own scrapes nobody
        (config / "targets/stack.yaml").write_text("[]\n")
    if component.name == "tempo":
        chosen = tempo_config(bundle, engine("tempo"))
        shutil.copyfile(chosen, config / "tempo.yaml")
    by_key = {port.key: int(numbers[port.setting]) for port in PORTS}
    place = Place("127.0.0.1", str(config), str(state), by_key, StackSettings.from_env({}).retention)
    command = [str(engine(component.engine)), *component.command(place)]
    ready, environ = place.fill(component.ready), component.variables(place)
    return StartedStore(lambda: start(command, ready=ready, environ=environ, deadline=90), by_key)


@pytest.mark.parametrize("store", STORES, indirect=True)
def test_it_starts_on_loopback_and_writes_only_to_its_state(store: StartedStore, tmp_path: Path) -> None:
    """Ready, on the ports of its settings and no other, with nothing written beside the state folder."""
    listening = store.listening()
    assert {address for address, _ in listening} == {"127.0.0.1"}
    assert {port for _, port in listening} <= set(store.ports.values())
    beside = {path.name for path in tmp_path.iterdir()} - {"state", "config"}
    assert {name for name in beside if not name.endswith(".log")} == set()
    assert "deprecated" not in store.server.log.lower()


LATE = 20 * 3600
"""Seconds: what an app sends after an outage that began last evening."""


@pytest.mark.parametrize("store", ["prometheus"], indirect=True)
def test_samples_of_an_outage_of_hours_are_taken_after_newer_ones(store: StartedStore) -> None:
    """An app sends what it has kept beside what it makes now."""
    otlp = f"http://127.0.0.1:{store.ports['PROMETHEUS']}/api/v1/otlp"
    late = counter("kept", 7)
    point = late.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points[0]
    point.start_time_unix_nano -= LATE * 10**9
    point.time_unix_nano -= LATE * 10**9
    assert send(otlp, counter("kept", 9)) == 200
    assert send(otlp, late) == 200
    query = urllib.parse.urlencode({"query": "kept_total", "time": time.time() - LATE})
    found = store.get("PROMETHEUS", f"/api/v1/query?{query}")["data"]["result"]
    assert [series["value"][1] for series in found] == ["7"]


@pytest.mark.parametrize("store", ["loki"], indirect=True)
def test_lines_of_an_outage_of_hours_are_taken_after_newer_ones(store: StartedStore) -> None:
    """And found, though they are in no chunk on disk yet."""
    otlp = f"http://127.0.0.1:{store.ports['LOKI']}/otlp"
    late = logs("made during the outage")
    late.resource_logs[0].scope_logs[0].log_records[0].time_unix_nano -= LATE * 10**9
    assert send(otlp, logs("made now")) == 204
    assert send(otlp, late) == 204
    now = time.time_ns()
    query = urllib.parse.urlencode({"query": '{service_name="shop"}', "start": now - 2 * LATE * 10**9, "end": now})
    streams = store.get("LOKI", f"/loki/api/v1/query_range?{query}")["data"]["result"]
    assert {line for stream in streams for _, line in stream["values"]} == {"made now", "made during the outage"}


@pytest.mark.parametrize("store", ["prometheus"], indirect=True)
def test_prometheus_keeps_the_settings_that_the_file_asks_for(store: StartedStore) -> None:
    """OTLP on, exemplars on, late samples allowed, resource attributes promoted."""
    running = yaml.safe_load(store.get("PROMETHEUS", "/api/v1/status/config")["data"]["yaml"])
    assert running["storage"]["tsdb"]["out_of_order_time_window"] == "1d1h"
    assert "service.name" in running["otlp"]["promote_resource_attributes"]
    flags = store.get("PROMETHEUS", "/api/v1/status/flags")["data"]
    assert flags["web.enable-otlp-receiver"] == flags["web.enable-remote-write-receiver"] == "true"
    assert flags["enable-feature"] == "exemplar-storage"
    assert store.get("PROMETHEUS", "/api/v1/status/runtimeinfo")["data"]["storageRetention"] == "15d or 4GiB"


@pytest.mark.parametrize("store", ["loki"], indirect=True)
def test_loki_limits_labels_and_keeps_logs_for_a_time(store: StartedStore) -> None:
    """Three index labels from OTLP, retention by the compactor, nothing reported to the makers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{store.ports['LOKI']}/config", timeout=10) as page:
        running = yaml.safe_load(page.read())
    [label_rule] = running["limits_config"]["otlp_config"]["resource_attributes"]["attributes_config"]
    assert label_rule["attributes"] == ["service.name", "service.namespace", "deployment.environment.name"]
    assert running["limits_config"]["retention_period"] == "1w"
    assert running["compactor"]["retention_enabled"] is True
    assert running["analytics"]["reporting_enabled"] is False


def eventually(question: Callable[[], Any], deadline: float = 30.0) -> Any:
    """Return what `question` answers as soon as that is something; an HTTP error is nothing yet."""
    end, pause = time.monotonic() + deadline, threading.Event()
    while time.monotonic() < end:
        try:
            if answer := question():
                return answer
        except urllib.error.URLError:
            pass
        pause.wait(0.2)
    raise AssertionError(f"no answer within {deadline} s")


@pytest.mark.parametrize("store", ["tempo"], indirect=True)
def test_a_trace_is_searchable_soon_and_survives_kill(store: StartedStore) -> None:
    """Within 5 seconds (F3), and after a SIGKILL, which is how Tempo's stop ends (see docker-compose.yml)."""
    send_traces(f"127.0.0.1:{store.ports['TEMPO_OTLP']}", traces(span("GET /here", trace=77)))
    query = urllib.parse.urlencode({"q": '{ resource.service.name = "shop" }'})
    eventually(lambda: store.get("TEMPO", f"/api/search?{query}").get("traces"), deadline=6)
    store.kill_and_start_again()
    found = eventually(lambda: store.get("TEMPO", f"/api/traces/{77:032x}"))
    assert "GET /here" in json.dumps(found)


@pytest.mark.parametrize("store", ["loki"], indirect=True)
def test_a_log_line_keeps_three_labels_and_survives_kill(store: StartedStore) -> None:
    """Straight into Loki's OTLP endpoint: only the service is an index label, the rest is metadata of the line."""
    assert send(f"http://127.0.0.1:{store.ports['LOKI']}/otlp", logs("hello", {"order": "7"})) == 204
    query = urllib.parse.urlencode({"query": '{service_name="shop"} | order="7"'})

    def lines() -> Any:
        return store.get("LOKI", f"/loki/api/v1/query_range?{query}")["data"]["result"]

    [stream] = eventually(lines)
    assert stream["values"][0][1] == "hello"
    assert store.get("LOKI", "/loki/api/v1/labels")["data"] == ["service_name"]
    store.kill_and_start_again()
    assert eventually(lines)[0]["values"][0][1] == "hello"


@pytest.mark.parametrize("store", ["prometheus"], indirect=True)
def test_a_metric_gets_its_labels_and_survives_kill(store: StartedStore) -> None:
    """Straight into Prometheus' OTLP endpoint: underscores and suffixes, promoted resource attributes."""
    assert send(f"http://127.0.0.1:{store.ports['PROMETHEUS']}/api/v1/otlp", counter("orders.placed", 3)) == 200

    def series() -> Any:
        return store.get("PROMETHEUS", "/api/v1/query?query=orders_placed_total")["data"]["result"]

    [one] = eventually(series)
    assert one["value"][1] == "3"
    assert one["metric"]["service_name"] == "shop" and one["metric"]["host_name"] == "named-by-the-app"
    store.kill_and_start_again()
    assert eventually(series)[0]["value"][1] == "3"


@pytest.mark.parametrize("store", ["loki"], indirect=True)
def test_a_monstrous_log_record_reaches_loki_through_the_collector(
    store: StartedStore, engine: FindEngine, bundle: Path, start: StartServer, free_ports: FreePorts, tmp_path: Path
) -> None:
    """300 attributes and a stack trace of 200 KB: Loki alone refuses it for good, behind the Collector it is kept."""
    attributes = {f"attribute.{number}": "x" * 50 for number in range(300)}
    attributes["exception.stacktrace"] = "Traceback\n" + "  in app.py\n" * 18_000
    monster = logs("it broke", attributes)
    for number in range(60):
        monster.resource_logs[0].resource.attributes.add(key=f"resource.{number}").value.string_value = "y"
    loki = f"http://127.0.0.1:{store.ports['LOKI']}"
    assert send(f"{loki}/otlp", monster) == 400
    with Stores() as others:
        collector = CollectorRun.prepare(
            engine("collector"), bundle / "collector/config-single.yaml", others, start, free_ports, tmp_path / "queue"
        )
        collector.environ["FORGE_LOKI_URL"] = loki
        collector.up().send(monster)
        query = urllib.parse.urlencode({"query": '{service_name="shop"}'})
        [stream] = eventually(lambda: store.get("LOKI", f"/loki/api/v1/query_range?{query}")["data"]["result"])
    assert stream["values"][0][1] == "it broke\n" + attributes["exception.stacktrace"]
