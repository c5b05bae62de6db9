"""Telemetry in a process that starts: the providers, then every installed instrumentation.

There are two ways in. ``opentelemetry-instrument`` finds `otel_forge.distro`, which calls `configure` and `instrument`;
``otel-forge run`` calls `start`, which does by itself what upstream's loader does. That loader, and the base classes of
upstream's instrumentations, are imported only where somebody else's instrumentation needs them: they take longer than
all of ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from otel_forge import plugins
from otel_forge.environment import overlaid
from otel_forge.guard import guard
from otel_forge.import_hooks import when_imported
from otel_forge.notices import notice
from otel_forge.settings import Settings

_OURS = "otel_forge"
_CHOICES = ("OTEL_PYTHON_DISTRO", "OTEL_PYTHON_CONFIGURATOR")
_GEVENT = "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH"
_PROPAGATORS = "OTEL_PROPAGATORS"
_LOGGING_INSTRUMENTATION = "logging"
_THREADS = "threading"

_core: Any = None
"""What the lean instruments record into, once telemetry is on; None where upstream's instrumentations serve."""


def start(folder: str) -> None:
    """Do in this process what ``opentelemetry-instrument`` does; a fault never reaches the application.

    Meanwhile `folder`, that of our ``sitecustomize``, is off PYTHONPATH: an instrumentation that starts a Python
    process would else start one that starts another.
    """
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    others = os.pathsep.join(path for path in paths if path != folder)
    changes = {"PYTHONPATH": others or None} if folder in paths else {}
    with guard("starting telemetry"), overlaid(os.environ, changes):
        if _is_left_to_upstream(os.environ):
            from opentelemetry.instrumentation.auto_instrumentation import initialize

            initialize()
            return
        _patch_for_gevent()
        configure()
        _call_all("opentelemetry_pre_instrument")
        _load_instrumentations()
        _call_all("opentelemetry_post_instrument")


def configure() -> None:
    """Turn telemetry on from the environment; a fault in it never reaches the application."""
    global _core
    settings = Settings.from_env(os.environ)
    hidden = [*settings.rejected, _PROPAGATORS]
    with guard("starting telemetry"), overlaid(os.environ, dict.fromkeys(hidden)):
        from otel_forge import telemetry  # API and SDK read variables on import, and raise on bad ones

        _core = telemetry.configure(
            settings, argv=sys.orig_argv, folder=Path.cwd(), announce=not _is_reloaded_child()
        ).core
        _carry_context_into_threads(settings)


def instrument(entry_point: EntryPoint, **options: Any) -> None:
    """Activate one instrumentation: ours where the lean pipeline has one of that name, else the one installed.

    Raises whatever that one raises.
    """
    settings = Settings.from_env(os.environ)
    if not _instrument_with_ours(entry_point.name, settings):
        with overlaid(os.environ, _shown_to_instrumentations(settings, entry_point.name)):
            entry_point.load()().instrument(**options)


def say_failed(entry_point: EntryPoint, error: Exception) -> None:
    """Say that an instrumentation failed: it costs only itself."""
    notice(f"the instrumentation {entry_point.name!r} failed and is off ({type(error).__name__}: {error}).")


def _is_left_to_upstream(environ: Mapping[str, str]) -> bool:
    """Return whether the user asks for somebody else's distro or configurator: upstream's loader knows those."""
    return any(environ.get(name, _OURS) != _OURS for name in _CHOICES)


def _patch_for_gevent() -> None:
    """Patch the standard library for gevent where upstream's experimental variable asks for it."""
    asked = os.environ.get(_GEVENT)
    if asked is None:
        return
    if asked != "patch_all":
        notice(f"{_GEVENT}={asked!r} is not patch_all; nothing is patched.")
        return
    try:
        monkey = import_module("gevent.monkey")
    except ImportError:
        notice(f"{_GEVENT}=patch_all needs gevent, which is not installed; nothing is patched.")
    else:
        monkey.patch_all()


def _call_all(group: str) -> None:
    for entry_point in plugins.offered(group):
        with guard(f"calling {entry_point.name!r} of {group}"):
            entry_point.load()()


def _load_instrumentations() -> None:
    disabled = _disabled()
    if "*" in disabled:
        return
    settings = Settings.from_env(os.environ)
    for entry_point in plugins.offered("opentelemetry_instrumentor"):
        if entry_point.name in disabled or _instrument_with_ours(entry_point.name, settings):
            continue
        try:
            _instrument_with_installed(entry_point)
        except ModuleNotFoundError:
            continue  # it is here, the library that it instruments is not
        except Exception as error:  # noqa: BLE001 - one that fails costs only itself
            say_failed(entry_point, error)


def _disabled() -> set[str]:
    return {name.strip() for name in os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}


def _carry_context_into_threads(settings: Settings) -> None:
    """Activate the instrument of threads, with both pipelines: no package has to be installed for it."""
    if settings.disabled or _disabled() & {"*", _THREADS} or _instrument_with_ours(_THREADS, settings):
        return
    from otel_forge.instruments.threading import ThreadingInstrument

    ThreadingInstrument().instrument()  # which records nothing


def _instrument_with_installed(entry_point: EntryPoint) -> None:
    """Activate an instrumentation unless its library is missing, or has a version that it does not know."""
    from opentelemetry.instrumentation.dependencies import DependencyConflictError, get_dist_dependency_conflicts

    try:
        distribution = entry_point.dist
        conflict = get_dist_dependency_conflicts(distribution) if distribution else None
        if conflict is None:
            instrument(entry_point, skip_dep_check=distribution is not None)
    except DependencyConflictError as error:
        conflict = error.conflict
    if conflict is not None and (conflict.found or conflict.found_any):
        notice(f"the instrumentation {entry_point.name!r} is off: {conflict}.")


def _instrument_with_ours(name: str, settings: Settings) -> bool:
    """Activate the lean instrument `name`; return False where there is none for this pipeline and these conventions.

    An instrument is named after the module it patches, and waits until the application imports that: a library
    that is installed but not used costs no start-up time.
    """
    if _core is None:
        return False
    from otel_forge.instruments import adoption, build_instrument, is_offered

    if not is_offered(name, settings.semconv_opt_in):
        return False
    if adoption.is_active(name):
        return True
    core, changes = _core, _shown_to_instrumentations(settings, name)

    def activate(module: Any) -> None:
        with guard(f"instrumenting {name}"), overlaid(os.environ, changes):
            instrument = build_instrument(name)
            instrument.instrument(core)
            adoption.activated(name, instrument, core)

    adoption.watch(name)
    when_imported(name, activate)
    return True


def _shown_to_instrumentations(settings: Settings, name: str) -> dict[str, str | None]:
    """Return the changes of the environment under which the instrumentation `name` is activated."""
    changes: dict[str, str | None] = dict.fromkeys(settings.rejected)
    changes["OTEL_SEMCONV_STABILITY_OPT_IN"] = ",".join(settings.semconv_opt_in)
    if name == _LOGGING_INSTRUMENTATION and _core is None:
        changes["OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION"] = "false"  # the bridge does it, without a root handler
    return changes


def _is_reloaded_child() -> bool:
    """Return whether this is the child of werkzeug's reloader, whose parent said the start-up line already."""
    return os.environ.get("WERKZEUG_RUN_MAIN") == "true"
