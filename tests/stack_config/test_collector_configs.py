"""The Collector configurations, read as data: what an operator may rely on without starting anything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_forge.stack.bundle import bundle_root

CONFIGS = sorted((bundle_root() / "collector").glob("config-*.yaml"))
QUEUED = ("otlp_http", "otlp_grpc")


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each shipped Collector configuration, parsed."""
    path: Path = request.param
    parsed: dict[str, Any] = yaml.safe_load(path.read_text())
    return parsed


def pipelines(config: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Return the pipelines of a configuration."""
    found: dict[str, dict[str, list[str]]] = config["service"]["pipelines"]
    return found


def test_there_is_a_configuration_for_one_machine() -> None:
    """`config-single.yaml` is what `otel-forge up` starts."""
    assert "config-single" in [path.stem for path in CONFIGS]


@pytest.mark.gate
def test_memory_limiter_comes_first_in_every_pipeline(config: dict[str, Any]) -> None:
    """S4: pressure is turned away at the door, before anything works on a record."""
    receiving = {name: line for name, line in pipelines(config).items() if "otlp" in line["receivers"]}
    assert receiving
    assert {name: line["processors"][0] for name, line in receiving.items()} == dict.fromkeys(
        receiving, "memory_limiter"
    )
    for line in pipelines(config).values():
        assert "memory_limiter" not in line["processors"][1:]


@pytest.mark.gate
def test_every_exporter_queues_on_disk_and_never_gives_up(config: dict[str, Any]) -> None:
    """S4: what was accepted survives an outage of the store and a restart of the Collector."""
    for name, exporter in config["exporters"].items():
        assert name.split("/")[0] in QUEUED, f"{name} has no queue that a test knows of"
        queue = exporter["sending_queue"]
        assert queue["storage"] in config["extensions"], name
        assert queue["storage"] in config["service"]["extensions"], name
        assert queue["sizer"] == "bytes" and queue["queue_size"] > 0, name
        assert 0 < queue["batch"]["max_size"] < 4 * 1024 * 1024, name
        assert exporter["retry_on_failure"]["max_elapsed_time"] == 0, name


@pytest.mark.gate
def test_receivers_cap_what_one_request_may_carry(config: dict[str, Any]) -> None:
    """S4: body limits are set."""
    protocols = config["receivers"]["otlp"]["protocols"]
    assert 0 < protocols["http"]["max_request_body_size"] <= 32 * 1024 * 1024
    assert 0 < protocols["grpc"]["max_recv_msg_size_mib"] <= 32


@pytest.mark.gate
def test_nothing_listens_beyond_loopback_unless_told(config: dict[str, Any]) -> None:
    """S4: each listening address is FORGE_BIND, whose default is loopback."""
    listening = [
        config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"],
        config["receivers"]["otlp"]["protocols"]["http"]["endpoint"],
        config["extensions"]["health_check"]["endpoint"],
    ]
    listening += [
        reader["pull"]["exporter"]["prometheus"]["host"]
        for reader in config["service"]["telemetry"]["metrics"]["readers"]
        if "pull" in reader
    ]
    assert all(address.startswith("${env:FORGE_BIND:-127.0.0.1}") for address in listening), listening
    assert not re.search(r"0\.0\.0\.0|\[::\]", yaml.safe_dump(config))


def test_deltas_become_cumulative_before_prometheus(config: dict[str, Any]) -> None:
    """Prometheus answers 500 to a delta sum, and the whole request is lost with it."""
    for name, line in pipelines(config).items():
        if "otlp_http/prometheus" in line["exporters"] and "otlp" in line["receivers"]:
            assert "delta_to_cumulative" in line["processors"], name


def test_batching_is_the_exporters_own(config: dict[str, Any]) -> None:
    """The `batch` processor is deprecated and would sit before the queue, where a crash loses it."""
    assert not [name for name in config["processors"] if name.split("/")[0] == "batch"]


def test_every_component_that_is_defined_is_used(config: dict[str, Any]) -> None:
    """A component nobody refers to is a mistake, and the Collector would not complain."""
    used = {name for line in pipelines(config).values() for part in line.values() for name in part}
    used |= set(config["service"]["extensions"])
    defined = {
        name
        for section in ("receivers", "processors", "exporters", "connectors", "extensions")
        for name in config.get(section, {})
    }
    assert defined == used


def test_every_component_is_in_the_distribution(config: dict[str, Any], bundle: Path) -> None:
    """The manifest of our Collector names, in its comments, every component that a configuration uses."""
    named = set(re.findall(r"gomod: .*# (\w+)", (bundle / "collector/builder.yaml").read_text()))
    for section in ("receivers", "processors", "exporters", "connectors", "extensions"):
        kinds = {name.split("/")[0] for name in config.get(section, {})}
        assert kinds <= named, section


def test_it_reports_about_itself_by_the_same_road(config: dict[str, Any]) -> None:
    """Own metrics and logs go to its own OTLP port; own spans are off, being spans about exporting spans."""
    own = config["service"]["telemetry"]
    pushed = [reader["periodic"] for reader in own["metrics"]["readers"] if "periodic" in reader]
    pushed += [processor["batch"] for processor in own["logs"]["processors"]]
    assert [way["exporter"]["otlp"]["endpoint"] for way in pushed] == [
        "${env:FORGE_OTLP_SELF:-http://127.0.0.1:4318}"
    ] * 2
    assert own["traces"] == {"level": "none"}


def test_sampling_differs_from_single_in_sampling_only(bundle: Path) -> None:
    """A complete file for each use means two copies of much; they must not drift apart."""
    single, sampling = (
        yaml.safe_load((bundle / f"collector/config-{use}.yaml").read_text()) for use in ("single", "sampling")
    )
    assert set(sampling["processors"]) - set(single["processors"]) == {"tail_sampling"}
    assert set(sampling["service"]["pipelines"]) - set(single["service"]["pipelines"]) == {
        "traces/counted",
        "traces/kept",
        "metrics/spans",
    }
    for config in (single, sampling):
        config.pop("connectors", None)
        config["processors"].pop("tail_sampling", None)
        for name in ("traces", "traces/counted", "traces/kept", "metrics/spans"):
            config["service"]["pipelines"].pop(name, None)
    assert sampling == single
