"""The bridge from the logging module to telemetry, which leaves the application's logging as it is.

A handler on the root logger would be the obvious way, and is what upstream does; but the mere presence
of a root handler silences others: ``logging.basicConfig`` does nothing any more, the handler of last
resort no longer prints warnings, and werkzeug drops its own handler and with it "Running on …". So the
bridge listens one step earlier, where a logger hands a record to its handlers, and no handler list
changes. What reaches telemetry is what would have reached the root logger.
"""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable
from typing import Any

from opentelemetry._logs import LoggerProvider
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from otel_forge.guard import guard
from otel_forge.logs.context import context_fields
from otel_forge.logs.flood import is_admitted, listen
from otel_forge.logs.record import EVENT_NAMES, FIELDS, STAMP, is_of_telemetry

_LEVELS = {
    "notset": logging.NOTSET,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


class _Translator(LoggingHandler):
    """Upstream's handler, which turns a record into telemetry; flushing it is the exit's business, not logging's."""

    def flush(self) -> None:
        """Do nothing."""

    def _get_attributes(self, record: logging.LogRecord) -> tuple[dict[str, Any], str | None]:
        """Return attributes and event name, with the fields of the context and of our logger among them."""
        attributes, event_name = super()._get_attributes(record)
        for name in (FIELDS, STAMP):
            attributes.pop(name, None)
        own = dict(record.__dict__.get(FIELDS) or {})
        names = [own.pop(key, None) for key in EVENT_NAMES]
        event_name = event_name or next((name for name in names if name is not None), None)
        return {**context_fields(), **attributes, **own}, event_name


class LogBridge:
    """Offers every record that a logger handles to telemetry as well."""

    def __init__(
        self,
        provider: LoggerProvider,
        *,
        level: str = "notset",
        code_attributes: bool = False,
        unpropagated: bool = False,
    ) -> None:
        self._level = _LEVELS[level]
        self._unpropagated = unpropagated
        self._translator = _Translator(logger_provider=provider, log_code_attributes=code_attributes)

    def install(self) -> Callable[[], None]:
        """Start listening; return what stops it again."""
        original = logging.Logger.callHandlers

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            with guard("turning a log record into telemetry"):
                self.offer(logger, record)
            original(logger, record)

        # Logging skips frames of its own file when it looks for the caller or prints a call stack; this is one of them.
        call_handlers.__code__ = call_handlers.__code__.replace(co_filename=original.__code__.co_filename)
        functools.update_wrapper(call_handlers, original)
        setattr(logging.Logger, "callHandlers", call_handlers)  # noqa: B010 - mypy forbids assigning to a method
        stop_listening = listen(self.offer)

        def remove() -> None:
            stop_listening()
            setattr(logging.Logger, "callHandlers", original)  # noqa: B010

        return remove

    def offer(self, logger: logging.Logger, record: logging.LogRecord) -> None:
        """Turn `record` into telemetry, unless it is below the level, from telemetry itself, or kept from the root."""
        if record.levelno < self._level or is_of_telemetry(record.name):
            return
        if (
            not (self._unpropagated or _reaches_root(logger))
            or not is_instrumentation_enabled()
            or _is_bridged_by_others()
            or not is_admitted(record)
        ):
            return
        try:
            self._translator.emit(record)
        except Exception:  # noqa: BLE001 - arguments that do not fit the message; the handlers report it as ever
            self._translator.emit(_unformatted(record))


def _reaches_root(logger: logging.Logger) -> bool:
    current: logging.Logger | None = logger
    while current is not None and current.parent is not None:
        if not current.propagate:
            return False
        current = current.parent
    return True


def _is_bridged_by_others() -> bool:
    """Return whether upstream's own handler sits on the root logger, so that records are not sent twice."""
    return any(isinstance(handler, LoggingHandler) for handler in logging.getLogger().handlers)


def _unformatted(record: logging.LogRecord) -> logging.LogRecord:
    plain = copy.copy(record)
    plain.msg, plain.args = str(record.msg), None
    return plain
