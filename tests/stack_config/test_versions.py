"""One version of each server: what Docker pulls is what the native build pins, or the difference has a reason."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_forge.stack.engine_table import engine_named

# Component: (version in the image, version built natively), and why they cannot be the same.
DIFFERENT: dict[str, tuple[str, str, str]] = {
    "alertmanager": (
        "0.34.1",
        "0.31.1",
        "later modules lack the embedded page that the server needs to compile",
    ),
    "tempo": (
        "3.0.3",
        "2.2.0-dev",
        "no module of the 3.x line can be had; the two lines also take different files, tempo.yaml and tempo-2.yaml",
    ),
}


@pytest.fixture(scope="module")
def images(bundle: Path) -> dict[str, str]:
    """The version of each service's image, without a leading v."""
    services: dict[str, Any] = yaml.safe_load((bundle / "docker-compose.yml").read_text())["services"]
    return {name: service["image"].rpartition(":")[2].removeprefix("v") for name, service in services.items()}


@pytest.mark.parametrize("name", ["collector", "prometheus", "loki"])
def test_docker_and_native_run_the_same_version(images: dict[str, str], name: str) -> None:
    """The same configuration can only mean the same if the same version reads it."""
    assert images[name] == engine_named(name).version


@pytest.mark.parametrize("name", sorted(DIFFERENT))
def test_a_known_difference_is_still_that_difference(images: dict[str, str], name: str) -> None:
    """When either side moves, the reason must be looked at again."""
    image, native, _ = DIFFERENT[name]
    assert (images[name], engine_named(name).version) == (image, native)


def test_the_collector_is_built_from_one_release(bundle: Path, images: dict[str, str]) -> None:
    """The manifest's own version and nearly every module are the release of the image."""
    manifest = yaml.safe_load((bundle / "collector/builder.yaml").read_text())
    assert manifest["dist"]["version"] == images["collector"]
    modules = [
        entry["gomod"].split()
        for section in ("receivers", "processors", "exporters", "extensions")
        for entry in manifest[section]
    ]
    assert {version for _, version in modules} == {f"v{images['collector']}"}


def test_prometheus_module_version_is_the_image_version(bundle: Path, images: dict[str, str]) -> None:
    """Prometheus 3.16.0 is the Go module v0.316.0."""
    pins = (bundle / "backends/engines/prometheus/go.mod").read_text()
    found = re.search(r"github\.com/prometheus/prometheus v0\.3(\d+)\.(\d+)", pins)
    assert found
    assert images["prometheus"] == f"3.{int(found[1])}.{found[2]}"


def test_loki_module_version_is_the_image_version(bundle: Path, images: dict[str, str]) -> None:
    """The module pinned is the release that Docker pulls."""
    pins = (bundle / "backends/engines/loki/go.mod").read_text()
    assert f"github.com/grafana/loki/v3 v{images['loki']}" in pins


def test_the_volume_is_prepared_by_an_image_that_is_there_anyway(images: dict[str, str]) -> None:
    """`collector-volume` must not make anybody download a seventh image."""
    assert images["collector-volume"] == images["tempo"]
