"""What `otel-forge logs` prints: entries for people as the console view has them, or JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from otel_forge.logs.console_view import ConsoleView
from otel_forge.logs.describe import Describer
from otel_forge.logs.escaping import escaped, json_escaped
from otel_forge.logs.files.entries import Entry

_TEXTS = ("timestamp", "level", "context", "message")


class ConsoleText:
    """Writes entries for a terminal: the lines of our own JSON view readable, any other text as it is but harmless."""

    def __init__(self, *, colour: bool) -> None:
        self._view = ConsoleView(Describer(), colour=colour)

    def __call__(self, entry: Entry) -> str:
        """Return the line, and below it those of a traceback."""
        if entry.fields is None or not _is_described(entry.fields):
            return escaped(entry.text)
        return self._view.written(entry.fields)


def _is_described(fields: Mapping[str, Any]) -> bool:
    """Return whether a JSON object is one of our JSON view."""
    error = fields.get("error", {})
    return (
        all(isinstance(fields.get(name), str) for name in _TEXTS)
        and isinstance(fields.get("data", {}), dict)
        and isinstance(error, dict)
        and isinstance(error.get("stack", ""), str)
        and isinstance(fields.get("stack", ""), str)
        and isinstance(fields.get("trace_id", ""), str)
    )


def json_line(entry: Entry) -> str:
    """Return the entry as one JSON object: the line itself where it is one, else an object around it."""
    if entry.fields is not None:
        return json_escaped(entry.text)
    moment = entry.time
    stamp = {} if moment is None else {"timestamp": datetime.fromtimestamp(moment, timezone.utc).isoformat()}
    return json_escaped(json.dumps({**stamp, "service": entry.source, "message": entry.text}, ensure_ascii=False))


def lines_of(entries: Iterator[Entry], names: Sequence[str], text: Callable[[Entry], str]) -> Iterator[str]:
    """Yield the lines to print, each with its source's name in front where there are several."""
    width = max(map(len, names), default=0)
    for entry in entries:
        prefix = f"{entry.source:<{width}} | " if len(names) > 1 else ""
        yield from (prefix + line for line in text(entry).split("\n"))
