"""The variants and their environments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.environments import cache_folder, environment, folder_of, source_digest
from benchmarks.process import ProcessFailed, clean_environ, launched, show_harness
from benchmarks.stage import check_pipeline
from benchmarks.starting import ways_to_start
from benchmarks.variants import BASELINE, FORGE, FORGE_RUN, STOCK, UPSTREAM, VARIANTS, Addresses, chosen

ADDRESSES = Addresses("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3")


def test_the_baseline_is_always_measured_and_first() -> None:
    assert [variant.name for variant in chosen("forge,stock-http")] == [BASELINE, FORGE, STOCK]


def test_other_products_are_measured_only_when_asked_for() -> None:
    assert [variant.name for variant in chosen("")] == [BASELINE, STOCK, "stock-grpc", UPSTREAM, FORGE]
    assert len(chosen("", extras=True)) == len(VARIANTS)


def test_a_wrong_name_is_said_with_the_right_ones() -> None:
    with pytest.raises(ValueError, match="frge: no such variant. There are uninstrumented, stock-http"):
        chosen("frge")


def test_stock_and_ours_get_the_same_settings_but_for_the_pipeline() -> None:
    stock, forge = (VARIANTS[name].settings(ADDRESSES) for name in (STOCK, FORGE))
    own = {name for name in set(stock) | set(forge) if stock.get(name) != forge.get(name)}
    assert own == {"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_FORGE_PIPELINE", "OTEL_FORGE_STARTUP_LINE"}


def test_both_of_ours_differ_in_the_pipeline_alone_and_share_an_environment(tmp_path: Path) -> None:
    assert VARIANTS[FORGE].settings(ADDRESSES)["OTEL_FORGE_PIPELINE"] == "lean"
    assert VARIANTS[UPSTREAM].settings(ADDRESSES)["OTEL_FORGE_PIPELINE"] == "upstream"
    assert folder_of(VARIANTS[FORGE], tmp_path) == folder_of(VARIANTS[UPSTREAM], tmp_path)


def test_environments_are_apart_and_change_with_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("one")
    (tmp_path / "constraints.txt").write_text("flask==3.1.3")
    before = {name: folder_of(VARIANTS[name], tmp_path, tmp_path) for name in (STOCK, FORGE)}
    (tmp_path / "pyproject.toml").write_text("two")
    after = {name: folder_of(VARIANTS[name], tmp_path, tmp_path) for name in (STOCK, FORGE)}
    assert before[STOCK] == after[STOCK] != before[FORGE] != after[FORGE]


def checkout_of(folder: Path, code: str) -> Path:
    (folder / "otel_forge/__pycache__").mkdir(parents=True, exist_ok=True)
    (folder / "otel_forge/__init__.py").write_text(code)
    (folder / "pyproject.toml").write_text("")
    (folder / "constraints.txt").write_text("")
    return folder


def test_ours_is_installed_as_a_wheel_again_whenever_the_checkout_has_changed(tmp_path: Path) -> None:
    """Never editable: users have the package compiled, away from its sources."""
    commands: list[list[str]] = []

    def run(command: list[str]) -> None:
        commands.append(command)
        folder_of(VARIANTS[FORGE], tmp_path / "cache", tmp_path).mkdir(exist_ok=True)

    def installs(code: str) -> int:
        commands.clear()
        environment(VARIANTS[FORGE], tmp_path / "cache", checkout_of(tmp_path, code), run)
        assert not any("--editable" in command for command in commands)
        return sum(command[-1] == str(tmp_path) and "--force-reinstall" in command for command in commands)

    assert [installs("one"), installs("one"), installs("two")] == [1, 0, 1]


def test_byte_code_makes_no_other_checkout(tmp_path: Path) -> None:
    before = source_digest(checkout_of(tmp_path, "one"))
    (tmp_path / "otel_forge/__pycache__/x.pyc").write_text("x")
    assert source_digest(tmp_path) == before != source_digest(checkout_of(tmp_path, "two"))


def test_measured_processes_find_the_harness_but_not_the_checkout(tmp_path: Path) -> None:
    """Otherwise our package would be measured as it lies in the checkout, and not as it is installed."""
    show_harness(tmp_path)
    find = "import importlib.util as u; print(bool(u.find_spec('benchmarks')), bool(u.find_spec('otel_forge')))"
    command = [sys.executable, "-S", "-c", find]
    said = subprocess.run(command, cwd=tmp_path, env=clean_environ(), capture_output=True, text=True, check=True)
    assert said.stdout == "True False\n"


def test_ours_is_started_with_both_launchers() -> None:
    ways = ways_to_start(VARIANTS[name] for name in (BASELINE, STOCK, FORGE))
    assert {name: way.started for name, way in ways.items()} == {
        BASELINE: "plain",
        STOCK: "opentelemetry-instrument",
        FORGE: "opentelemetry-instrument",
        FORGE_RUN: "otel-forge run",
    }
    assert ways[FORGE_RUN].settings(ADDRESSES) == ways[FORGE].settings(ADDRESSES)


def test_a_variant_that_runs_another_pipeline_than_it_is_named_after_is_refused() -> None:
    with pytest.raises(ProcessFailed, match=r"forge runs on opentelemetry.sdk.trace, not on otel_forge\.\*"):
        check_pipeline(VARIANTS[FORGE], "opentelemetry.sdk.trace")
    check_pipeline(VARIANTS[FORGE], "otel_forge.sdk.tracer")
    check_pipeline(VARIANTS[BASELINE], "")


def test_programs_are_started_with_the_variants_own_launcher() -> None:
    assert launched("plain", Path("/v/bin"), "-m", "app") == ["/v/bin/python", "-m", "app"]
    assert launched("opentelemetry-instrument", Path("/v/bin"), "-m", "app") == [
        "/v/bin/python",
        "/v/bin/opentelemetry-instrument",
        "/v/bin/python",
        "-m",
        "app",
    ]
    assert launched("otel-forge run", Path("/v/bin"), "app.py") == [
        "/v/bin/python",
        "/v/bin/otel-forge",
        "run",
        "/v/bin/python",
        "app.py",
    ]


def test_settings_of_the_shell_for_telemetry_and_for_python_reach_no_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"OTEL_SDK_DISABLED", "DD_SERVICE", "SENTRY_DSN", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}
    for name in names:
        monkeypatch.setenv(name, "x")
    assert not names & set(clean_environ())


def test_environments_live_in_the_users_cache() -> None:
    assert cache_folder({"OTEL_FORGE_CACHE_DIR": "/c"}) == Path("/c/benchmarks")
    assert cache_folder({"XDG_CACHE_HOME": "/x"}) == Path("/x/otel-forge/benchmarks")
