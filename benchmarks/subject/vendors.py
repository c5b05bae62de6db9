"""The lines that a user of the other products adds to the program itself."""

from __future__ import annotations

import os
from collections.abc import Callable


def set_up() -> None:
    """Do what ``BENCHMARK_SETUP`` names; nothing if it names nothing. To be called before Flask is imported."""
    name = os.environ.get("BENCHMARK_SETUP", "")
    if name:
        _SET_UP[name]()


def _logfire() -> None:
    import logging

    import logfire  # type: ignore[import-not-found]

    logfire.configure(send_to_logfire=False, console=False)
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    FlaskInstrumentor().instrument()
    logfire.instrument_requests()
    logfire.instrument_sqlite3()
    logging.getLogger().addHandler(logfire.LogfireLoggingHandler())


def _sentry() -> None:
    import sentry_sdk

    sentry_sdk.init(dsn=os.environ["BENCHMARK_DSN"], traces_sample_rate=1.0, enable_logs=True)


_SET_UP: dict[str, Callable[[], None]] = {"logfire": _logfire, "sentry": _sentry}
