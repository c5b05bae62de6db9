"""The events that the request log writes, and instruments that record in lists."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from otel_forge.logs.record import FIELDS
from otel_forge.web import exceeding, request_log
from tests.instruments.conftest import Kept as Kept
from tests.instruments.conftest import Start as Start
from tests.instruments.conftest import kept as kept
from tests.instruments.conftest import start as start


class Events(logging.Handler):
    """Keeps the records of a logger."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        """What was said, in the order in which it was."""
        return [record.getMessage() for record in self.records]

    @property
    def fields(self) -> list[dict[str, Any]]:
        """The fields of each record."""
        return [record.__dict__[FIELDS] for record in self.records]

    @property
    def last(self) -> dict[str, Any]:
        """The fields of the last record."""
        return self.fields[-1]

    @property
    def levels(self) -> list[str]:
        """The level of each record."""
        return [record.levelname for record in self.records]


def _listening(name: str) -> Iterator[Events]:
    logger, events = logging.getLogger(name), Events()
    level = logger.level
    logger.addHandler(events)
    yield events
    logger.removeHandler(events)
    logger.setLevel(level)


@pytest.fixture
def events() -> Iterator[Events]:
    """The lines of the request log."""
    yield from _listening(request_log.LOGGER)


@pytest.fixture
def warnings_of_limits() -> Iterator[Events]:
    """The lines about rate limits."""
    yield from _listening(exceeding.LOGGER)
