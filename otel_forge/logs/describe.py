"""One description of a log record, from which every view is written."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

from opentelemetry.trace import Span

from otel_forge.logs.context import FIELDS_KEY
from otel_forge.logs.record import STAMP, fields_of, level_of
from otel_forge.logs.values import LONGEST, cut, plain_fields, plain_text
from otel_forge.sdk import exceptions
from otel_forge.sdk.current import SPAN_KEY, current_context
from otel_forge.sdk.span import LeanSpan

_colours = re.compile(r"\x1b\[[0-9;]*m").sub
_NO_FIELDS: Mapping[str, Any] = MappingProxyType({})
_WERKZEUG, _PIN = "werkzeug", " * Debugger PIN: %s"


class Redactor(Protocol):
    """What takes secrets out: `otel_forge.redaction.Policy`."""

    def text(self, text: str) -> str: ...
    def value(self, key: str, value: Any) -> Any: ...


class Describer:
    """Describes records of the service `service`, in plain data, with secrets taken out by `redactor`.

    Keys, in this order; those without content are absent: timestamp (ISO 8601, UTC, microseconds), level (DEBUG, INFO,
    WARN, ERROR, FATAL), context (the logger), message, data (the fields), error {name, message, stack}, stack
    (``stack_info=True``), trace_id, span_id, service. Texts longer than `longest` characters are cut. With
    `shows_pin` the PIN of werkzeug's debugger stays, for the terminal that it is meant for.
    """

    def __init__(
        self, service: str = "", redactor: Redactor | None = None, *, longest: int = LONGEST, shows_pin: bool = False
    ) -> None:
        self._service = service
        self._redactor = redactor
        self._longest = longest
        self._shows_pin = shows_pin

    def __call__(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return the description of `record`. Never raises."""
        trace_id, span_id, context_fields = stamp_of(record)
        described: dict[str, Any] = {
            "timestamp": timestamp(record.created),
            "level": level_of(record),
            "context": self._text(record.name),
            "message": self._message(record),
        }
        fields = fields_of(record)
        if fields or context_fields:
            described["data"] = self._fields({**context_fields, **fields})
        if record.exc_info or record.exc_text:
            error = _error_of(record)
            if error:
                described["error"] = {name: self._text(text) for name, text in error.items()}
        if record.stack_info:
            described["stack"] = self._text(record.stack_info)
        if trace_id:
            described["trace_id"] = f"{trace_id:032x}"
            described["span_id"] = f"{span_id:016x}"
        if self._service:
            described["service"] = self._service
        return described

    def _message(self, record: logging.LogRecord) -> str:
        message = message_of(record)
        if record.name == _WERKZEUG and type(message) is str:
            message = _colours("", message)  # its development server puts them into its lines
            if self._shows_pin and record.msg == _PIN:
                return message
        return self._text(message)

    def _text(self, text: Any) -> str:
        if type(text) is not str:
            text = plain_text(text)
        if len(text) > self._longest:
            text = cut(text, self._longest)
        return text if self._redactor is None else self._redactor.text(text)

    def _fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        plain = plain_fields(fields, self._longest)
        if self._redactor is None:
            return plain
        return {name: self._redactor.value(name, value) for name, value in plain.items()}


class Stamp(logging.Filter):
    """Notes on each record where it was made, for handlers that look at it in another thread.

    To be added to a ``logging.handlers.QueueHandler``: ``queue_handler.addFilter(Stamp())``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Note trace, span and context fields; let every record pass."""
        if STAMP not in record.__dict__:
            setattr(record, STAMP, stamp_of(record))
        return True


def stamp_of(record: logging.LogRecord) -> tuple[int, int, Mapping[str, Any]]:
    """Return trace id, span id and context fields: those noted on the record, or those of here and now."""
    noted = record.__dict__.get(STAMP)
    if noted is not None:
        return noted  # type: ignore[no-any-return]
    context = current_context()
    if not context:
        return 0, 0, _NO_FIELDS
    span: Any = context.get(SPAN_KEY)
    fields: Any = context.get(FIELDS_KEY, _NO_FIELDS)
    if type(span) is LeanSpan:
        return span.trace_id, span.span_id, fields
    if not isinstance(span, Span):
        return 0, 0, fields
    ids = span.get_span_context()
    return ids.trace_id, ids.span_id, fields


def message_of(record: logging.LogRecord) -> str:
    """Return the formatted message; arguments that do not fit stand behind their template."""
    message = record.msg
    if type(message) is str and not record.args:
        return message
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - the application's own objects
        plain = plain_fields({"msg": record.msg, "args": record.args})
        return f"{plain['msg']} [arguments do not fit: {plain['args']}; {type(error).__name__}]"


def _error_of(record: logging.LogRecord) -> dict[str, str]:
    """Return name, message and stack of the exception that is logged; empty if there is none."""
    exception = record.exc_info[1] if type(record.exc_info) is tuple else None
    if exception is None:
        return {"stack": record.exc_text} if record.exc_text else {}
    attributes = exceptions.exception_attributes(exception)
    exceptions.settle(attributes)
    return {
        "name": str(attributes["exception.type"]),
        "message": str(attributes["exception.message"]),
        "stack": str(attributes["exception.stacktrace"]).rstrip("\n"),
    }


_second = (-1, "")


def timestamp(created: float) -> str:
    """Return seconds since 1970 as ISO 8601 in UTC, with microseconds."""
    global _second
    whole = int(created)
    second, text = _second  # one read of the pair: another thread may replace it meanwhile
    if whole != second:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        _second = whole, text
    return f"{text}.{int((created - whole) * 1e6):06d}Z"
