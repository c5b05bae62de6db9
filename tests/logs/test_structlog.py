"""structlog: its events are records with fields, in the views and in telemetry."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from otel_forge.logs.logger import ForgeLogger
from otel_forge.logs.structlog import to_record
from tests.instruments.conftest import Kept
from tests.logs.conftest import Lines
from tests.logs.recording import recording


@pytest.fixture(autouse=True)
def _configured() -> Iterator[None]:
    """structlog as the documentation configures it."""
    kind = logging.getLoggerClass()
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.contextvars.merge_contextvars, to_record],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    yield
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()
    logging.setLoggerClass(kind)


def test_an_event_has_the_same_fields_as_a_record_of_ours(logger: ForgeLogger, lines: Callable[..., Lines]) -> None:
    """Bound values, context variables, positional arguments, errors, and names that a record has itself."""
    handler = lines()
    log: Any = structlog.get_logger("shop").bind(till=7)
    structlog.contextvars.bind_contextvars(request_id="r1")
    log.info("sold %s", "bread", name="x", msg="y")
    try:
        raise ValueError("no bread")
    except ValueError:
        log.exception("failed")
    sold, failed = (json.loads(line) for line in handler.written)
    assert (sold["context"], sold["level"], sold["message"]) == ("shop", "INFO", "sold bread")
    assert sold["data"] == {"till": 7, "name": "x", "msg": "y", "request_id": "r1"}
    assert (failed["level"], failed["error"]["message"], failed["data"]["till"]) == ("ERROR", "no bread", 7)


def test_the_caller_is_the_line_that_logs(logger: ForgeLogger, records: list[logging.LogRecord]) -> None:
    """Not one of structlog's."""
    structlog.get_logger("fresh.structlog")  # loggers made from here on know about structlog's frames
    shop = logging.getLogger("fresh.structlog")
    shop.propagate = False
    shop.setLevel(logging.INFO)
    shop.addHandler(logger.logger.handlers[0])
    structlog.get_logger("fresh.structlog").info("here")
    assert [(Path(record.pathname).name, record.funcName) for record in records] == [
        ("test_structlog.py", "test_the_caller_is_the_line_that_logs")
    ]


def test_telemetry_has_the_fields_as_attributes() -> None:
    """Of the lean pipeline as of a record of ours."""
    kept = Kept()
    with recording(kept):
        structlog.get_logger("shop.structlog").warning("sold", till=7, name="x")
    [record] = kept.logs
    assert (record.body, record.attributes) == ("sold", {"till": 7, "name": "x"})
