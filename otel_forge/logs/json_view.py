"""The view for machines: one JSON object a line."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from otel_forge.logs.describe import timestamp
from otel_forge.logs.escaping import json_escaped

_encode = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), default=str
).encode


class JsonView:
    """Writes what `describe` says of a record as one line of printable JSON."""

    def __init__(self, describe: Callable[[logging.LogRecord], dict[str, Any]]) -> None:
        self._describe = describe

    def line(self, record: logging.LogRecord) -> str:
        """Return the line, without its end; it can be encoded as UTF-8. Never raises."""
        try:
            return json_escaped(_encode(self._describe(record)))
        except Exception as error:  # noqa: BLE001 - a record of which nothing can be read still counts
            return json_escaped(_encode(unwritable(record, error)))


def unwritable(record: logging.LogRecord, error: Exception) -> dict[str, Any]:
    """Return what stands for a record that cannot be described."""
    return {
        "timestamp": timestamp(record.created),
        "level": str(record.levelname),
        "context": str(record.name),
        "message": f"<this record cannot be written: {type(error).__name__}>",
    }
