"""The instruments under a real server, switched on as a user does it: by opentelemetry-instrument alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.otlp_receiver import OtlpReceiver, attributes, free_port, points
from tests.programs import Programs, get

APP = """
    import logging, sqlite3, tempfile
    from flask import Flask, Response, send_file
    from opentelemetry import trace

    app = Flask("served")
    logging.basicConfig(level=logging.INFO)
    FILE = tempfile.NamedTemporaryFile(delete=False)
    FILE.write(b"content of a file" * 1000)
    FILE.flush()
    tracer = trace.get_tracer("served")

    @app.get("/")
    def index():
        sqlite3.connect(":memory:").execute("SELECT 1")
        app.logger.info("asked for %s", "index")
        return "index"

    @app.get("/stream")
    def stream():
        def pieces():
            for piece in ("one", "two"):
                with tracer.start_as_current_span(piece):
                    yield piece
        return Response(pieces())

    @app.get("/file")
    def file():
        return send_file(FILE.name, mimetype="text/plain")

    @app.get("/fails")
    def fails():
        raise ValueError("no luck")
"""


def test_a_served_app_sends_all_it_should(programs: Programs, receiver: OtlpReceiver) -> None:
    """Spans of requests, streams, files (sent by the kernel) and errors, with logs, SQL and durations."""
    programs.write("served.py", APP)
    port = free_port()
    server = programs.instrumented(
        "gunicorn", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "4", "served:app",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_FORGE_PIPELINE="lean", PYTHONPATH=str(Path.cwd()),
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    assert get(url + "/") == (200, "index")
    assert get(url + "/stream") == (200, "onetwo")
    assert get(url + "/file")[1] == "content of a file" * 1000
    assert get(url + "/fails")[0] == 500
    server.terminate()
    spans = receiver.wait_for(lambda received: _complete({span.name: span for span in received.spans()}))
    assert spans["SELECT"].parent_span_id == spans["GET /"].span_id
    assert spans["two"].parent_span_id == spans["GET /stream"].span_id
    assert spans["GET /stream"].end_time_unix_nano >= spans["two"].end_time_unix_nano
    assert [event.name for event in spans["GET /fails"].events] == ["exception"]
    [log] = receiver.wait_for(
        lambda received: [record for record in received.logs() if record.body.string_value == "asked for index"]
    )
    assert log.span_id == spans["GET /"].span_id
    assert attributes(log.attributes) == {"log.record.template": "asked for %s"}
    duration = receiver.wait_for(lambda received: received.metrics().get("http.server.request.duration"))
    routes = {attributes(point.attributes)["http.route"] for point in points(duration)}
    assert routes == {"/", "/stream", "/file", "/fails"}


def _complete(spans: dict[str, Any]) -> dict[str, Any] | None:
    wanted = {"GET /", "GET /stream", "GET /file", "GET /fails", "SELECT", "one", "two"}
    return spans if wanted <= set(spans) else None
