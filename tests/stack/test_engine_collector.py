"""The built Collector holds what the manifest says, no more, and nothing in it is on its way out."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_forge.stack.bundle import bundle_root
from tests.engines import require_engine

SECTIONS = ("receivers", "processors", "connectors", "exporters", "extensions", "providers")

# One use of every component, under the name that a config writes.
EVERY_COMPONENT = """
receivers:
  otlp: {protocols: {grpc: {endpoint: "127.0.0.1:0"}, http: {endpoint: "127.0.0.1:0"}}}
  host_metrics: {collection_interval: 60s, scrapers: {load: {}, memory: {}}}
  file_log: {include: ["FOLDER/*.log"], storage: file_storage}
processors:
  memory_limiter: {check_interval: 1s, limit_mib: 200}
  attributes: {actions: [{key: forge.seen, value: "yes", action: upsert}]}
  delta_to_cumulative: {}
  filter: {traces: {span: ['attributes["http.route"] == "/health"']}}
  probabilistic_sampler: {sampling_percentage: 50}
  redaction: {allow_all_keys: true, blocked_key_patterns: [".*password.*"]}
  resource: {attributes: [{key: forge.seen, value: "yes", action: upsert}]}
  resource_detection: {detectors: [env, system]}
  tail_sampling: {policies: [{name: errors, type: status_code, status_code: {status_codes: [ERROR]}}]}
  transform: {log_statements: [{context: log, statements: ['set(log.attributes["forge.seen"], true)']}]}
connectors:
  span_metrics: {}
  service_graph: {}
exporters:
  debug: {}
  file: {path: FOLDER/out.json}
  otlp_grpc: {endpoint: "127.0.0.1:1", tls: {insecure: true}, sending_queue: {storage: file_storage, batch: {}}}
  otlp_http: {endpoint: "http://127.0.0.1:1", auth: {authenticator: bearertokenauth}}
  prometheus_remote_write: {endpoint: "http://127.0.0.1:1/api/v1/write"}
extensions:
  bearertokenauth: {token: a-token-of-this-test}
  file_storage: {directory: FOLDER}
  health_check: {endpoint: "127.0.0.1:0"}
  pprof: {endpoint: "127.0.0.1:0"}
  zpages: {endpoint: "127.0.0.1:0"}
service:
  extensions: [bearertokenauth, file_storage, health_check, pprof, zpages]
  telemetry: {metrics: {level: none}}
  pipelines:
    traces:
      receivers: [otlp]
      processors: [memory_limiter, resource_detection, resource, attributes, filter, redaction, tail_sampling]
      exporters: [otlp_grpc, span_metrics, service_graph]
    metrics:
      receivers: [host_metrics, otlp, span_metrics, service_graph]
      processors: [memory_limiter, delta_to_cumulative]
      exporters: [prometheus_remote_write, debug]
    logs:
      receivers: [file_log, otlp]
      processors: [memory_limiter, transform, probabilistic_sampler]
      exporters: [otlp_http, file]
"""


@pytest.fixture(scope="session")
def collector() -> Path:
    """Our own Collector."""
    return require_engine("collector")


@pytest.fixture(scope="session")
def components(collector: Path) -> dict[str, Any]:
    """What the Collector says is in it."""
    printed = subprocess.run([collector, "components"], capture_output=True, text=True, check=True)
    assert "deprecated" not in (printed.stdout + printed.stderr).lower()
    listed: dict[str, Any] = yaml.safe_load(printed.stdout)
    return listed


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration in which every component occurs."""
    path = tmp_path / "config.yaml"
    path.write_text(EVERY_COMPONENT.replace("FOLDER", str(tmp_path)))
    return path


@pytest.mark.parametrize("section", SECTIONS)
def test_collector_holds_exactly_the_parts_of_the_manifest(components: dict[str, Any], section: str) -> None:
    manifest = yaml.safe_load((bundle_root() / "collector/builder.yaml").read_text())
    wanted = sorted(part["gomod"] for part in manifest[section])
    assert sorted(part["module"] for part in components[section]) == wanted


@pytest.mark.parametrize("section", SECTIONS[:-1])
def test_every_part_occurs_in_the_configuration_of_these_tests(components: dict[str, Any], section: str) -> None:
    """So that the two tests below see all of them at work."""
    assert sorted(yaml.safe_load(EVERY_COMPONENT)[section]) == sorted(part["name"] for part in components[section])


def test_names_in_the_manifest_are_the_ones_to_write(components: dict[str, Any]) -> None:
    """The manifest says after each module what a config calls the component."""
    lines = (bundle_root() / "collector/builder.yaml").read_text().splitlines()
    components_of = [line for line in lines if "gomod:" in line and "/confmap/provider/" not in line]
    said = {line.split()[2]: line.split("# ")[1] for line in components_of}
    real = {part["module"].split()[0]: part["name"] for section in SECTIONS[:-1] for part in components[section]}
    assert said == real


def test_version_is_that_of_the_manifest(collector: Path) -> None:
    manifest = yaml.safe_load((bundle_root() / "collector/builder.yaml").read_text())
    printed = subprocess.run([collector, "--version"], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == f"otelcol-forge version {manifest['dist']['version']}"


def test_configuration_with_every_part_is_valid(collector: Path, config: Path) -> None:
    done = subprocess.run([collector, "validate", f"--config={config}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_part_says_at_its_start_that_it_is_deprecated(collector: Path, config: Path) -> None:
    """Starts all of them and reads the log up to the Collector's word that it is ready."""
    process = subprocess.Popen(
        [collector, f"--config={config}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said: list[str] = []
    with process:
        try:
            for line in process.stdout or ():
                said.append(line)
                if "Everything is ready" in line:
                    process.send_signal(signal.SIGTERM)
        finally:
            process.kill()
    log = "".join(said)
    assert "Everything is ready" in log, log
    assert "deprecated" not in log.lower(), log
    assert process.returncode in (0, -signal.SIGTERM), log
