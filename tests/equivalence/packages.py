"""What some tests need from the package index and nobody wants installed: fetched by pip once, kept in the cache.

Sources, because upstream ships its tests in them; instrumentations of other libraries, because each one that is
installed becomes part of everything that runs under ``opentelemetry-instrument``.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from otel_forge.stack.settings import StackSettings
from tests.conftest import missing

ROOT = Path(__file__).parents[2]


def source(distribution: str) -> Path:
    """Return the unpacked source distribution of `distribution` in the installed version."""
    wanted = f"{distribution}=={version(distribution)}"

    def fetch(folder: Path) -> Path:
        _pip("download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), wanted)
        [archive] = folder.glob("*.tar.gz")
        with tarfile.open(archive) as opened:
            opened.extractall(folder / "unpacked", filter="data")
        [unpacked] = (folder / "unpacked").iterdir()
        return unpacked

    return _kept(wanted, fetch)


def ecosystem() -> Path:
    """Return a folder to import the dependency group ``ecosystem`` of our pyproject.toml from."""
    return group("ecosystem")


def group(name: str) -> Path:
    """Return a folder to import a dependency group of our pyproject.toml from; it names all it needs, or we have it."""
    listed = re.search(rf"^{name} = \[.*?\]$", (ROOT / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE)
    assert listed is not None

    def fetch(folder: Path) -> Path:
        named = ("--group", f"{ROOT / 'pyproject.toml'}:{name}")
        _pip("install", "--no-deps", "--target", str(folder / "packages"), *named)
        return folder / "packages"

    return _kept(f"{name}-{hashlib.sha256(listed.group().encode()).hexdigest()[:16]}", fetch)


def _kept(name: str, fetch: Callable[[Path], Path]) -> Path:
    """Return the folder `name` of the cache, filled by `fetch` in one step if it is not there yet."""
    cache = StackSettings.from_env(os.environ).cache_dir / "tests"
    kept = cache / f"{name}-python{sys.version_info.major}.{sys.version_info.minor}"
    if not kept.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            fetched = fetch(Path(folder))
            try:
                fetched.rename(kept)
            except OSError:
                if not kept.is_dir():  # another run was not faster
                    raise
    return kept


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    if done.returncode:
        missing(f"what `pip {arguments[0]}` should fetch ({(done.stderr.strip().splitlines() or ['?'])[-1]})")
