"""How a measured process is commanded: one JSON object a line, over two inherited pipes.

Standard output stays free for whatever the measured products print there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

VARIABLE = "BENCHMARK_CONTROL"
"""Holds the numbers of the file descriptors to read from and to write to, with a comma between."""

Handler = Callable[[dict[str, Any]], dict[str, Any]]


def serve(handle: Handler) -> None:
    """Answer every command with what `handle` returns for it, until the pipe is closed."""
    reading, writing = (int(number) for number in os.environ[VARIABLE].split(","))
    with open(reading, encoding="utf-8") as commands, open(writing, "w", encoding="utf-8") as answers:  # noqa: PTH123
        for line in commands:
            answers.write(json.dumps(_answer(handle, json.loads(line))) + "\n")
            answers.flush()


def _answer(handle: Handler, command: dict[str, Any]) -> dict[str, Any]:
    try:
        return handle(command)
    except Exception as error:  # noqa: BLE001 - the harness shows it beside the variant's name
        return {"error": f"{type(error).__name__}: {error}"}
