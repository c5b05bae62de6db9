"""SQL statements without their literals, which hold what users typed.

A reader of one pass, for every dialect at once. Where dialects differ on where a text ends, what may belong to it
is dropped. Comments stay: they carry the trace context of sqlcommenter, and hints.
"""

from __future__ import annotations

import re
from collections.abc import Callable

LONGEST = 32_768
"""Characters of a statement that are read; the rest is dropped, because who would read it?"""

_token = re.compile(
    r"""
      (?P<comment>--[^\n]*|/\*)
    | (?P<text>(?:[NnEeBbXxUu]&?)?')
    | (?P<double>")
    | (?P<dollar>\$[A-Za-z_]{0,32}\$)
    | (?P<word>[A-Za-z_@:$%\#`][\w$@.`]*)
    | (?P<number>0[xX][0-9A-Fa-f]+|[0-9][0-9_.]*(?:[eE][+-]?[0-9]+)?)
    | (?P<sign>[=<>~!(),])
    """,
    re.VERBOSE,
).search
_VALUE_WORDS = frozenset(("LIKE", "ILIKE", "REGEXP", "RLIKE", "MATCH", "GLOB", "BETWEEN", "THEN", "ELSE"))
_Clean = Callable[[str], str]


def without_literals(statement: str, clean: _Clean = str) -> tuple[str, int]:
    """Return `statement` with ``?`` for each literal, and how many there were; comments go through `clean`."""
    return _Reader(statement[:LONGEST], clean).read(cut=len(statement) > LONGEST)


class _Reader:
    """Reads one statement from left to right."""

    def __init__(self, statement: str, clean: _Clean) -> None:
        self._statement = statement
        self._clean = clean
        self._out: list[str] = []
        self._literals = 0
        self._expects_value = False
        self._in_values = False
        self._in_list = False

    def read(self, *, cut: bool) -> tuple[str, int]:
        position = 0
        end = len(self._statement)
        while position < end:
            match = _token(self._statement, position)
            if match is None:
                break
            self._out.append(self._statement[position : match.start()])
            position = self._take(match)
        self._out.append(self._statement[position:])
        if cut:
            self._out.append("…")
        return "".join(self._out), self._literals

    def _take(self, match: re.Match[str]) -> int:
        """Write one token; return where the next begins."""
        kind = match.lastgroup
        if kind == "text":
            return self._literal(self._end_of_text(match.end(), "'"))
        if kind == "number":
            return self._literal(match.end())
        if kind == "double":
            return self._double(match)
        if kind == "dollar":
            end = self._statement.find(match.group(), match.end())
            return self._literal(len(self._statement) if end < 0 else end + len(match.group()))
        if kind == "comment":
            return self._comment(match)
        self._out.append(match.group())
        self._note(match.group())
        return match.end()

    def _literal(self, end: int) -> int:
        if not (self._out and self._out[-1] == "?"):
            self._out.append("?")
        self._literals += 1
        self._expects_value = self._in_list
        return end

    def _end_of_text(self, start: int, quote: str) -> int:
        """Return where the text that begins at `start` ends; one that holds a backslash may end anywhere."""
        end = self._statement.find(quote, start)
        if end < 0 or self._statement[end - 1] == "\\":
            return len(self._statement)
        if self._statement.startswith(quote, end + 1):
            return self._end_of_doubled(end + 2, quote)
        return end + 1

    def _end_of_doubled(self, start: int, quote: str) -> int:
        while True:
            end = self._statement.find(quote, start)
            if end < 0 or self._statement[end - 1] == "\\":
                return len(self._statement)
            if not self._statement.startswith(quote, end + 1):
                return end + 1
            start = end + 2

    def _double(self, match: re.Match[str]) -> int:
        """Take what stands in double quotes: an identifier in the standard, a text in MySQL and SQLite."""
        end = self._end_of_text(match.end(), '"')
        is_path = self._statement.startswith(".", end)
        if (self._in_values or self._expects_value) and not is_path:
            return self._literal(end)
        self._out.append(self._statement[match.start() : end])
        self._expects_value = False
        return end

    def _comment(self, match: re.Match[str]) -> int:
        end = match.end()
        if match.group() == "/*":
            closed = self._statement.find("*/", end)
            end = len(self._statement) if closed < 0 else closed + 2
        self._out.append(self._clean(self._statement[match.start() : end]))
        return end

    def _note(self, part: str) -> None:
        """Remember whether a value may come next."""
        if part in "=<>~!":
            self._expects_value = True
        elif part == ")":
            self._expects_value = self._in_list = False
        elif part not in "(,":
            word = part.upper()
            self._in_values = self._in_values or word == "VALUES"
            self._in_list = word == "IN"
            self._expects_value = self._in_list or word in _VALUE_WORDS
