"""What the table of engines says agrees with the pins, and versions are read as the programs print them."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from otel_forge.errors import EngineUnavailable
from otel_forge.stack.bundle import bundle_root
from otel_forge.stack.engine_table import ENGINES, Engine, engine_named, parse_version, version_text

ROOT = bundle_root()

# The first lines that real binaries print for --version.
PRINTED = {
    "prometheus, version 3.16.0 (branch: HEAD, revision: 0b1f)\n  build user: root@h\n  go version: go1.26.8": (
        3,
        16,
        0,
    ),
    "prometheus, version 2.42.0+ds (branch: debian/sid, revision: 2.42.0+ds-5+b5)": (2, 42, 0),
    "prometheus, version 3.17.0-rc.1 (branch: HEAD, revision: 1)": (3, 17, 0),
    "prometheus version 3.9 (branch: HEAD)": (3, 9, 0),
}


def pins(engine: Engine) -> dict[str, str]:
    """Return the module versions of an engine's go.mod."""
    text = (ROOT / engine.module / "go.mod").read_text()
    return dict(re.findall(r"^\s*(?:require )?(\S+\.\S+/\S+) (v\S+)", text, re.MULTILINE))


@pytest.mark.parametrize(("printed", "version"), PRINTED.items())
def test_version_is_read_from_what_the_program_prints(printed: str, version: tuple[int, int, int]) -> None:
    assert parse_version(printed, ("prometheus",)) == version


def test_alertmanager_under_its_debian_name_is_understood() -> None:
    printed = "prometheus-alertmanager, version 0.25.0+ds (branch: debian/sid, revision: 0.25.0+ds-1)"
    assert parse_version(printed, ("alertmanager", "prometheus-alertmanager")) == (0, 25, 0)


def test_program_of_the_same_name_that_is_something_else_has_no_version() -> None:
    """Debian's `loki` is a program for genetics."""
    assert parse_version("\nloki-ext version 2.4.7_4\nusage: loki [options]", ("loki",)) is None
    assert parse_version("", ("loki",)) is None


@given(st.tuples(*[st.integers(0, 10**6)] * 3))
def test_every_version_survives_being_written_and_read(version: tuple[int, int, int]) -> None:
    assert parse_version(f"tempo, version {version_text(version)} (branch: main)", ("tempo",)) == version


def test_accepted_versions_are_those_of_one_major_from_the_minimum_on() -> None:
    prometheus = engine_named("prometheus")
    assert [prometheus.accepts(version) for version in ((3, 7, 9), (3, 8, 0), (3, 99, 0), (4, 0, 0), (2, 53, 0))] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert prometheus.accepted == "3.8.0 or newer, below 4"


def test_tempo_is_accepted_in_the_two_lines_that_have_a_configuration() -> None:
    tempo = engine_named("tempo")
    assert [tempo.accepts(version) for version in ((1, 5, 0), (2, 1, 9), (2, 10, 8), (3, 0, 3), (4, 0, 0))] == [
        False, False, True, True, False,
    ]  # fmt: skip
    assert tempo.accepted == "2.2.0 or newer, below 3, or 3.0.0 or newer, below 4"


def test_unknown_engine_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(EngineUnavailable, match="no engine 'jaeger'; there are collector, prometheus"):
        engine_named("jaeger")


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_our_own_version_would_be_accepted_on_path(engine: Engine) -> None:
    version = parse_version(f"{engine.path_names[0]}, version {engine.version}", engine.path_names)
    assert version is not None
    assert engine.accepts(version)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_version_in_the_table_is_the_pinned_one(engine: Engine) -> None:
    pinned = pins(engine)
    expected = {
        "collector": ("go.opentelemetry.io/collector/otelcol", f"v{engine.version}"),
        # Prometheus numbers its Go module 0.MMM.P for its release M.M.P.
        "prometheus": ("github.com/prometheus/prometheus", f"v0.3{engine.version[2:]}"),
        "promtool": ("github.com/prometheus/prometheus", f"v0.3{engine.version[2:]}"),
        "alertmanager": ("github.com/prometheus/alertmanager", f"v{engine.version}"),
        "amtool": ("github.com/prometheus/alertmanager", f"v{engine.version}"),
        "loki": ("github.com/grafana/loki/v3", f"v{engine.version}"),
        # Two months before Tempo 2.2.0 was released; modules of later releases cannot be had.
        "tempo": ("github.com/grafana/tempo", "v1.5.1-0.20230524121406-1dc1bfe7085b"),
    }
    module, version = expected[engine.name]
    assert pinned[module] == version


def test_manifest_and_go_mod_of_the_collector_pin_the_same_modules() -> None:
    collector = engine_named("collector")
    assert collector.manifest is not None
    manifest = yaml.safe_load((ROOT / collector.manifest).read_text())
    sections = ("receivers", "processors", "connectors", "exporters", "extensions", "providers")
    wanted = dict(part["gomod"].split() for section in sections for part in manifest[section])
    pinned = pins(collector)
    assert {module: pinned.get(module) for module in wanted} == wanted
    assert manifest["dist"]["version"] == collector.version
    assert manifest["dist"]["build_tags"] == ",".join(collector.tags)
    assert pinned["go.opentelemetry.io/collector/cmd/builder"] == f"v{collector.version}"


def test_pins_name_no_registry_and_no_folder() -> None:
    """A replace may name another module, never an address or a path of one machine."""
    for path in (ROOT / "backends/engines").rglob("go.mod"):
        text = re.sub(r"//.*", "", path.read_text().replace("://", "ADDRESS"))
        assert "ADDRESS" not in text, path
        assert not re.search(r"=>\s*[./]", text), path
