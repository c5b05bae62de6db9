"""Chooses the engine: the one asked for, the one that runs already, or the first that can be had."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from otel_forge.errors import StackError
from otel_forge.stack.backend import ENGINES, STOPPED, Backend, Report
from otel_forge.stack.docker import DockerBackend, why_not
from otel_forge.stack.engine_progress import BuildProgress
from otel_forge.stack.engines import build_all
from otel_forge.stack.native import NativeBackend
from otel_forge.stack.settings import StackSettings
from otel_forge.stack.state import StateFolder

AUTO = "auto"
CHOICES = (AUTO, *ENGINES)


def backend_for(
    engine: str,
    settings: StackSettings,
    environ: Mapping[str, str],
    report: Report,
    progress: Callable[[BuildProgress], None] | None = None,
) -> Backend:
    """Return the backend of one engine by its name."""
    if engine == "docker":
        return DockerBackend(settings, environ, report)

    def find_programs(names: Sequence[str]) -> Mapping[str, Path]:
        return build_all(names, cache=settings.cache_dir, environ=environ, progress=progress)

    return NativeBackend(settings, environ, find_programs, report)


def active_engine(settings: StackSettings) -> str | None:
    """Return the engine that runs from this state folder, as far as the folder knows."""
    folder = StateFolder(settings.state_dir)
    if folder.is_owned():
        return "native"
    state = folder.read()
    return "docker" if state is not None and state.engine == "docker" and state.status != STOPPED else None


def last_engine(settings: StackSettings) -> str:
    """Return the engine that runs or ran last: the one that `down`, `status`, `logs` and `restart` are about."""
    state = StateFolder(settings.state_dir).read()
    known = state.engine if state is not None and state.engine in ENGINES else "native"
    return active_engine(settings) or known


def choose(asked: str, settings: StackSettings, environ: Mapping[str, str], report: Report) -> str:
    """Return the engine for `up`; raise StackError when another one runs from the same state folder."""
    active = active_engine(settings)
    if active is not None and asked not in (AUTO, active):
        raise StackError(
            f"The stack is running with the engine {active}; "
            f"run `otel-forge down` before `otel-forge up --engine {asked}`."
        )
    if active is not None or asked != AUTO:
        return active or asked
    if reason := why_not(environ):
        clause = reason.split(": ")[0].rstrip(".")  # the whole of it is told to who asks for docker
        report(f"engine native: {clause[0].lower()}{clause[1:]}")
        return "native"
    return "docker"
