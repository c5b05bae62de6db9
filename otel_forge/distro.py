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

from otel_forge.environment import overlaid
from otel_forge.guard import guard
from otel_forge.notices import notice
from otel_forge.settings import Settings

_LOGGING_INSTRUMENTATION = "logging"


class ForgeConfigurator:
    """Turns telemetry on from the environment. No base class: upstream asks for `configure` alone."""

    def configure(self, **kwargs: Any) -> None:
        """Turn telemetry on; a fault in it never reaches the application."""
        settings = Settings.from_env(os.environ)
        with guard("starting telemetry"), overlaid(os.environ, dict.fromkeys(settings.rejected)):
            from otel_forge import telemetry  # the SDK reads variables on import, and raises on bad ones

            telemetry.configure(settings, argv=sys.orig_argv, folder=Path.cwd(), announce=not _is_reloaded_child())


class ForgeDistro(BaseDistro):  # type: ignore[misc]
    """Loads the instrumentations."""

    def _configure(self, **kwargs: Any) -> None:
        """Do nothing: `ForgeConfigurator` does it all."""

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Load and activate one instrumentation; one that fails is said in one line and left out.

        Raises ImportError and DependencyConflictError, which upstream's loader treats as "not for this environment".
        """
        settings = Settings.from_env(os.environ)
        changes: dict[str, str | None] = dict.fromkeys(settings.rejected)
        changes["OTEL_SEMCONV_STABILITY_OPT_IN"] = ",".join(settings.semconv_opt_in)
        if entry_point.name == _LOGGING_INSTRUMENTATION:
            changes["OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION"] = "false"  # the bridge does it, without a root handler
        try:
            with overlaid(os.environ, changes):
                super().load_instrumentor(entry_point, **kwargs)
        except (ImportError, DependencyConflictError):
            raise
        except Exception as error:  # noqa: BLE001 - upstream would stop loading all that follow
            notice(f"the instrumentation {entry_point.name!r} failed and is off ({type(error).__name__}: {error}).")


def _is_reloaded_child() -> bool:
    """Return whether this is the child of werkzeug's reloader, whose parent said the start-up line already."""
    return os.environ.get("WERKZEUG_RUN_MAIN") == "true"
