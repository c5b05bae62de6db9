"""get_logger: the standard library's logger, with fields as keywords."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from otel_forge.logs.logger import ForgeLogger, get_logger
from otel_forge.logs.record import FIELDS, fields_of


def test_it_is_the_standard_librarys_logger_underneath() -> None:
    """Levels, handlers and filters that are set there hold here."""
    assert get_logger("shop.till").logger is logging.getLogger("shop.till")
    assert get_logger().logger is logging.getLogger()
    assert get_logger("shop.till").name == "shop.till"


@pytest.mark.parametrize("method", ["debug", "info", "warning", "error", "critical", "exception"])
def test_each_method_logs_at_its_level(logger: ForgeLogger, records: list[logging.LogRecord], method: str) -> None:
    """`exception` is an error with what is being handled."""
    getattr(logger, method)("sold %s for %d", "bread", 3, till=7)
    [record] = records
    assert record.levelname == {"exception": "ERROR"}.get(method, method.upper())
    assert (record.getMessage(), fields_of(record)) == ("sold bread for 3", {"till": 7})


def test_the_caller_is_the_line_that_logs(logger: ForgeLogger, records: list[logging.LogRecord]) -> None:
    """File, line and function are the user's, through every way of logging, and one further up when asked."""

    def wrapper() -> None:
        logger.info("for my caller", stacklevel=2)

    line = sys._getframe().f_lineno
    logger.info("one")
    logger.bind(a=1).error("two")
    logger.log(25, "three")
    wrapper()
    assert [(Path(record.pathname).name, record.lineno - line, record.funcName) for record in records] == [
        ("test_logger.py", number, "test_the_caller_is_the_line_that_logs") for number in (1, 2, 3, 4)
    ]


def test_a_field_may_have_any_name(logger: ForgeLogger, records: list[logging.LogRecord]) -> None:
    """Also those that a record, the method itself or `extra` would fall over."""
    names = ("name", "msg", "args", "message", "level", "self", "asctime", "lineno", "exc_text", "module", "thread")
    fields: dict[str, Any] = dict.fromkeys(names, "mine")
    logger.info("all", **fields)
    [record] = records
    assert fields_of(record) == dict.fromkeys(names, "mine")
    assert (record.name, record.msg, record.module) == ("shop", "all", "test_logger")


def test_extra_means_what_it_means_in_logging(logger: ForgeLogger, records: list[logging.LogRecord]) -> None:
    """A formatter finds it as an attribute; a name that would raise there becomes a field."""
    logger.info("sold", extra={"till": 7, "message": "mine"}, price=3)
    [record] = records
    assert record.till == 7  # type: ignore[attr-defined]
    assert fields_of(record) == {"till": 7, "message": "mine", "price": 3}


def test_bound_fields_are_on_every_record(logger: ForgeLogger, records: list[logging.LogRecord]) -> None:
    """A call's own win, the logger that was bound stays as it was, and what is bound can be let go."""
    bound = logger.bind(till=7, shift="early")
    bound.info("one")
    bound.bind(shift="late").info("two", till=8)
    bound.unbind("shift", "never").info("three")
    logger.info("four")
    assert [fields_of(record) for record in records] == [
        {"till": 7, "shift": "early"},
        {"till": 8, "shift": "late"},
        {"till": 7},
        {},
    ]


def test_an_exception_is_handed_over_as_itself(logger: ForgeLogger, records: list[logging.LogRecord]) -> None:
    """Outside of an except block, too."""
    error = ValueError("no bread")
    logger.error("failed", exc_info=error)
    [record] = records
    assert record.exc_info == (ValueError, error, None)


def test_a_record_without_fields_is_as_plain_as_ever(logger: ForgeLogger, records: list[logging.LogRecord]) -> None:
    """Formatters of others that show every attribute show nothing new."""
    logger.info("plain")
    assert FIELDS not in vars(records[0])
    assert vars(records[0]).keys() - {"message"} == vars(logging.makeLogRecord({})).keys()


def test_a_level_that_is_off_costs_no_record(logger: ForgeLogger, records: list[logging.LogRecord]) -> None:
    """And says so beforehand."""
    logger.logger.setLevel(logging.WARNING)
    logger.info("unheard")
    assert records == [] and not logger.is_enabled_for(logging.INFO)
