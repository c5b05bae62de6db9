"""Numbered Celery tasks, over a broker of files: no server is needed."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from celery import Celery  # type: ignore[import-not-found]
from opentelemetry import metrics, trace

from tests.numbered import NUMBER

FOLDER = Path(os.environ["TEST_BROKER"])
app = Celery("tasks", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": str(FOLDER),
    "data_folder_out": str(FOLDER),
    "control_folder": str(FOLDER / "control"),
}
app.conf.task_ignore_result = True
app.conf.worker_hijack_root_logger = False
tracer, log = trace.get_tracer("tasks"), logging.getLogger("numbered")
done = metrics.get_meter("tasks").create_counter("test.tasks")


@app.task(name="numbered")  # type: ignore[untyped-decorator]
def numbered(number: int) -> None:
    """Make a span, a log record and a count with that number."""
    with tracer.start_as_current_span("numbered", attributes={NUMBER: number}):
        log.warning("number %d", number, extra={NUMBER: number})
    done.add(1)
    print(f"task {number} done", flush=True)


if __name__ == "__main__":
    import sys

    for number in range(int(sys.argv[1])):
        numbered.delay(number)
