"""An engine comes from PATH in an accepted version, else from the cache, else from a build."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from otel_forge.errors import EngineUnavailable
from otel_forge.stack.bundle import bundle_root
from otel_forge.stack.engine_build import cached_binary, find_toolchain
from otel_forge.stack.engine_progress import BuildProgress
from otel_forge.stack.engine_table import engine_named
from otel_forge.stack.engines import build_all, engine_at_hand, engine_path, main
from tests.conftest import require_tool

PROMETHEUS_3 = "prometheus, version 3.11.2 (branch: HEAD, revision: 8a2b)\n  build user:  root@build"
PROMETHEUS_2 = "prometheus, version 2.42.0+ds (branch: debian/sid, revision: 2.42.0+ds-5+b5)"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """An empty folder that is all there is on PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    return folder


def program(folder: Path, name: str, prints: str, status: int = 0) -> Path:
    """Put a program on PATH that prints a text and ends."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n/bin/cat <<'END'\n{prints}\nEND\nexit {status}\n")
    path.chmod(0o755)
    return path


def path_of(name: str, folder: Path, cache: Path) -> Path:
    """Return the engine when `folder` is all there is on PATH."""
    return engine_path(name, cache=cache, environ={"PATH": str(folder)})


def test_binary_on_path_in_an_accepted_version_is_used(programs: Path, tmp_path: Path) -> None:
    found = program(programs, "prometheus", PROMETHEUS_3)
    assert path_of("prometheus", programs, tmp_path / "cache") == found
    assert not (tmp_path / "cache").exists()


def test_alertmanager_is_found_under_its_debian_name(programs: Path, tmp_path: Path) -> None:
    printed = "prometheus-alertmanager, version 0.25.0+ds (branch: debian/sid, revision: 0.25.0+ds-1)"
    found = program(programs, "prometheus-alertmanager", printed)
    assert path_of("alertmanager", programs, tmp_path) == found


def test_collector_is_taken_from_path_only_when_it_is_our_distribution(programs: Path, tmp_path: Path) -> None:
    program(programs, "otelcol-contrib", "otelcol-contrib version 0.165.0")
    with pytest.raises(EngineUnavailable):
        path_of("collector", programs, tmp_path)
    ours = program(programs, "otelcol-forge", "otelcol-forge version 0.160.0")
    assert path_of("collector", programs, tmp_path) == ours


def test_without_go_the_message_says_what_was_found_and_what_to_install(programs: Path, tmp_path: Path) -> None:
    old = program(programs, "prometheus", PROMETHEUS_2)
    with pytest.raises(EngineUnavailable) as raised:
        path_of("prometheus", programs, tmp_path)
    assert str(raised.value) == (
        "prometheus is not on PATH in an accepted version, which is 3.8.0 or newer, below 4 "
        f"({old} is version 2.42.0), and there is no Go to build it with. "
        "Install Go 1.26 or newer, or prometheus itself, or use --engine docker."
    )


@pytest.mark.parametrize(
    "prints", ["loki-ext version 2.4.7_4", "", "Segmentation fault"], ids=["genetics", "silent", "broken"]
)
def test_program_that_only_shares_the_name_is_refused(programs: Path, tmp_path: Path, prints: str) -> None:
    program(programs, "loki", prints, status=1)
    with pytest.raises(EngineUnavailable, match="is another program"):
        path_of("loki", programs, tmp_path)


def test_file_that_cannot_be_run_is_refused(programs: Path, tmp_path: Path) -> None:
    (programs / "tempo").write_bytes(b"\x7fELF of another machine")
    (programs / "tempo").chmod(0o755)
    with pytest.raises(EngineUnavailable, match="is another program"):
        path_of("tempo", programs, tmp_path)


def test_unknown_name_is_an_error(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="There is no engine 'mimir'"):
        path_of("mimir", programs, tmp_path)


def cached(name: str, environ: dict[str, str], cache: Path) -> Path:
    """Put a stand-in for an engine where the cache would have it."""
    engine = engine_named(name)
    toolchain = find_toolchain(bundle_root() / engine.module, environ)
    assert toolchain is not None
    binary = cached_binary(engine, bundle_root(), cache, toolchain)
    binary.parent.mkdir(parents=True)
    binary.write_text("a program")
    return binary


@pytest.fixture
def go_only(programs: Path) -> dict[str, str]:
    """An environment in which go is the only program on PATH."""
    (programs / "go").symlink_to(require_tool("go"))
    home = str(Path.home())
    return {"PATH": str(programs), "HOME": home}


def test_engine_in_the_cache_is_used_before_anything_is_built(tmp_path: Path, go_only: dict[str, str]) -> None:
    binary = cached("promtool", go_only, tmp_path)
    assert engine_path("promtool", cache=tmp_path, environ=go_only) == binary


def test_engine_at_hand_never_builds(tmp_path: Path, go_only: dict[str, str]) -> None:
    assert engine_at_hand("amtool", cache=tmp_path, environ=go_only) is None
    binary = cached("amtool", go_only, tmp_path)
    assert engine_at_hand("amtool", cache=tmp_path, environ=go_only) == binary


def test_engine_at_hand_prefers_path_and_needs_no_go(programs: Path, tmp_path: Path) -> None:
    environ = {"PATH": str(programs)}
    assert engine_at_hand("prometheus", cache=tmp_path, environ=environ) is None
    found = program(programs, "prometheus", PROMETHEUS_3)
    assert engine_at_hand("prometheus", cache=tmp_path, environ=environ) == found


def test_build_all_counts_the_engines_and_keeps_their_order(programs: Path, tmp_path: Path) -> None:
    readings: list[BuildProgress] = []
    found = [
        program(programs, "promtool", "promtool, version 3.16.0 (branch: HEAD)"),
        program(programs, "amtool", "amtool, version 0.31.1 (branch: HEAD)"),
    ]
    environ = {"PATH": str(programs)}
    paths = build_all(["promtool", "amtool"], cache=tmp_path, environ=environ, progress=readings.append)
    assert list(paths.items()) == [("promtool", found[0]), ("amtool", found[1])]
    assert readings == []


def test_command_path_prints_where_an_engine_is(
    programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = program(programs, "prometheus", PROMETHEUS_3)
    environ = {"PATH": str(programs), "OTEL_FORGE_CACHE_DIR": str(tmp_path)}
    assert main(["path", "prometheus"], environ) == 0
    assert capsys.readouterr().out == f"{found}\n"


def test_command_build_lists_names_and_paths(
    programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = program(programs, "prometheus", PROMETHEUS_3)
    environ = {"PATH": str(programs), "OTEL_FORGE_CACHE_DIR": str(tmp_path)}
    assert main(["build", "prometheus"], environ) == 0
    assert capsys.readouterr().out == f"prometheus\t{found}\n"


def test_command_ends_with_the_error_and_status_one(
    programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", "loki"], {"PATH": str(programs), "OTEL_FORGE_CACHE_DIR": str(tmp_path)}) == 1
    assert "Install Go 1.26 or newer" in capsys.readouterr().err
    assert shutil.which("loki", path=str(programs)) is None
