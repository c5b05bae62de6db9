"""Tempo starts from a main package of ours; what its own understands on the command line, this one does too."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from otel_forge.stack.bundle import bundle_root
from tests.engines import require_engine


@pytest.fixture(scope="session")
def tempo() -> Path:
    """The Tempo that the native stack uses."""
    return require_engine("tempo")


@pytest.fixture(scope="session")
def major(tempo: Path) -> int:
    """Its major version, as its own --version has it."""
    found = re.match(r"tempo, version (\d+)\.", run(tempo, "-version").stdout)
    assert found is not None
    return int(found[1])


def run(tempo: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Tempo to its end."""
    environ = {**os.environ, **variables}
    return subprocess.run([tempo, *arguments], env=environ, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def config(major: int) -> Path:
    """The configuration for this Tempo."""
    return bundle_root() / "backends/tempo" / ("tempo-2.yaml" if major == 2 else "tempo.yaml")


def test_our_configuration_has_no_flaw(tempo: Path, config: Path, tmp_path: Path) -> None:
    done = run(
        tempo, f"-config.file={config}", "-config.expand-env=true", "-config.verify=true", FORGE_STATE=str(tmp_path)
    )
    assert done.returncode == 0, done.stderr


def test_unknown_key_is_refused_with_its_name(tempo: Path, tmp_path: Path) -> None:
    config = tmp_path / "tempo.yaml"
    config.write_text("distributor: {colour: green}\n")
    done = run(tempo, f"-config.file={config}", "-config.verify=true")
    assert done.returncode == 1
    assert "colour" in done.stderr


def test_environment_variables_are_replaced_only_when_asked(tempo: Path, tmp_path: Path) -> None:
    config = tmp_path / "tempo.yaml"
    config.write_text("server:\n  http_listen_port: ${TEST_PORT:-3200}\n")
    assert run(tempo, f"-config.file={config}", "-config.verify=true").returncode == 1
    given = (f"-config.file={config}", "-config.verify=true", "-config.expand-env=true")
    assert "cannot unmarshal" not in run(tempo, *given).stderr
    assert "cannot unmarshal" in run(tempo, *given, TEST_PORT="many").stderr


def test_missing_file_is_named(tempo: Path, tmp_path: Path) -> None:
    done = run(tempo, f"-config.file={tmp_path / 'none.yaml'}")
    assert done.returncode == 1
    assert str(tmp_path / "none.yaml") in done.stderr
