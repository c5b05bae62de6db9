"""What ``opentelemetry-instrument`` finds: the distro and the configurator.

Both are thin: `otel_forge.activation` does the work, and says what became of each instrumentation.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

from opentelemetry.instrumentation.dependencies import DependencyConflictError
from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]

from otel_forge import activation


class ForgeConfigurator:
    """Turns telemetry on from the environment. No base class: upstream asks for `configure` alone."""

    def configure(self, **kwargs: Any) -> None:
        """Turn telemetry on; a fault in it never reaches the application."""
        activation.configure()


class ForgeDistro(BaseDistro):  # type: ignore[misc]
    """Loads the instrumentations."""

    def _configure(self, **kwargs: Any) -> None:
        """Do nothing: `ForgeConfigurator` does it all."""

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Load and activate one instrumentation, ours where the lean pipeline has one of that name.

        One that fails is said in one line and left out. Raises ImportError and DependencyConflictError, which
        upstream's loader treats as "not for this environment".
        """
        try:
            activation.instrument(entry_point, **kwargs)
        except (ImportError, DependencyConflictError):
            raise
        except Exception as error:  # noqa: BLE001 - upstream would stop loading all that follow
            activation.say_failed(entry_point, error)
