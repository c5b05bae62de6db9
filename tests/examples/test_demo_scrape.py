"""Telling a native stack's Prometheus about the demo's scrape endpoints."""

from __future__ import annotations

from pathlib import Path

from asset_forge.demo import scrape


def test_the_target_file_comes_and_goes_with_the_demo(tmp_path: Path) -> None:
    """It is put where the stack's Prometheus reads targets, and taken away again."""
    environ = {"OTEL_FORGE_STATE_DIR": str(tmp_path)}
    (tmp_path / "config" / "prometheus" / "targets").mkdir(parents=True)
    said = scrape.announce(environ)
    placed = tmp_path / "config" / "prometheus" / "targets" / "scrape" / "prometheus-scrape.yaml"
    assert placed.read_text() == scrape.TARGETS_FILE.read_text()
    assert str(placed) in said
    scrape.withdraw(environ)
    assert not placed.exists()


def test_without_a_native_stack_nothing_is_written(tmp_path: Path) -> None:
    """The user is told which file to point a Prometheus at."""
    said = scrape.announce({"OTEL_FORGE_STATE_DIR": str(tmp_path)})
    assert str(scrape.TARGETS_FILE) in said
    assert list(tmp_path.iterdir()) == []
    scrape.withdraw({"OTEL_FORGE_STATE_DIR": str(tmp_path)})
