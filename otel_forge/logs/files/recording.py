"""Has every log record of the process written to the daily file, and leaves the application's logging as it is.

Like the bridge to telemetry this listens where a logger hands a record to its handlers, for the same reason: a handler
on the root logger would silence others (docs/decisions/001-log-bridge-without-a-root-handler.md).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable

from opentelemetry import metrics

from otel_forge.logs import flood
from otel_forge.logs.files.handler import FileHandler, build
from otel_forge.logs.handlers import View
from otel_forge.logs.levels import level_number
from otel_forge.settings import Settings


def start(settings: Settings, service: str, view: View) -> Callable[[], None]:
    """Write records to the folder of the settings from now on; return what ends it.

    A root logger that nobody has given a level or a handler gets LOG_LEVEL, else INFO: its own level, WARNING, is meant
    for a terminal. It does not change what the terminal shows: the handler of last resort shows warnings at least.
    """
    handler = build(settings.log_files, service, view)
    count_problems(handler)
    restore_level = _open_root_logger(settings.log_views.level)
    stop_recording = record_to(handler, unpropagated=settings.log_unpropagated)

    def end() -> None:
        stop_recording()
        restore_level()
        handler.close()

    return end


def record_to(handler: FileHandler, *, unpropagated: bool = False) -> Callable[[], None]:
    """Offer each record to the handler; with `unpropagated` also those that do not reach the root logger."""
    original = logging.Logger.callHandlers

    def offer(logger: logging.Logger, record: logging.LogRecord) -> None:
        if record.levelno >= handler.level and (unpropagated or _reaches_root(logger)) and flood.is_admitted(record):
            handler.handle(record)

    def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
        offer(logger, record)
        original(logger, record)

    # Logging skips frames of its own file when it looks for the caller or prints a call stack; this is one of them.
    call_handlers.__code__ = call_handlers.__code__.replace(co_filename=original.__code__.co_filename)
    functools.update_wrapper(call_handlers, original)
    setattr(logging.Logger, "callHandlers", call_handlers)  # noqa: B010 - mypy forbids assigning to a method
    stop_listening = flood.listen(offer)

    def stop() -> None:
        stop_listening()
        setattr(logging.Logger, "callHandlers", original)  # noqa: B010

    return stop


def count_problems(handler: FileHandler, provider: metrics.MeterProvider | None = None) -> None:
    """Make a metric of what goes wrong, of the global provider or of another."""

    def observe(_: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        return [metrics.Observation(count, {"problem": name}) for name, count in handler.problems().items()]

    metrics.get_meter("otel_forge.logs", meter_provider=provider).create_observable_counter(
        "otel_forge.logs.file.problems", [observe], "{problem}", "What went wrong with log files, by kind."
    )


def _reaches_root(logger: logging.Logger) -> bool:
    current: logging.Logger | None = logger
    while current is not None and current.parent is not None:
        if not current.propagate:
            return False
        current = current.parent
    return True


def _open_root_logger(said: str) -> Callable[[], None]:
    root = logging.getLogger()
    before = root.level
    if not said and (before != logging.WARNING or root.handlers):
        return lambda: None
    try:
        root.setLevel(level_number(said) if said else logging.INFO)
    except ValueError:
        root.setLevel(logging.INFO)  # the log view says that it is none
    return lambda: root.setLevel(before)
