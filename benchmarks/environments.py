"""One virtual environment for each variant, kept in the user's cache under a hash of what it holds.

So stock, ours and the others never meet: two distros in one environment would be a lottery. Ours is installed as
users get it, as a wheel with its byte code beside it, and anew whenever the checkout has changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.variants import Variant

CHECKOUT = Path(__file__).resolve().parent.parent
_COMPLETE, _INSTALLED = "complete", "installed"
_INSTALL_SECONDS = 600

Run = Callable[[list[str]], object]


class CannotInstall(Exception):
    """A variant's packages could not be installed; the message is the installer's last line."""


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder below which the environments are kept."""
    if environ.get("OTEL_FORGE_CACHE_DIR"):
        return Path(environ["OTEL_FORGE_CACHE_DIR"]) / "benchmarks"
    base = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "otel-forge" / "benchmarks"


def folder_of(variant: Variant, cache: Path, checkout: Path = CHECKOUT) -> Path:
    """Return where the environment of `variant` lives: its name and a hash of all that decides what is in it."""
    parts = [sys.version, sys.executable, *variant.requirements()]
    if variant.pinned:
        parts.append(_constraints(variant, checkout))
    if _is_ours(variant):
        parts += [str(checkout), (checkout / "pyproject.toml").read_text()]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    shared = "forge" if _is_ours(variant) else variant.name
    return cache / f"{shared}-{digest[:16]}"


def environment(variant: Variant, cache: Path, checkout: Path = CHECKOUT, run: Run | None = None) -> Path:
    """Return the ``bin`` folder of the variant's environment, which is made if it is not there.

    Raises CannotInstall.
    """
    run = run or _run
    folder = folder_of(variant, cache, checkout)
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock")):
        if not (folder / _COMPLETE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install(variant, folder, checkout, run)
            (folder / _COMPLETE).touch()
        if _is_ours(variant):
            _install_ours(folder, checkout, run)
    return folder / "bin"


def _install(variant: Variant, folder: Path, checkout: Path, run: Run) -> None:
    requirements = [part.format(checkout=checkout) for part in variant.requirements()]
    run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    constraints = []
    if variant.pinned:
        (folder / "constraints.txt").write_text(_constraints(variant, checkout))
        constraints = ["--constraint", str(folder / "constraints.txt")]
    run([*_pip_install(folder), *constraints, *requirements])


def _install_ours(folder: Path, checkout: Path, run: Run) -> None:
    """Install what the checkout holds now, unless that is what is there."""
    digest, installed = source_digest(checkout), folder / _INSTALLED
    if not installed.exists() or installed.read_text() != digest:
        run([*_pip_install(folder), "--force-reinstall", "--no-deps", str(checkout)])
        installed.write_text(digest)


def source_digest(checkout: Path) -> str:
    """Return a hash of the package's files, byte code apart."""
    digest = hashlib.sha256()
    for path in sorted((checkout / "otel_forge").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(checkout)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _pip_install(folder: Path) -> list[str]:
    return [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]


def _constraints(variant: Variant, checkout: Path) -> str:
    """Return our constraints without those packages that the variant needs in another version."""
    lines = (checkout / "constraints.txt").read_text().splitlines(keepends=True)
    return "".join(line for line in lines if line.partition("==")[0] not in variant.freed)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, env=_clean())
    except subprocess.TimeoutExpired as error:
        raise CannotInstall(f"not installed within {_INSTALL_SECONDS} s") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise CannotInstall(lines[-1] if lines else f"the installer ended with status {done.returncode}")


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHONPATH"))}


def _is_ours(variant: Variant) -> bool:
    return any("{checkout}" in part for part in variant.packages)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
