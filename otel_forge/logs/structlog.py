"""structlog: its events as log records with fields, in every view and in telemetry.

structlog.configure(
    processors=[structlog.contextvars.merge_contextvars, to_record],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from otel_forge.logs.record import FIELDS

_OPTIONS = ("exc_info", "stack_info", "stacklevel")


def to_record(
    logger: Any, method_name: str, event_dict: MutableMapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Be the last processor: hand the event to the standard library's logger, its values as fields."""
    fields = dict(event_dict)
    message = fields.pop("event", "")
    arguments = tuple(fields.pop("positional_args", ()))
    options = {name: fields.pop(name) for name in _OPTIONS if name in fields}
    if fields:
        options["extra"] = {FIELDS: fields}
    return (message, *arguments), options
