"""Programs that call upstream's instrumentors themselves, while our instruments are active."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.otlp_receiver import OtlpReceiver, attributes
from tests.programs import Programs

PROGRAM = """
    import logging
    import sqlite3
    from flask import Flask
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.instrumentation.logging import LoggingInstrumentor
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
    import requests

    class Nowhere(requests.adapters.BaseAdapter):
        def send(self, request, **kwargs):
            answer = requests.Response()
            answer.status_code, answer.request, answer.url = 204, request, request.url
            return answer

        def close(self):
            pass

    session = requests.Session()
    session.mount("http://", Nowhere())
    connection = SQLite3Instrumentor.instrument_connection(sqlite3.connect(":memory:"))
    first, second = Flask("first"), Flask("second")
    for app in (first, second):
        @app.get("/work")
        def work():
            connection.cursor().execute("SELECT 1")
            session.get("http://nowhere.example/")
            logging.getLogger("shop").warning("working")
            return "done"

        @app.get("/left-out")
        def left_out():
            return "done"

    def on_request(span, environ):
        span.set_attribute("hook.request", environ["PATH_INFO"])

    def on_response(span, status, headers):
        span.set_attribute("hook.response", status)

    def on_call(span, request):
        span.set_attribute("hook.request", request.method)

    def on_answer(span, request, response):
        span.set_attribute("hook.response", response.status_code)

    def on_record(span, record):
        record.seen = f"{span.get_span_context().span_id:016x}"
"""

INSTRUMENTING = """
    SQLite3Instrumentor().instrument()
    RequestsInstrumentor().instrument(request_hook=on_call, response_hook=on_answer)
    LoggingInstrumentor().instrument(log_hook=on_record)
"""

SERVING = """
    for app in (first, second):
        for path in ("/work", "/left-out"):
            app.test_client().get(path)
"""

Shown = list[tuple[str, str, object, object]]


@pytest.fixture(autouse=True)
def lean(programs: Programs, receiver: OtlpReceiver) -> None:
    """The lean pipeline, which sends to the receiver."""
    programs.environ.update(OTEL_FORGE_PIPELINE="lean", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)


def spans_of(programs: Programs, receiver: OtlpReceiver, *parts: str) -> Shown:
    """Run a program of these parts; return name, scope and what the hooks have set, for each span, sorted."""
    script = programs.write("app.py", "".join(parts))
    program = programs.instrumented(sys.executable, str(script))
    assert program.wait() == 0, program.err
    assert program.notices()[1:] == []
    shown = []
    for request in receiver.received.requests["traces"]:
        for group in request.resource_spans[0].scope_spans:
            for span in group.spans:
                found = attributes(span.attributes)
                shown.append((span.name, group.scope.name, found.get("hook.request"), found.get("hook.response")))
    return sorted(shown, key=str)


DATABASE = ("SELECT", "otel_forge.instruments.sqlite3", None, None)
CALL = ("GET", "otel_forge.instruments.requests", "GET", 204)
FLASK = "otel_forge.instruments.flask"
HOOKED = ("GET /work", FLASK, "/work", "200 OK")


def test_own_calls_hand_over_their_hooks_and_make_no_second_span(programs: Programs, receiver: OtlpReceiver) -> None:
    """instrument() of all four: one span for each request, call and statement."""
    instrumenting = (
        INSTRUMENTING
        + """
    FlaskInstrumentor().instrument(request_hook=on_request, response_hook=on_response, excluded_urls="left-out")
"""
    )
    shown = spans_of(programs, receiver, PROGRAM, instrumenting, SERVING)
    assert shown == sorted([CALL, CALL, HOOKED, HOOKED, DATABASE, DATABASE], key=str)
    records = [record for record in receiver.received.logs() if record.body.string_value == "working"]
    servers = {span.span_id.hex() for span in receiver.received.spans() if span.name == "GET /work"}
    assert {attributes(record.attributes)["seen"] for record in records} == servers


def test_options_of_instrument_app_hold_for_that_app(programs: Programs, receiver: OtlpReceiver) -> None:
    """The other app keeps the general ones, here none."""
    instrumenting = """
    FlaskInstrumentor().instrument_app(
        first, request_hook=on_request, response_hook=on_response, excluded_urls="left-out"
    )
"""
    shown = spans_of(programs, receiver, PROGRAM, instrumenting, SERVING)
    other = [("GET /left-out", FLASK, None, None), ("GET /work", FLASK, None, None)]
    assert [span for span in shown if span[1] == FLASK] == sorted([HOOKED, *other], key=str)


def test_own_calls_switch_off_and_on_again(programs: Programs, receiver: OtlpReceiver) -> None:
    """uninstrument() and instrument() do what they say, and uninstrument_app() concerns one app."""
    switching = """
    FlaskInstrumentor().uninstrument()
    RequestsInstrumentor().uninstrument()
    first.test_client().get("/work")
    RequestsInstrumentor().instrument()
    first.test_client().get("/work")
    FlaskInstrumentor().instrument()
    FlaskInstrumentor.uninstrument_app(first)
    first.test_client().get("/work")
    second.test_client().get("/work")
"""
    shown = spans_of(programs, receiver, PROGRAM, switching)
    unhooked = ("GET", "otel_forge.instruments.requests", None, None)
    assert shown == sorted([*[unhooked] * 3, ("GET /work", FLASK, None, None), *[DATABASE] * 4], key=str)


def test_switching_off_and_on_opens_no_second_series(programs: Programs, receiver: OtlpReceiver) -> None:
    """What is measured before and after stands in one point of one metric."""
    switching = """
    for instrumentor in (FlaskInstrumentor(), RequestsInstrumentor(), SQLite3Instrumentor()):
        instrumentor.instrument()
    first.test_client().get("/work")
    for instrumentor in (FlaskInstrumentor(), RequestsInstrumentor(), SQLite3Instrumentor()):
        instrumentor.uninstrument()
    first.test_client().get("/work")
    for instrumentor in (FlaskInstrumentor(), RequestsInstrumentor(), SQLite3Instrumentor()):
        instrumentor.instrument()
    first.test_client().get("/work")
"""
    spans_of(programs, receiver, PROGRAM, switching)
    counts = {
        name: [point.count for metric in metrics for point in metric.histogram.data_points]
        for name, metrics in last_metrics(receiver).items()
        if name in DURATIONS
    }
    assert counts == {name: [2] for name in DURATIONS}


DURATIONS = ("http.server.request.duration", "http.client.request.duration", "db.client.operation.duration")


def last_metrics(receiver: OtlpReceiver) -> dict[str, list[Any]]:
    """Return the metrics of the last request by name: several of a name would be a mistake."""
    found: dict[str, list[Any]] = {}
    for of_scope in receiver.received.requests["metrics"][-1].resource_metrics[0].scope_metrics:
        for metric in of_scope.metrics:
            found.setdefault(metric.name, []).append(metric)
    return found


def test_connections_are_switched_off_one_by_one(programs: Programs, receiver: OtlpReceiver) -> None:
    """uninstrument_connection() of ours and of upstream's: no spans of what their new cursors execute."""
    switching = """
    for one in (sqlite3.connect(":memory:"), connection):
        SQLite3Instrumentor.uninstrument_connection(one).cursor().execute("SELECT 2")
    one.execute("SELECT 3")
    sqlite3.connect(":memory:").cursor().execute("VALUES (1)")
"""
    shown = spans_of(programs, receiver, PROGRAM, switching)
    assert shown == [("VALUES", "otel_forge.instruments.sqlite3", None, None)]


def test_a_provider_of_ones_own_is_said_to_have_no_effect(programs: Programs, receiver: OtlpReceiver) -> None:
    """Our instrument records into its own pipeline."""
    script = programs.write(
        "app.py",
        """
    from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
    from opentelemetry.sdk.trace import TracerProvider
    import sqlite3

    SQLite3Instrumentor().instrument(tracer_provider=TracerProvider())
    """,
    )
    program = programs.instrumented(sys.executable, str(script))
    assert program.wait() == 0, program.err
    assert program.notices()[1:] == [
        "tracer_provider of SQLite3Instrumentor has no effect: otel-forge's own instrument records to its pipeline."
    ]
