"""The view for people: aligned, coloured where that is wanted, one line a record and a readable traceback."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from otel_forge.logs.escaping import UNSAFE, escaped
from otel_forge.logs.json_view import unwritable

_RESET, _DIM, _BOLD, _RED = "\x1b[0m", "\x1b[2m", "\x1b[1m", "\x1b[31m"
_LEVEL_COLOURS = {
    "DEBUG": "\x1b[36m",
    "INFO": "\x1b[32m",
    "WARN": "\x1b[33m",
    "ERROR": _RED,
    "FATAL": "\x1b[1;37;41m",
}
_WIDEST_CONTEXT = 24
_MESSAGE_WIDTH = 32
_is_plain = re.compile(rf"[^\s\"'=\\{UNSAFE}]+").fullmatch
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


class ConsoleView:
    """Writes what `describe` says of a record for a terminal.

    With `colour` there are colours and the time of day (UTC); without, the whole timestamp, as for a file.
    """

    def __init__(self, describe: Callable[[logging.LogRecord], dict[str, Any]], *, colour: bool) -> None:
        self._describe = describe
        self._colour = colour
        self._context_width = 0

    def line(self, record: logging.LogRecord) -> str:
        """Return the line, without its end, and below it the lines of a traceback. Never raises."""
        try:
            return self.written(self._describe(record))
        except Exception as error:  # noqa: BLE001 - a record of which nothing can be read still counts
            return self.written(unwritable(record, error))

    def written(self, described: Mapping[str, Any]) -> str:
        """Return what `line` does, of a description: also of one that was read from a log file."""
        level, context = described["level"], escaped(described["context"])
        self._context_width = min(max(self._context_width, len(context)), _WIDEST_CONTEXT)
        time = described["timestamp"]
        fields = [*self._fields(described.get("data", {})), *self._ids(described)]
        message, *more = _lines(described)
        parts = [
            self._painted(f"{time[11:23]}Z", _DIM) if self._colour else time,
            self._painted(escaped(level).ljust(5), _LEVEL_COLOURS.get(level, "")),
            self._painted(context.ljust(self._context_width), _DIM),
            self._painted(message.ljust(_MESSAGE_WIDTH) if fields else message, _BOLD if level != "DEBUG" else ""),
            *fields,
        ]
        error, stack = self._error(described.get("error", {})), self._stack(described)
        return "\n".join([" ".join(parts), *more, *error, *stack])

    def _fields(self, data: Mapping[str, Any]) -> list[str]:
        return [f"{self._painted(f'{escaped(name)}=', _DIM)}{_value(value)}" for name, value in data.items()]

    def _ids(self, described: Mapping[str, Any]) -> list[str]:
        """Return the trace id whole: it is what the reader pastes into a search. Once is enough."""
        trace_id = described.get("trace_id", "")
        is_said = not trace_id or trace_id in described["message"]
        return [] if is_said else [self._painted(f"trace_id={trace_id}", _DIM)]

    def _error(self, error: Mapping[str, str]) -> list[str]:
        """Return the traceback indented, its file lines faint and its last line, which says what happened, bright."""
        lines = error.get("stack", "").splitlines()
        painted = []
        for number, line in enumerate(lines, 1):
            colour = _RED if number == len(lines) or not line.startswith(" ") else ""
            colour = _DIM if line.startswith(("  File ", "Traceback ")) else colour
            painted.append(f"    {self._painted(escaped(line), colour)}")
        return painted

    def _stack(self, described: Mapping[str, Any]) -> list[str]:
        return [f"    {self._painted(escaped(line), _DIM)}" for line in described.get("stack", "").splitlines()]

    def _painted(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colour and colour and text else text


def _value(value: Any) -> str:
    """Return a value as it may stand behind ``name=``: bare where nothing can be misread, else as JSON."""
    kind = type(value)
    if kind is int or kind is float or (kind is str and _is_plain(value)):
        return str(value)
    return escaped(_encode(value))


def _lines(described: Mapping[str, Any]) -> list[str]:
    """Return the message as lines: one, but for werkzeug, whose development server puts its address into a second.

    All but the first are indented, as those of a traceback are, so that none of them can be taken for a record.
    """
    message = described["message"]
    first, *more = message.split("\n") if described["context"] == "werkzeug" else [message]
    return [escaped(first), *(f"    {escaped(line)}" for line in more)]
