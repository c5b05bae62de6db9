"""A logger of its own for each test, and handlers that keep lines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from otel_forge.logs.describe import Describer
from otel_forge.logs.handlers import LineHandler, View
from otel_forge.logs.json_view import JsonView
from otel_forge.logs.logger import ForgeLogger, get_logger


class Lines(LineHandler):
    """Keeps what it is given to write."""

    def __init__(self, view: View, **options: Any) -> None:
        super().__init__(view, **options)
        self.written: list[str] = []

    def write(self, text: str) -> None:
        self.written.append(text)

    @property
    def text(self) -> str:
        return "".join(self.written)


class Records(logging.Handler):
    """Keeps the records themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)


@pytest.fixture
def logger() -> Iterator[ForgeLogger]:
    """The logger `shop`, which hands its records to nobody but the test."""
    found = logging.getLogger("shop")
    found.propagate = False
    found.setLevel(logging.DEBUG)
    yield get_logger("shop")
    found.handlers.clear()
    found.setLevel(logging.NOTSET)
    found.propagate = True


@pytest.fixture
def lines(logger: ForgeLogger) -> Callable[..., Lines]:
    """Attach a handler that keeps what a view, the JSON one unless told, makes of the records of `shop`."""

    def attach(view: View | None = None, **options: Any) -> Lines:
        handler = Lines(view or JsonView(Describer("asset-forge")), **options)
        logger.logger.addHandler(handler)
        return handler

    return attach


@pytest.fixture
def records(logger: ForgeLogger) -> list[logging.LogRecord]:
    """The records of `shop` as they are made."""
    handler = Records()
    logger.logger.addHandler(handler)
    return handler.kept
