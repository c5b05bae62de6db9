"""What otel-forge reads of a log record beyond what the standard library defines: its fields."""

from __future__ import annotations

import logging
from typing import Any

FIELDS = "otel_forge_fields"
"""The one attribute that our logger adds to a record: a dict of the fields of the call and of `bind`.

They are kept apart from the record's own attributes, so a field may be called `name`, `message` or `args`.
"""

STAMP = "otel_forge_stamp"
"""The attribute that `Stamp` adds: (trace id, span id, context fields) of the place where the record was made."""

_OWN_LOGGERS = ("opentelemetry", "otel_forge")
TOLD = frozenset(
    ("otel_forge.alerts", "otel_forge.health", "otel_forge.monitor", "otel_forge.rate_limits", "otel_forge.request")
)
"""Loggers of ours that speak of the application: their records are telemetry like the application's own."""

EVENT_NAMES = ("otel.event.name", "event.name")
"""Fields that become the event name of the telemetry record: the stable spelling, and the older one that is in use."""

WHOLE = frozenset(("otel_forge.request",))
"""Loggers that flood control leaves alone: a log of requests that is not whole counts wrongly."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message", "taskName"}
_OURS = frozenset((FIELDS, STAMP))
_OF_OTHERS = frozenset(("otelTraceID", "otelSpanID", "otelTraceSampled", "otelServiceName", "color_message"))
_NOT_FIELDS = _STANDARD | _OURS | _OF_OTHERS
_PLAIN_COUNT = len(vars(logging.makeLogRecord({})))
_LEVELS = {
    logging.DEBUG: "DEBUG",
    logging.INFO: "INFO",
    logging.WARNING: "WARN",
    logging.ERROR: "ERROR",
    logging.CRITICAL: "FATAL",
}


class TemplatedRecord(logging.LogRecord):
    """A record whose message comes formatted, from a library that does it; `template` says what it was made of."""

    __slots__ = ("template",)  # so that it is none of the attributes that formatters of others show
    template: str


def is_of_telemetry(name: str) -> bool:
    """Whether the logger `name` speaks of telemetry itself, whose records are kept out of telemetry."""
    return name.startswith(_OWN_LOGGERS) and name not in TOLD


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of `record`: what ``extra=`` gave it, then those of our logger."""
    attributes = record.__dict__
    own = attributes.get(FIELDS)
    if len(attributes) <= _PLAIN_COUNT + (own is not None):
        return dict(own) if type(own) is dict else {}
    extra = {name: value for name, value in attributes.items() if name not in _NOT_FIELDS}
    return {**extra, **own} if type(own) is dict else extra


def level_of(record: logging.LogRecord) -> str:
    """Return the level by the short name that OpenTelemetry gives it; custom levels keep their own."""
    return _LEVELS.get(record.levelno) or str(record.levelname)


def template_of(record: logging.LogRecord) -> str:
    """Return what is the same in all records of one log statement."""
    template = getattr(record, "template", None) or record.msg
    return template if type(template) is str else type(template).__name__
