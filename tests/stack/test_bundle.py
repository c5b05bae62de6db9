"""The bundle is found in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from otel_forge.stack.bundle import bundle_root


def test_checkout_is_its_own_bundle(tmp_path: Path) -> None:
    package = tmp_path / "otel_forge"
    package.mkdir()
    assert bundle_root(package) == tmp_path


def test_wheel_carries_the_bundle_beside_its_modules(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "otel_forge"
    (package / "_bundle").mkdir(parents=True)
    assert bundle_root(package) == package / "_bundle"


def test_bundle_in_use_holds_the_pins_and_the_manifest() -> None:
    root = bundle_root()
    assert (root / "backends/engines/collector/go.mod").is_file()
    assert (root / "collector/builder.yaml").is_file()
