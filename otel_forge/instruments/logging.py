"""The lean instrumentation of logging: a log record becomes telemetry where a logger hands it to its handlers.

It listens at the same point as `otel_forge.logs.bridge`, and for the same reasons, but makes the lean record
itself. The message is formatted once, with the application's arguments in the application's thread;
an exception is kept as a summary and formatted on the delivery thread.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Mapping
from time import time_ns
from typing import Any

from opentelemetry.trace import Span

from otel_forge.guard import guard
from otel_forge.instruments import spans
from otel_forge.instruments.bounded import Bounded
from otel_forge.instruments.core import Core
from otel_forge.instruments.log_correlation import Correlation
from otel_forge.logs.context import FIELDS_KEY
from otel_forge.logs.flood import is_admitted, listen
from otel_forge.logs.record import EVENT_NAMES, FIELDS, STAMP, is_of_telemetry
from otel_forge.sdk.current import SPAN_KEY, SUPPRESSED, current_context
from otel_forge.sdk.logger import LeanLoggerProvider, LeanLogRecord
from otel_forge.sdk.span import LeanSpan
from otel_forge.sdk.values import plain, plain_copy

_SDK_SWITCH = "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED"  # of the SDK's own handler, which ours stands for
_TEMPLATE = "log.record.template"
_UPSTREAM_HANDLER = "opentelemetry.instrumentation.logging.handler"
_MOST_LOGGERS = 4096
_SEVERITY_TEXTS = {"WARNING": "WARN", "CRITICAL": "FATAL"}

_SEVERITIES = {logging.DEBUG: 5, logging.INFO: 9, logging.WARNING: 13, logging.ERROR: 17, logging.CRITICAL: 21}
_ROOT = logging.getLogger()
_OWN = object()
_SUPPRESSED, _SUPPRESSED_ONCE = spans.SUPPRESSED_KEYS

_PLAIN_RECORD = vars(logging.makeLogRecord({}))
_STANDARD = frozenset(_PLAIN_RECORD) | {"asctime", "getMessage", "message", "taskName", STAMP}
_STANDARD_COUNT = len(_PLAIN_RECORD)
_LAST_STANDARD = next(reversed(_PLAIN_RECORD))


class LoggingInstrument:
    """Offers what loggers handle to telemetry. Options and variables are those of upstream's LoggingInstrumentor.

    `include_unpropagated` takes in loggers whose records do not reach the root logger (``propagate=False``).
    """

    def __init__(
        self,
        *,
        log_handler_level: int | str | None = None,
        log_code_attributes: bool | None = None,
        enable_log_auto_instrumentation: bool | None = None,
        include_unpropagated: bool | None = None,
        environ: Mapping[str, str] = os.environ,
        **correlation: Any,
    ) -> None:
        self._unpropagated = _chosen(include_unpropagated, environ.get("OTEL_FORGE_LOGS_UNPROPAGATED", "false"))
        self._environ = environ
        self._correlation = Correlation(environ)
        self.adopt(
            log_handler_level=log_handler_level,
            log_code_attributes=log_code_attributes,
            enable_log_auto_instrumentation=enable_log_auto_instrumentation,
            **correlation,
        )
        self._restore: tuple[Any, Any] | None = None
        self._provider: LeanLoggerProvider | None = None
        self._stop_listening: Callable[[], None] = lambda: None

    def adopt(
        self,
        *,
        log_handler_level: int | str | None = None,
        log_code_attributes: bool | None = None,
        enable_log_auto_instrumentation: bool | None = None,
        set_logging_format: bool | None = None,
        inject_trace_context: bool = False,
        logging_format: str | None = None,
        log_level: int | None = None,
        log_hook: Callable[..., Any] | None = None,
    ) -> None:
        """Take options over, from a program that calls upstream's instrumentor while this instrument is active.

        As there, the variables say what is not given.
        """
        environ = self._environ
        level = environ.get("OTEL_PYTHON_LOG_HANDLER_LEVEL", "") if log_handler_level is None else log_handler_level
        self._level = level_number(level)
        self._code = _chosen(log_code_attributes, environ.get("OTEL_PYTHON_LOG_CODE_ATTRIBUTES", "false"))
        self._bridges = _chosen(
            enable_log_auto_instrumentation, environ.get("OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION", "true")
        ) or _chosen(None, environ.get(_SDK_SWITCH, "false"))
        self._correlation.remove()
        self._correlation = Correlation(
            environ,
            set_logging_format=set_logging_format,
            inject_trace_context=inject_trace_context,
            logging_format=logging_format,
            log_level=log_level,
            log_hook=log_hook,
        )

    def instrument(self, core: Core) -> None:
        """Listen to all loggers from now on, and put trace ids into text logs if that is wanted."""
        self._correlation.install(core.tracer_provider.resource)
        if not self._bridges:
            self._provider = None
        if self._provider is not None or core.logger_provider is None or not self._bridges:
            return
        self._provider = core.logger_provider
        self._loggers = Bounded(_MOST_LOGGERS)
        original = logging.Logger.callHandlers
        ours = self._listening(original)
        setattr(logging.Logger, "callHandlers", ours)  # noqa: B010 - mypy forbids assigning to a method
        self._restore = original, ours
        self._stop_listening()
        self._stop_listening = listen(self.offer)

    def uninstrument(self) -> None:
        """Put logging back as it was, unless somebody else has patched it on top; then only stop listening."""
        self._correlation.remove()
        self._provider = None
        self._stop_listening()
        if self._restore is not None and vars(logging.Logger).get("callHandlers") is self._restore[1]:
            setattr(logging.Logger, "callHandlers", self._restore[0])  # noqa: B010
        self._restore = None

    def _listening(self, original: Callable[..., None]) -> Callable[..., None]:
        """Return what stands in the place of ``Logger.callHandlers``."""

        @functools.wraps(original)
        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            try:
                self.offer(logger, record)
            except Exception:
                with guard("turning a log record into telemetry"):
                    raise
            original(logger, record)

        # Logging skips frames of its own file when it looks for the caller or prints a call stack; this is one of them.
        code = call_handlers.__code__  # type: ignore[attr-defined]
        call_handlers.__code__ = code.replace(co_filename=original.__code__.co_filename)  # type: ignore[attr-defined]
        return call_handlers

    def offer(self, logger: logging.Logger, record: logging.LogRecord) -> None:
        """Turn `record` into telemetry, unless it is below the level, from telemetry itself, or kept from the root."""
        # One long function: in an application each call costs several times what a benchmark of it alone shows.
        level = record.levelno
        if level < self._level or self._provider is None:
            return
        if not (logger.propagate and logger.parent is _ROOT) and not (self._unpropagated or _reaches_root(logger)):
            return
        context = current_context()
        span: Any = context.get(SPAN_KEY)
        if span is SUPPRESSED or context.get(_SUPPRESSED) or context.get(_SUPPRESSED_ONCE):
            return
        if _UPSTREAM_HANDLER in sys.modules and _is_bridged_by_others():
            return
        if not is_admitted(record):
            return
        name = record.name
        emitter = self._loggers.get(name)
        if emitter is None:
            emitter = self._emitter(name)
        if emitter is _OWN:
            return
        if type(span) is LeanSpan:
            trace_id, span_id, flags = span.trace_id, span.span_id, span.trace_flags
        else:
            trace_id, span_id, flags = _ids_of(span)
        fields = record.__dict__
        attributes: dict[str, Any] = {}
        event_name = None
        if len(fields) != _STANDARD_COUNT or next(reversed(fields)) != _LAST_STANDARD:
            attributes = _extras(fields)
            event_name = _take_event_name(attributes)
        if FIELDS_KEY in context:
            attributes = {**(plain_copy(context[FIELDS_KEY]) or {}), **attributes}  # type: ignore[arg-type]
        message, arguments = record.msg, record.args
        body = message
        if type(message) is not str or type(record) is not logging.LogRecord:
            body = _body(record)
        elif arguments:
            try:
                body = message % arguments
            except Exception:  # noqa: BLE001 - they do not fit; the handlers report it as ever
                body = message
        if arguments:
            attributes[_TEMPLATE] = message if type(message) is str else _text(message)
        if self._code:
            _add_code(attributes, record)
        is_unsettled = bool(record.exc_info) and _add_exception(attributes, record)
        level_name = record.levelname
        emitter.sink(
            LeanLogRecord(
                emitter.instrumentation_scope,
                int(record.created * 1e9),
                time_ns(),
                _SEVERITIES.get(level) or severity_number(level),
                _SEVERITY_TEXTS.get(level_name, level_name),
                body,
                attributes,
                event_name,
                trace_id,
                span_id,
                flags,
                is_unsettled,
            )
        )

    def _emitter(self, name: str) -> Any:
        """Return the logger that speaks for the logging logger `name`, or `_OWN` for one of telemetry's own."""
        provider = self._provider
        is_own = provider is None or is_of_telemetry(name)
        return self._loggers.keep(name, _OWN if is_own or provider is None else provider.get_logger(name))


def level_number(level: int | str) -> int:
    """Return the number of a level given by number or name; anything else lets all records pass."""
    if isinstance(level, int):
        return level
    found = logging.getLevelName(level.strip().upper())
    return found if isinstance(found, int) else logging.NOTSET


def severity_number(level: int) -> int:
    """Return the severity of OpenTelemetry for a level of logging: DEBUG 10 is 5, INFO 20 is 9, and so on."""
    if level < logging.DEBUG:
        return 0
    tens, ones = divmod(min(level, 53), 10)
    return 1 + 4 * tens + min(ones, 3)


def _add_code(attributes: dict[str, Any], record: logging.LogRecord) -> None:
    attributes["code.file.path"] = record.pathname
    attributes["code.function.name"] = record.funcName
    attributes["code.line.number"] = record.lineno


def _add_exception(attributes: dict[str, Any], record: logging.LogRecord) -> bool:
    """Describe the exception that is logged; return whether there is one, whose stack trace waits to be formatted."""
    exception = record.exc_info[1] if record.exc_info else None
    if exception is None:
        return False
    attributes.update(spans.description_of(exception))
    return True


def _ids_of(span: Any) -> tuple[int, int, int]:
    if not isinstance(span, Span):
        return 0, 0, 0
    context = span.get_span_context()
    return context.trace_id, context.span_id, int(context.trace_flags)


def _body(record: logging.LogRecord) -> Any:
    """Return the formatted message, or the template if the arguments do not fit; the handlers report that as ever."""
    try:
        return str.__str__(record.getMessage())
    except Exception:  # noqa: BLE001 - arguments that do not fit, or that cannot be printed
        return _text(record.msg)


def _text(value: Any) -> Any:
    """Return `value` as text, or what the encoder marks as unreadable."""
    if type(value) is str:
        return value
    try:
        return str.__str__(str(value))
    except Exception:  # noqa: BLE001 - the application's own __str__
        return plain(value)


def _extras(fields: Mapping[str, Any]) -> dict[str, Any]:
    if len(fields) == _STANDARD_COUNT + 1 and type(fields.get(FIELDS)) is dict:
        return plain_copy(fields[FIELDS]) or {}
    extras = {name: value for name, value in fields.items() if name not in _STANDARD}
    own = extras.pop(FIELDS, None)
    return plain_copy({**extras, **own} if own else extras) or {}


def _take_event_name(attributes: dict[str, Any]) -> str | None:
    names = [attributes.pop(key, None) for key in EVENT_NAMES]
    return next((name for name in names if name is not None), None)


def _reaches_root(logger: logging.Logger) -> bool:
    current: logging.Logger | None = logger
    while current is not None and current.parent is not None:
        if not current.propagate:
            return False
        current = current.parent
    return True


def _is_bridged_by_others() -> bool:
    """Return whether upstream's own handler sits on the root logger, so that records are not sent twice."""
    theirs = getattr(sys.modules[_UPSTREAM_HANDLER], "LoggingHandler", ())
    return any(isinstance(handler, theirs) for handler in logging.getLogger().handlers)


def _chosen(option: bool | None, text: str) -> bool:
    return text.strip().lower() == "true" if option is None else option
