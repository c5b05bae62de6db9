"""Health in a process with telemetry on: what probes leave behind, and what the check of telemetry itself goes by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.otlp_receiver import OtlpReceiver, attributes, points, refused_url
from tests.programs import Programs

ROOT = Path(__file__).parents[2]
PROBED = """
    import time
    from flask import Flask
    from otel_forge import health
    from otel_forge.web.health import HealthRoutes

    app = Flask("probed")
    HealthRoutes(app)
    app.add_url_rule("/work", view_func=lambda: "done", endpoint="work")
    health.check("database", lambda: None)
    health.check("imageServer", lambda: False, required=False)
    client = app.test_client()
    while client.get("/ready").json["status"] != "warn":
        time.sleep(0.01)
    for path in ("/live", "/startup", "/api/health", "/api/health", "/work"):
        client.get(path)
"""
CUT_OFF = """
    import json
    from opentelemetry import trace
    from otel_forge import health

    check = health.telemetry()
    for _ in range(2):
        trace.get_tracer("x").start_span("held").end()
        trace.get_tracer_provider().force_flush(500)
        result = check()
    print(json.dumps([result.status, result.detail]))
"""


def counts(metric: Any, *names: str) -> dict[tuple[Any, ...], int]:
    """Return the values of a metric by attributes."""
    found = ((attributes(point.attributes), point.as_int) for point in points(metric))
    return {tuple(labels[name] for name in names): value for labels, value in found}


@pytest.mark.parametrize("pipeline", ["lean", "upstream"])
def test_probes_make_metrics_and_no_spans(programs: Programs, receiver: OtlpReceiver, pipeline: str) -> None:
    """With our instrument of Flask and with upstream's; a warning is logged once, as a record of the application."""
    programs.write("probed.py", PROBED)
    program = programs.instrumented(
        "python",
        "probed.py",
        OTEL_FORGE_PIPELINE=pipeline,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        PYTHONPATH=str(ROOT),
    )
    assert program.wait() == 0, program.err
    received = receiver.received
    assert [span.name for span in received.spans()] == ["GET /work"]
    metrics = received.metrics()
    probes = counts(metrics["otel_forge.health.probes"], "probe", "http.response.status_code")
    assert probes.items() >= {("live", 200): 1, ("startup", 200): 1, ("health", 503): 2}.items()
    assert counts(metrics["otel_forge.health.check.status"], "check") == {("database",): 1, ("imageServer",): 0}
    assert [point.as_int for point in points(metrics["otel_forge.health.ready"])] == [1]
    assert "otel_forge.health.check.duration" in metrics
    assert [record.body.string_value for record in received.logs()] == ["health check imageServer fails (failed)"]


def test_the_check_of_telemetry_goes_by_the_accounts_of_the_process(programs: Programs) -> None:
    """It warns where nothing is delivered."""
    programs.write("cut_off.py", CUT_OFF)
    program = programs.instrumented(
        "python", "cut_off.py", OTEL_EXPORTER_OTLP_ENDPOINT=refused_url(), PYTHONPATH=str(ROOT)
    )
    assert program.wait() == 0, program.err
    status, detail = json.loads(program.out)
    assert status == "warn" and "traces wait and none is delivered" in detail
