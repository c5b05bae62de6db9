"""SQL in messages and exception texts: its literals go, the prose around it stays."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from otel_forge.redaction.marks import substituted

VERBS = ("INSERT INTO ", "REPLACE INTO ", "UPDATE ", "DELETE FROM ", "SELECT ", "VALUES", "WHERE ")
SQL_LITERAL = "sql-literal"


@cache
def _statement() -> re.Pattern[str]:
    return re.compile(r"(?:INSERT INTO|REPLACE INTO|UPDATE|DELETE FROM|SELECT|VALUES|WHERE) ?(?P<rest>[^\n]*)")


@cache
def _literal() -> re.Pattern[str]:
    return re.compile(r"'[^'\n]*(?:'|\Z)")


def redacted_statements(text: str, mark: Callable[[str], str]) -> str:
    """Return `text` with ``'?'`` for each text literal that follows a verb of SQL in its line."""

    def literal(match: re.Match[str]) -> str:
        if match.group() in {"'?'", "''"} or match.group().startswith("'[REDACTED:"):
            return match.group()
        mark(SQL_LITERAL)
        return "'?'"

    return substituted(_statement(), lambda match: substituted(_literal(), literal, match.group()), text)
