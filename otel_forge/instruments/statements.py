"""Spans and measurements of DB-API statements, with what is constant for a statement worked out once."""

from __future__ import annotations

import re
from typing import Any

from otel_forge.instruments.bounded import Bounded
from otel_forge.instruments.core import BoundHistogram, Core, HistogramCell, scope
from otel_forge.otlp.attributes import FixedAttributes, fixed_attributes

SCHEMA_URL = "https://opentelemetry.io/schemas/1.25.0"
DURATION_BOUNDARIES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
ROWS_BOUNDARIES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
"""Both as the conventions advise; upstream leaves the SDK's default, whose first bucket ends at five seconds."""

_MOST_STATEMENTS = 512
_LONGEST_KEPT = 4096
_MOST_OPERATIONS = 256

_without_leading_comment = re.compile(r"^/\*.*?\*/").sub


class Operation:
    """The measurements of all statements that begin with the same word."""

    __slots__ = ("_attributes", "_duration", "_rows", "duration", "rows")

    def __init__(self, system: str, word: str, duration: BoundHistogram, rows: BoundHistogram) -> None:
        self._attributes = {"db.system.name": system}
        if word:
            self._attributes["db.operation.name"] = word
        self._duration = duration
        self.duration = duration.bind(self._attributes)
        self._rows = rows
        self.rows: HistogramCell | None = None

    def failed(self, error: BaseException) -> HistogramCell:
        """Return the cell for the duration of a statement that raised `error`."""
        return self._duration.bind({**self._attributes, "error.type": type(error).__qualname__})

    def counted_rows(self) -> HistogramCell:
        """Return the cell for the number of rows, which exists only if there ever was one."""
        if self.rows is None:
            self.rows = self._rows.bind(self._attributes)
        return self.rows


class Statement:
    """What all executions of a statement have in common: the span's name and attributes, and the cells."""

    __slots__ = ("fixed", "name", "operation")

    def __init__(self, name: str, fixed: FixedAttributes | None, operation: Operation) -> None:
        self.name = name
        self.fixed = fixed
        self.operation = operation


class Statements(Bounded):
    """The statements of one kind of database, by their text: read with ``get``, and `of` for one that is not there."""

    __slots__ = ("_duration", "_operations", "_rows", "_system")

    def __init__(self, core: Core, library: str, system: str) -> None:
        super().__init__(_MOST_STATEMENTS)
        self._system = system
        who = scope(library, SCHEMA_URL)
        self._duration = core.metrics.histogram(
            "db.client.operation.duration", "s", "Duration of database client operations.", who, DURATION_BOUNDARIES
        )
        self._rows = core.metrics.histogram(
            "db.client.response.returned_rows",
            "{row}",
            "The actual number of records returned by the database operation.",
            who,
            ROWS_BOUNDARIES,
        )
        self._operations = Bounded(_MOST_OPERATIONS)

    def of(self, arguments: tuple[Any, ...]) -> tuple[Statement, dict[str, Any]]:
        """Return the statement in the `arguments` of an execution, and the attributes that it does not share."""
        text = _text(arguments[0]) if arguments else ""
        known: Statement | None = self.get(text)
        if known is not None:
            return known, {}
        word = operation_word(text)
        operation = self._operations.get(word) or self._operations.keep(
            word, Operation(self._system, word, self._duration, self._rows)
        )
        attributes = {"db.system.name": self._system, "db.query.text": text}
        name = word or self._system
        if len(text) > _LONGEST_KEPT or self.is_full:
            return Statement(name, None, operation), attributes
        known = self[text] = Statement(name, fixed_attributes(attributes), operation)
        return known, {}


def operation_word(text: str) -> str:
    """Return the first word of a statement that is not a comment; empty if there is none."""
    words = _without_leading_comment("", text).split(None, 1)
    return words[0] if words else ""


def _text(statement: Any) -> str:
    if isinstance(statement, bytes):
        return statement.decode("utf8", "replace")
    return str.__str__(statement) if isinstance(statement, str) else ""
