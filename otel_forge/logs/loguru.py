"""loguru: its messages as log records with fields, in every view and in telemetry.

logger.remove()  # loguru's own output, which would be a second one
logger.add(to_logging, level=0, format="{message}")
"""

from __future__ import annotations

import logging
from typing import Any

from otel_forge.guard import guard
from otel_forge.logs.record import FIELDS, TemplatedRecord


def to_logging(message: Any) -> None:
    """Be a sink of loguru: hand the message to the standard library's logger of its module, ``extra`` as fields."""
    with guard("handing a message of loguru to logging"):
        made: dict[str, Any] = message.record
        logger = logging.getLogger(made["name"] or None)
        if logger.isEnabledFor(made["level"].no):
            logger.handle(_record(made))


def _record(made: dict[str, Any]) -> TemplatedRecord:
    error = made["exception"]
    record = TemplatedRecord(
        made["name"] or "root",
        made["level"].no,
        made["file"].path,
        made["line"],
        made["message"],
        None,
        (error.type, error.value, error.traceback) if error is not None else None,
        made["function"],
    )
    record.template = f"{made['file'].name}:{made['line']}"
    record.levelname = made["level"].name
    record.created = made["time"].timestamp()
    record.msecs = int(record.created % 1 * 1000)
    record.thread, record.threadName = made["thread"].id, made["thread"].name
    if made["extra"]:
        record.__dict__[FIELDS] = dict(made["extra"])
    return record
