"""loguru: its messages are records with fields, in the views and in telemetry."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger as loguru

from otel_forge.logs.flood import FloodControl
from otel_forge.logs.loguru import to_logging
from tests.instruments.conftest import Kept
from tests.logs.conftest import Lines
from tests.logs.recording import recording


@pytest.fixture(autouse=True)
def here() -> Iterator[logging.Logger]:
    """loguru as the documentation configures it; the logger of this module, where its messages arrive."""
    loguru.remove()
    number = loguru.add(to_logging, level=0, format="{message}")
    logger = logging.getLogger(__name__)
    logger.setLevel(1)
    yield logger
    loguru.remove(number)
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)


def test_a_message_has_the_same_fields_as_a_record_of_ours(here: logging.Logger, lines: Callable[..., Lines]) -> None:
    """Bound values, contextualized ones, levels of loguru's own, errors, and names that a record has itself."""
    handler = lines()
    here.addHandler(handler)
    with loguru.contextualize(request_id="r1"):
        loguru.bind(till=7).info("sold {}", "bread", name="x")
    loguru.success("all sold")
    try:
        raise ValueError("no bread")
    except ValueError:
        loguru.exception("failed")
    sold, success, failed = (json.loads(line) for line in handler.written)
    assert (sold["context"], sold["level"], sold["message"]) == (__name__, "INFO", "sold bread")
    assert sold["data"] == {"till": 7, "name": "x", "request_id": "r1"}
    assert (success["level"], failed["level"]) == ("SUCCESS", "ERROR")
    assert failed["error"]["message"] == "no bread" and "test_loguru.py" in failed["error"]["stack"]


def test_the_caller_is_the_line_that_logs(here: logging.Logger, records: list[logging.LogRecord]) -> None:
    """File, line, function and thread are those of the message."""
    shop = logging.getLogger("shop").handlers[0]
    here.addHandler(shop)
    loguru.info("here")
    [record] = records
    assert (Path(record.pathname).name, record.funcName) == ("test_loguru.py", "test_the_caller_is_the_line_that_logs")
    assert record.threadName == "MainThread" and record.lineno > 0


def test_flood_control_goes_by_the_line_that_logs(here: logging.Logger, lines: Callable[..., Lines]) -> None:
    """The message comes formatted: each is another text, but of one statement."""
    control = FloodControl(2, 60)
    handler = lines(flood=control)
    here.addHandler(handler)
    for number in range(5):
        loguru.info("n {}", number)
    assert len(handler.written) == 2


def test_telemetry_has_the_fields_as_attributes() -> None:
    """Of the lean pipeline as of a record of ours."""
    kept = Kept()
    with recording(kept):
        loguru.warning("sold", till=7, name="x")
    [record] = kept.logs
    attributes: Any = record.attributes
    assert (record.body, record.severity_text, attributes) == ("sold", "WARN", {"till": 7, "name": "x"})
