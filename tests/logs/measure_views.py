"""What a log record costs, in CPU time of the thread that logs: `python -m tests.logs.measure_views`.

Three fields and an argument, written and flushed to /dev/null; the best of seven rounds of 5,000.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from otel_forge.logs.configuration import build_json_view, build_view
from otel_forge.logs.console_view import ConsoleView
from otel_forge.logs.describe import Describer
from otel_forge.logs.flood import FloodControl
from otel_forge.logs.handlers import StreamLines, View
from otel_forge.logs.json_view import JsonView
from otel_forge.logs.logger import get_logger
from otel_forge.settings import Settings

ROUNDS, RECORDS = 7, 5000
SETTINGS = Settings.from_env({"FORCE_COLOR": "1"}).log_views


def microseconds(handler: logging.Handler, log: Callable[[int], None]) -> float:
    """Return the CPU time of one call of `log`."""
    logger = logging.getLogger("measured")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        for number in range(RECORDS):
            log(number)
        best = min(best, time.process_time() - started)
    return best / RECORDS * 1e6


def with_fields(number: int) -> None:
    """Log as an application with our logger does."""
    LOGGER.info("Loading asset %s", "wood", asset_id=f"a-{number}", size=number, ratio=0.5)


def plain(number: int) -> None:
    """Log as an application with the standard library does."""
    LOGGER.logger.info("Loading asset %s, a-%d", "wood", number)


LOGGER = get_logger("measured")


def main() -> None:
    """Print a table."""
    with Path(os.devnull).open("w") as sink:
        theirs = logging.StreamHandler(sink)
        theirs.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        describe = Describer("shop")
        views: dict[str, View] = {
            "JSON": build_json_view(SETTINGS, "shop"),
            "JSON without redaction": JsonView(describe),
            "console": build_view("console", SETTINGS, "shop")[0],
            "console without redaction": ConsoleView(describe, colour=True),
        }
        print(f"{'nobody looks at the record':40s} {microseconds(logging.NullHandler(), with_fields):5.1f} us")
        print(f"{'standard library, text, no fields':40s} {microseconds(theirs, plain):5.1f} us")
        for name, view in views.items():
            print(f"{name:40s} {microseconds(StreamLines(view, sink), with_fields):5.1f} us")
        counted = StreamLines(views["JSON"], sink, flood=FloodControl(10**9, 60))
        print(f"{'JSON with flood control':40s} {microseconds(counted, with_fields):5.1f} us")


if __name__ == "__main__":
    main()
