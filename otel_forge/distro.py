"""What ``opentelemetry-instrument`` finds: the distro and the configurator.

Both are thin. The configurator hands the environment to `telemetry.configure`; the distro loads each
instrumentation so that it uses the stable semantic conventions and so that one that fails costs only itself.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from opentelemetry.instrumentation.dependencies import DependencyConflictError
from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]
from wrapt import register_post_import_hook

from otel_forge.environment import overlaid
from otel_forge.guard import guard
from otel_forge.notices import notice
from otel_forge.settings import Settings

_LOGGING_INSTRUMENTATION = "logging"


class ForgeConfigurator:
    """Turns telemetry on from the environment. No base class: upstream asks for `configure` alone."""

    core: Any = None
    """What the lean instruments record into, once telemetry is on; None where upstream's instrumentations serve."""

    def configure(self, **kwargs: Any) -> None:
        """Turn telemetry on; a fault in it never reaches the application."""
        settings = Settings.from_env(os.environ)
        with guard("starting telemetry"), overlaid(os.environ, dict.fromkeys(settings.rejected)):
            from otel_forge import telemetry  # the SDK reads variables on import, and raises on bad ones

            ForgeConfigurator.core = telemetry.configure(
                settings, argv=sys.orig_argv, folder=Path.cwd(), announce=not _is_reloaded_child()
            ).core


class ForgeDistro(BaseDistro):  # type: ignore[misc]
    """Loads the instrumentations."""

    def _configure(self, **kwargs: Any) -> None:
        """Do nothing: `ForgeConfigurator` does it all."""

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Load and activate one instrumentation, ours where the lean pipeline has one of that name.

        One that fails is said in one line and left out. Raises ImportError and DependencyConflictError, which
        upstream's loader treats as "not for this environment".
        """
        settings = Settings.from_env(os.environ)
        try:
            with overlaid(os.environ, _shown_to_instrumentations(settings, entry_point.name)):
                if not _instrument_with_ours(entry_point.name, settings):
                    super().load_instrumentor(entry_point, **kwargs)
        except (ImportError, DependencyConflictError):
            raise
        except Exception as error:  # noqa: BLE001 - upstream would stop loading all that follow
            notice(f"the instrumentation {entry_point.name!r} failed and is off ({type(error).__name__}: {error}).")


def _instrument_with_ours(name: str, settings: Settings) -> bool:
    """Activate the lean instrument `name`; return False where there is none for this pipeline and these conventions.

    An instrument is named after the module it patches, and waits until the application imports that: a library
    that is installed but not used costs no start-up time.
    """
    if ForgeConfigurator.core is None:
        return False
    from otel_forge.instruments import build_instrument, is_offered

    if not is_offered(name, settings.semconv_opt_in):
        return False
    core, changes = ForgeConfigurator.core, _shown_to_instrumentations(settings, name)

    def activate(module: Any) -> None:
        with guard(f"instrumenting {name}"), overlaid(os.environ, changes):
            build_instrument(name).instrument(core)

    register_post_import_hook(activate, name)
    return True


def _shown_to_instrumentations(settings: Settings, name: str) -> dict[str, str | None]:
    """Return the changes of the environment under which the instrumentation `name` is activated."""
    changes: dict[str, str | None] = dict.fromkeys(settings.rejected)
    changes["OTEL_SEMCONV_STABILITY_OPT_IN"] = ",".join(settings.semconv_opt_in)
    if name == _LOGGING_INSTRUMENTATION and ForgeConfigurator.core is None:
        changes["OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION"] = "false"  # the bridge does it, without a root handler
    return changes


def _is_reloaded_child() -> bool:
    """Return whether this is the child of werkzeug's reloader, whose parent said the start-up line already."""
    return os.environ.get("WERKZEUG_RUN_MAIN") == "true"
