"""A whole program with telemetry on: ids and fields on every record, wherever it is made."""

from __future__ import annotations

import json
import sys

import pytest

from tests.programs import Programs

SCRIPT = """
    import threading
    from concurrent.futures import ThreadPoolExecutor
    from opentelemetry import trace
    from otel_forge import get_logger, log_context

    log = get_logger("app")
    pool = ThreadPoolExecutor(1)
    pool.submit(log.info, "outside").result()
    with trace.get_tracer("t").start_as_current_span("GET /") as span, log_context(request_id="r1"):
        log.info("%032x", span.get_span_context().trace_id)
        thread = threading.Thread(target=log.info, args=("thread",))
        thread.start()
        thread.join()
        pool.submit(log.info, "executor").result()
    pool.submit(log.info, "after").result()
"""


@pytest.mark.gate
@pytest.mark.parametrize("pipeline", ["lean", "upstream"])
def test_l2_ids_are_on_every_record(programs: Programs, pipeline: str) -> None:
    """L2: in threads and executors, with both pipelines; outside of the request there are none."""
    program = programs.instrumented(
        sys.executable,
        str(programs.write("ids.py", SCRIPT)),
        OTEL_FORGE_PIPELINE=pipeline,
        OTEL_FORGE_LOGS_VIEW="json",
        OTEL_FORGE_EXIT_TIMEOUT="0",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://localhost:9",
    )
    assert program.wait() == 0
    said = {entry["message"]: entry for entry in map(json.loads, program.out.splitlines())}
    outside, trace_id, *inside, after = said
    assert (outside, after, inside) == ("outside", "after", ["thread", "executor"])
    assert all("trace_id" not in said[name] and "data" not in said[name] for name in (outside, after))
    for name in (trace_id, *inside):
        assert (said[name]["trace_id"], said[name]["data"]) == (trace_id, {"request_id": "r1"})
