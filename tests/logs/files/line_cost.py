"""What a line costs (gate L1): ``python -m tests.logs.files.line_cost``.

Processes log at the same time into the same files of 1 MB, which are packed meanwhile; printed is the CPU time of a
whole log call, its JSON and redaction included, and the wall time by which the files grow by a line.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import tempfile
import time

from otel_forge.logs import configuration
from otel_forge.logs.files import recording
from otel_forge.logs.logger import get_logger
from otel_forge.settings import Settings
from tests.logs.files.conftest import MessageView


def log_lines(folder: str, view: str, count: int, begin: object, results: object) -> None:
    """Log `count` lines and report the CPU seconds that it took."""
    settings = Settings.from_env(
        {"LOG_DIR": folder, "LOG_LEVEL": "info", "OTEL_FORGE_LOGS_FILE_MB": "1", "OTEL_FORGE_LOGS_TOTAL_MB": "10000"}
    )
    json_view = configuration.build_json_view(settings.log_views, "shop")
    recording.start(settings, "shop", json_view if view == "json" else MessageView())
    logging.getLogger("AssetService").propagate = True
    logging.getLogger().addHandler(logging.NullHandler())
    log = get_logger("AssetService")
    begin.wait()  # type: ignore[attr-defined]
    before = time.process_time()
    for number in range(count):
        log.info("Loading asset from the store", asset_id=number, tenant="acme")
    results.put(time.process_time() - before)  # type: ignore[attr-defined]


def measure(view: str, processes: int, count: int) -> tuple[float, float]:
    """Return CPU and wall microseconds a line."""
    context = multiprocessing.get_context("fork")
    begin, results = context.Barrier(processes + 1), context.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        started = [
            context.Process(target=log_lines, args=(folder, view, count, begin, results)) for _ in range(processes)
        ]
        for process in started:
            process.start()
        begin.wait()
        before = time.perf_counter()
        cpu = sum(results.get() for _ in started)
        wall = time.perf_counter() - before
        for process in started:
            process.join()
    return cpu / (processes * count) * 1e6, wall / (processes * count) * 1e6


def main() -> None:
    """Measure with one process and with sixteen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000, help="lines of all processes together")
    asked = parser.parse_args()
    for view in ("message", "json"):
        for processes in (1, 16):
            cpu, wall = measure(view, processes, asked.lines // processes)
            print(f"{view:8} {processes:2} processes: {cpu:5.1f} us CPU a line, {wall:5.1f} us wall a line of all")


if __name__ == "__main__":
    main()
