"""The table of components: complete, without circles, and in step with the configuration files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otel_forge.stack.bundle import bundle_root
from otel_forge.stack.components import BY_NAME, COMPONENTS, NAMES, compose_command
from otel_forge.stack.engine_table import ENGINE_NAMES
from otel_forge.stack.ports import PORTS

READS = re.compile(r"\$\{(?:env:)?((?:OTEL_)?FORGE_[A-Z0-9_]+)")
# Read by a configuration, but the user's own to set; the file has the default.
USERS_OWN = {"FORGE_MEMORY_LIMIT_MIB"}


def test_names_and_ports_are_used_once() -> None:
    """Every port of the table belongs to exactly one component."""
    assert len(set(NAMES)) == len(COMPONENTS)
    assert sorted(port.key for component in COMPONENTS for port in component.ports) == sorted(p.key for p in PORTS)


def test_every_component_but_grafana_has_an_engine() -> None:
    """Grafana is found on PATH: no package index carries it."""
    assert {component.engine for component in COMPONENTS} - set(ENGINE_NAMES) == {"grafana"}


def test_a_component_waits_only_for_those_before_it() -> None:
    """So there is no circle, and the order of the table is one in which everything could start."""
    for position, component in enumerate(COMPONENTS):
        assert set(component.after) <= set(NAMES[:position]), component.name


def test_readiness_is_asked_on_a_port_of_the_component() -> None:
    """Asking a neighbour would be a comfortable lie."""
    for component in COMPONENTS:
        found = re.match(r"http://127\.0\.0\.1:\{([A-Z_]+)\}/", component.ready)
        assert found is not None, component.name
        assert found.group(1) in {port.key for port in component.ports}


@pytest.mark.parametrize("name", ["collector", "loki", "tempo"])
def test_a_component_is_given_every_variable_that_its_configuration_reads(name: str) -> None:
    """Else it would silently listen on, or talk to, a default."""
    component = BY_NAME[name]
    pattern = "config-*.yaml" if name == "collector" else "*.yaml"
    files = sorted((bundle_root() / component.config).glob(pattern))
    assert files
    for file in files:
        read = set(READS.findall(_without_comments(file))) - USERS_OWN
        assert read <= set(component.environment), file


@pytest.mark.parametrize("name", ["alertmanager", "prometheus", "loki", "tempo", "collector"])
def test_the_configuration_file_of_the_command_line_is_in_the_bundle(name: str) -> None:
    """The path in the container stands for the folder in the bundle."""
    component = BY_NAME[name]
    flag = next(flag for flag in compose_command(name) if "config" in flag and component.container_config in flag)
    file = flag.partition("=")[2].removeprefix(component.container_config).lstrip("/")
    assert (bundle_root() / component.config / file).is_file()


def _without_comments(file: Path) -> str:
    return "\n".join(line.partition(" #")[0] for line in file.read_text().splitlines() if not line.startswith("#"))
