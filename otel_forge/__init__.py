"""otel-forge: one install that makes a Python web service observable.

``pip install otel-forge`` and ``opentelemetry-instrument python app.py`` are all that an application needs;
``otel-forge up`` starts a place to look at what it sends. What an application may call besides is below; each name is
imported when it is first used, because start-up imports this package, too.
"""

from __future__ import annotations

from otel_forge import lazily
from otel_forge.version import VERSION as __version__

TYPE_CHECKING = False  # which type checkers know; the launcher does without the import of typing
if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_forge.delivery.accounts import Account
    from otel_forge.errortracking import capture_error
    from otel_forge.logs.configuration import configure_logging
    from otel_forge.logs.context import bind_context, carry, clear_context, log_context, unbind_context
    from otel_forge.logs.logger import get_logger
    from otel_forge.metrics.performance import track_performance
    from otel_forge.web.boundary import ErrorBoundary
    from otel_forge.web.extension import Forge
    from otel_forge.web.health import HealthRoutes
    from otel_forge.web.rate_limits import RateLimits
    from otel_forge.web.request_log import RequestLog

__all__ = [
    "ErrorBoundary",
    "Forge",
    "HealthRoutes",
    "RateLimits",
    "RequestLog",
    "__version__",
    "accounts",
    "bind_context",
    "capture_error",
    "carry",
    "clear_context",
    "configure_logging",
    "get_logger",
    "log_context",
    "track_performance",
    "unbind_context",
]

_HOMES = {
    **dict.fromkeys(("alerts", "health", "metrics"), ""),
    "ErrorBoundary": "web.boundary",
    "Forge": "web.extension",
    "HealthRoutes": "web.health",
    "RateLimits": "web.rate_limits",
    "RequestLog": "web.request_log",
    "bind_context": "logs.context",
    "capture_error": "errortracking",
    "carry": "logs.context",
    "clear_context": "logs.context",
    "configure_logging": "logs.configuration",
    "get_logger": "logs.logger",
    "log_context": "logs.context",
    "track_performance": "metrics.performance",
    "unbind_context": "logs.context",
}

__getattr__, __dir__ = lazily.imported(globals(), _HOMES)


def accounts() -> Mapping[str, Account]:
    """Return what became of this process's telemetry: an account for each of traces, metrics and logs.

    ``accounts()["traces"]`` tells how many spans were `created`, `delivered`, are `held` (`waiting`, `in_memory`,
    `on_disk`) and were `dropped`, by reason, and the same `in_bytes`. All are zero where telemetry is not on.
    """
    from otel_forge.telemetry import current_accounts  # brings the SDK, of which no import of ours has need

    return {signal: account for signal, account in current_accounts().read().items()}  # noqa: C416 - typed as text
