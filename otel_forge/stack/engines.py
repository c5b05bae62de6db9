"""Finds the native binaries of the stack: an accepted one on PATH, else our own from the cache, else a build of it.

Also a program: `python -m otel_forge.stack.engines build [NAME …]` and `… path NAME`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from otel_forge.errors import EngineUnavailable, ForgeError
from otel_forge.stack.bundle import bundle_root
from otel_forge.stack.engine_build import build, cached_binary, find_toolchain
from otel_forge.stack.engine_progress import BuildProgress, ProgressText
from otel_forge.stack.engine_table import (
    ENGINE_NAMES,
    ENGINES,
    Engine,
    Version,
    engine_named,
    parse_version,
    version_text,
)
from otel_forge.stack.settings import StackSettings

__all__ = ["ENGINES", "ENGINE_NAMES", "BuildProgress", "ProgressText", "build_all", "engine_at_hand", "engine_path"]

Progress = Callable[[BuildProgress], None]

VERSION_TIMEOUT = 10.0  # seconds a binary on PATH may take to print its version


@dataclass(frozen=True)
class Found:
    """A binary on PATH and the version it prints; None for a program that is something else."""

    path: Path
    version: Version | None

    def refusal(self) -> str:
        """Return in words why it is not used."""
        what = f"is version {version_text(self.version)}" if self.version else "is another program"
        return f"{self.path} {what}"


def engine_path(
    name: str,
    *,
    cache: Path,
    environ: Mapping[str, str],
    progress: Progress | None = None,
    root: Path | None = None,
) -> Path:
    """Return the executable of an engine, building it when there is no other way.

    `cache` is otel-forge's cache folder; `root` the bundle with the pins, ours when not given. Raises
    EngineUnavailable, whose message says what to install, when the engine can neither be found nor built.
    """
    engine = engine_named(name)
    root = root or bundle_root()
    on_path = list(binaries_on_path(engine, environ))
    if accepted := _accepted(engine, on_path):
        return accepted
    toolchain = find_toolchain(root / engine.module, environ)
    if toolchain is None:
        raise EngineUnavailable(_nothing_there(engine, on_path))
    report = progress or (lambda _progress: None)
    return build(engine, root=root, cache=cache, toolchain=toolchain, environ=environ, report=report)


def engine_at_hand(name: str, *, cache: Path, environ: Mapping[str, str], root: Path | None = None) -> Path | None:
    """Return the executable of an engine that can be used at once; None for one that must be built first."""
    engine = engine_named(name)
    root = root or bundle_root()
    if accepted := _accepted(engine, binaries_on_path(engine, environ)):
        return accepted
    toolchain = find_toolchain(root / engine.module, environ)
    if toolchain is None:
        return None
    binary = cached_binary(engine, root, cache, toolchain)
    return binary if binary.is_file() else None


def _accepted(engine: Engine, on_path: Iterable[Found]) -> Path | None:
    accepted = (found.path for found in on_path if found.version and engine.accepts(found.version))
    return next(accepted, None)


def build_all(
    names: Iterable[str] = ENGINE_NAMES,
    *,
    cache: Path,
    environ: Mapping[str, str],
    progress: Progress | None = None,
    root: Path | None = None,
) -> dict[str, Path]:
    """Return the executables of several engines by name, in the order of `names`, counting them in the progress."""
    wanted = list(names)
    found = {}
    for position, name in enumerate(wanted, start=1):
        report = _numbered(progress, position, len(wanted))
        found[name] = engine_path(name, cache=cache, environ=environ, progress=report, root=root)
    return found


def _numbered(progress: Progress | None, position: int, count: int) -> Progress | None:
    if progress is None:
        return None
    return lambda reading: progress(replace(reading, position=position, count=count))


def binaries_on_path(engine: Engine, environ: Mapping[str, str]) -> Iterator[Found]:
    """Yield the programs on PATH that are called like an engine."""
    for name in engine.path_names:
        if path := shutil.which(name, path=environ.get("PATH", "")):
            yield Found(Path(path), _version_of(path, engine.path_names, environ))


def _version_of(path: str, names: tuple[str, ...], environ: Mapping[str, str]) -> Version | None:
    try:
        asked = subprocess.run(
            [path, "--version"],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(asked.stdout, names)


def _nothing_there(engine: Engine, on_path: list[Found]) -> str:
    seen = f" ({'; '.join(found.refusal() for found in on_path)})" if on_path else ""
    return (
        f"{engine.name} is not on PATH in an accepted version, which is {engine.accepted}{seen}, and there is no Go to "
        f"build it with. Install Go 1.26 or newer, or {engine.name} itself, or use --engine docker."
    )


def main(arguments: list[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m otel_forge.stack.engines", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    builds = commands.add_parser("build", help="build engines that are neither on PATH nor in the cache yet")
    names_help = f"of {', '.join(ENGINE_NAMES)}; all when none is given"
    builds.add_argument("names", nargs="*", metavar="NAME", help=names_help)
    path = commands.add_parser("path", help="print where an engine is, building it when needed")
    path.add_argument("names", nargs=1, metavar="NAME")
    chosen = parser.parse_args(arguments)
    try:
        cache = StackSettings.from_env(environ).cache_dir
        names = chosen.names or ENGINE_NAMES
        paths = build_all(names, cache=cache, environ=environ, progress=ProgressText(sys.stderr))
    except ForgeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for name, found in paths.items():
        sys.stdout.write(f"{found}\n" if chosen.command == "path" else f"{name}\t{found}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
