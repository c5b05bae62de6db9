"""Getting all telemetry out of the process, whichever product made it.

Looks only at what is loaded already: a variant without telemetry imports none of it here.
"""

from __future__ import annotations

import sys
from typing import Any

_TIMEOUT_MS = 30_000


def flush() -> None:
    """Return when everything recorded so far has been handed to the receiver."""
    for provider in _providers():
        force_flush = getattr(provider, "force_flush", None)
        if force_flush is not None:
            force_flush(_TIMEOUT_MS)
    if "sentry_sdk" in sys.modules:
        sys.modules["sentry_sdk"].flush(_TIMEOUT_MS / 1000)
    if "ddtrace" in sys.modules:
        tracer = getattr(sys.modules["ddtrace"], "tracer", None)
        if tracer is not None:
            tracer.flush()


def pipeline() -> str:
    """Return the module that the tracer provider comes from, or "" where there is none."""
    for provider in _providers():
        return type(provider).__module__
    return ""


def _providers() -> list[Any]:
    if "opentelemetry.trace" not in sys.modules:
        return []
    from opentelemetry import _logs, metrics, trace

    return [trace.get_tracer_provider(), _logs.get_logger_provider(), metrics.get_meter_provider()]
