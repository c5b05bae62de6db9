"""The request log: one event for each request, whatever becomes of it, and nothing of the client's own text in it."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import flask
import pytest
import requests
from flask import Flask, Response, stream_with_context
from flask.typing import ResponseReturnValue
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind
from werkzeug.test import Client, EnvironBuilder, run_wsgi_app

from otel_forge import guard
from otel_forge.health import paths
from otel_forge.instruments.core import scope_name
from otel_forge.logs.console_view import ConsoleView
from otel_forge.logs.context import bind_context, context_fields
from otel_forge.logs.describe import Describer
from otel_forge.logs.flood import FloodControl
from otel_forge.logs.json_view import JsonView
from otel_forge.metrics import traffic
from otel_forge.sdk.tally import TallyProcessor, count_lean_span
from otel_forge.settings import RequestLogSettings
from otel_forge.web.request_log import LOGGER, RequestLog, surround
from otel_forge.web.serving import current_tally
from tests.corpus import secrets
from tests.logs.test_views import INJECTIONS, UNSAFE
from tests.web.conftest import Events, Kept, Start

CLIENT = {"REMOTE_ADDR": "203.0.113.77"}
TIMES = ("http.server.request.duration", "otel_forge.db.duration", "otel_forge.upstream.duration")


def build_app() -> Flask:
    """Return an app with a view for each way that a response can go."""
    app = Flask("shop")

    def asset(id: int) -> str:
        return "wood" if id else flask.abort(500)

    def upload() -> ResponseReturnValue:
        return flask.request.get_data(), 201

    def fail() -> str:
        raise KeyError("no luck")

    def stream() -> Response:
        return Response(iter(["one", "two", "three"]))

    def breaking() -> Response:
        def pieces() -> Iterator[str]:
            yield "one"
            raise ConnectionError("no more")

        return Response(pieces())

    app.add_url_rule("/assets/<int:id>", view_func=asset)
    app.add_url_rule("/upload", view_func=upload, methods=["POST", "PUT"])
    for view in (fail, stream, breaking):
        app.add_url_rule(f"/{view.__name__}", view_func=view)
    return app


@pytest.fixture
def app() -> Flask:
    """An app with a request log."""
    app = build_app()
    RequestLog(app)
    return app


@pytest.fixture
def client(app: Flask) -> Client:
    """A client from a known address."""
    client = app.test_client()
    client.environ_base = {**CLIENT, "HTTP_USER_AGENT": "curl/8.16.0"}
    return client


def without_times(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an event that are the same each time."""
    return {name: value for name, value in fields.items() if name not in TIMES}


# -- the event -----------------------------------------------------------------------------------------------------


def test_a_request_is_one_event(client: Client, events: Events) -> None:
    """With the route, not the path."""
    client.get("/assets/7?token=geheim")
    [fields] = events.fields
    assert 0 < fields["http.server.request.duration"] < 10
    assert without_times(fields) == {
        "otel.event.name": "otel_forge.request",
        "http.request.method": "GET",
        "http.route": "/assets/<int:id>",
        "http.response.status_code": 200,
        "http.response.body.size": 4,
        "client.address": "203.0.113.0",
        "otel_forge.user_agent.class": "tool",
    }
    assert events.messages[0].startswith("GET /assets/<int:id> 200 ") and events.messages[0].endswith(" ms")


@pytest.mark.parametrize(
    ("method", "path", "level", "message", "changed"),
    [
        ("GET", "/nowhere/7", "INFO", "GET (no route) 404 ", {"http.response.status_code": 404}),
        ("DELETE", "/upload", "INFO", "DELETE (no route) 405 ", {"http.response.status_code": 405}),
        (
            "GET",
            "/assets/0",
            "WARNING",
            "GET /assets/<int:id> 500 ",
            {"http.response.status_code": 500, "error.type": "500", "http.route": "/assets/<int:id>"},
        ),
        (
            "GET",
            "/fail",
            "WARNING",
            "GET /fail 500 ",
            {"http.response.status_code": 500, "error.type": "500", "http.route": "/fail"},
        ),
        (
            "HEAD",
            "/assets/7",
            "INFO",
            "HEAD /assets/<int:id> 200 ",
            {"http.response.status_code": 200, "http.route": "/assets/<int:id>", "http.response.body.size": 0},
        ),
        ("BREW", "/assets/7", "INFO", "_OTHER (no route) 405 ", {"http.response.status_code": 405}),
    ],
)
def test_each_outcome_has_its_event(
    client: Client, events: Events, method: str, path: str, level: str, message: str, changed: dict[str, Any]
) -> None:
    """Server errors are warnings; what the client did wrong is information; without a route there is none."""
    client.open(path, method=method)
    [fields] = events.fields
    assert events.levels == [level]
    assert events.messages[0].startswith(message)
    shown = {name: value for name, value in fields.items() if name in changed or name in ("http.route", "error.type")}
    assert shown == changed
    assert fields["http.request.method"] == ("_OTHER" if method == "BREW" else method)


def test_bodies_are_counted(client: Client, events: Events) -> None:
    """What the client said it sends, and what was handed to the server."""
    client.post("/upload", data=b"x" * 1000)
    assert (events.last["http.request.body.size"], events.last["http.response.body.size"]) == (1000, 1000)
    assert events.last["http.response.status_code"] == 201


def test_an_exception_that_leaves_the_app_is_in_the_event(app: Flask, events: Events) -> None:
    """As in debug: the type, and the route, though Flask has forgotten it."""
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(KeyError):
        app.test_client().get("/fail")
    assert events.levels == ["WARNING"]
    assert events.messages[0].startswith("GET /fail failed ")
    assert events.last["error.type"] == "KeyError" and events.last["http.route"] == "/fail"
    assert "http.response.status_code" not in events.last


def test_two_logs_of_one_app_write_one_event(events: Events) -> None:
    """Also where every app of the process has one."""
    app = build_app()
    RequestLog(app)
    RequestLog(app)
    stop = RequestLog(settings=RequestLogSettings()).install()
    try:
        app.test_client().get("/assets/7")
        assert len(events.records) == 1
        build_app().test_client().get("/assets/7")
        assert len(events.records) == 2
    finally:
        stop()
    build_app().test_client().get("/assets/7")
    assert len(events.records) == 2


def test_a_level_of_the_logger_is_the_users(client: Client, events: Events) -> None:
    """WARNING leaves what went wrong."""
    logging.getLogger(LOGGER).setLevel(logging.WARNING)
    client.get("/assets/7")
    client.get("/assets/0")
    assert events.levels == ["WARNING"]


def test_flood_control_leaves_it_whole(client: Client, events: Events) -> None:
    """N requests are N events, or the log could not be counted."""
    events.addFilter(FloodControl(1, 60.0))
    for _ in range(20):
        client.get("/assets/7")
    assert len(events.records) == 20


def test_a_fault_of_ours_costs_no_request(client: Client, events: Events, capfd: pytest.CaptureFixture[str]) -> None:
    """It is said once."""
    guard.set_strict(False)
    events.addFilter(lambda record: 1 / 0)  # type: ignore[arg-type, return-value]
    assert [client.get("/assets/7").status_code for _ in range(2)] == [200, 200]
    assert capfd.readouterr().err.count("looking at a request that is over failed") == 1


# -- bodies that are made while they are sent --------------------------------------------------------------------------


def test_a_stream_is_logged_at_its_end(client: Client, events: Events) -> None:
    """With the bytes that it had."""
    answer = client.get("/stream", buffered=False)
    assert events.records == []
    assert answer.get_data() == b"onetwothree"
    assert events.last["http.response.body.size"] == 11
    assert "otel_forge.request.aborted" not in events.last


def test_a_stream_that_the_client_leaves_is_logged_when_the_server_closes_it(app: Flask, events: Events) -> None:
    """With the bytes that were sent until then."""
    pieces, _, _ = run_wsgi_app(app.wsgi_app, EnvironBuilder("/stream").get_environ())
    assert next(iter(pieces)) == b"one"
    assert events.records == []
    pieces.close()  # type: ignore[attr-defined]
    assert events.levels == ["WARNING"]
    assert events.last["otel_forge.request.aborted"] is True
    assert events.messages[0].startswith("GET /stream 200 aborted after ")
    assert events.last["http.response.body.size"] in (3, 6)  # werkzeug's client takes the first one in advance


def test_a_stream_that_breaks_says_with_what(app: Flask, events: Events) -> None:
    """The status went out before."""
    with pytest.raises(ConnectionError):
        app.test_client().get("/breaking", buffered=True)
    assert events.levels == ["WARNING"]
    assert (events.last["error.type"], events.last["http.response.body.size"]) == ("ConnectionError", 3)


def test_what_the_server_gets_is_what_the_app_gave(events: Events) -> None:
    """A body that is complete is passed on as it is, a file as the file that the server may send by itself."""
    app = Flask("plain")
    bodies: list[Any] = []

    class File:
        def __init__(self, *_: object) -> None:
            pass

        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x"])

        def close(self) -> None:
            bodies.append("closed")

    def respond(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "1")])
        bodies.append([b"x"] if environ["PATH_INFO"] == "/list" else File())
        return bodies[-1]

    setattr(app, "wsgi_app", respond)  # noqa: B010
    RequestLog(app)
    begin: Callable[..., None] = lambda status, headers: None  # noqa: E731
    given = app.wsgi_app(EnvironBuilder("/list").get_environ(), begin)  # type: ignore[arg-type]
    assert given is bodies[-1] and len(events.records) == 1
    environ = {**EnvironBuilder("/file").get_environ(), "wsgi.file_wrapper": File}
    given = app.wsgi_app(environ, begin)  # type: ignore[arg-type]
    assert given is bodies[1] and len(events.records) == 1
    given.close()
    assert bodies[2:] == ["closed"]
    assert len(events.records) == 2 and events.last["http.response.body.size"] == 1


def test_fields_that_a_view_binds_are_in_the_event_and_in_its_stream(start: Start, kept: Kept, events: Events) -> None:
    """As without a request log: the context of the request goes on until the last piece."""
    core = kept.core()
    start("flask", core)
    start("logging", core)
    app = Flask("bound")
    seen: list[Any] = []

    @app.get("/")
    def index() -> Response:
        bind_context(user="ann")
        return Response(seen.append(dict(context_fields())) or str(number) for number in range(2))  # type: ignore[func-returns-value]

    RequestLog(app)
    app.test_client().get("/", buffered=True)
    assert seen == [{"user": "ann"}] * 2
    assert kept.logs[-1].attributes["user"] == "ann"
    assert context_fields() == {}


def test_a_response_that_is_none_is_between_the_app_and_the_server(
    events: Events, capfd: pytest.CaptureFixture[str]
) -> None:
    """Headers and pieces of any type are passed on as they are."""
    guard.set_strict(False)
    app = Flask("plain")
    given: list[Any] = []

    def respond(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", 17), (b"x" * 14, None)])
        return iter([b"one", 2, None])

    setattr(app, "wsgi_app", respond)  # noqa: B010
    RequestLog(app)
    begin: Any = lambda status, headers: given.append(headers)  # noqa: E731
    assert list(app.wsgi_app(EnvironBuilder("/").get_environ(), begin)) == [b"one", 2, None]
    assert given == [[("Content-Length", 17), (b"x" * 14, None)]]
    assert events.last["http.response.body.size"] == 3
    assert "looking at the headers of a response failed" in capfd.readouterr().err


@pytest.mark.parametrize("with_log", [False, True])
def test_what_runs_at_the_close_of_a_stream_belongs_to_the_request(
    start: Start, kept: Kept, events: Events, with_log: bool
) -> None:
    """Its span is open, and its line is not written before; a stream that was sent whole is not aborted."""
    start("flask", kept.core())
    app = Flask("closing")
    written: list[int] = []

    @app.get("/")
    def index() -> Response:
        response = Response(iter(["one", "two"]))
        response.call_on_close(lambda: trace.get_current_span().set_attribute("closed", True))
        response.call_on_close(lambda: written.append(len(events.records)))
        return response

    if with_log:
        RequestLog(app)
    app.test_client().get("/", buffered=True).close()
    assert dict(kept.spans[-1].attributes)["closed"] is True
    assert (written, events.levels) == ([0], ["INFO"] * with_log)


# -- what the request spent ----------------------------------------------------------------------------------------


class Upstream(BaseHTTPRequestHandler):
    """Another service."""

    def do_GET(self) -> None:
        self.send_response(429 if self.path == "/busy" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def upstream() -> Iterator[str]:
    """The address of another service."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def spending_app(upstream: str) -> Flask:
    """Return an app that asks a database and another service, in the request and in a thread of it."""
    app = Flask("spending")

    def query() -> None:
        with sqlite3.connect(":memory:") as connection:
            connection.execute("SELECT 1")
        connection.close()

    @app.get("/spend")
    def spend() -> str:
        query()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: query(), range(2)))
        with pytest.raises(sqlite3.OperationalError):
            sqlite3.connect(":memory:").execute("SELECT nothing")
        requests.get(upstream, timeout=5)
        requests.get(f"{upstream}/busy", timeout=5)
        return "done"

    @app.get("/stream")
    def stream() -> Response:
        def pieces() -> Iterator[str]:
            query()
            yield "one"

        return Response(stream_with_context(pieces()))

    @app.get("/nothing")
    def nothing() -> str:
        return "nothing"

    RequestLog(app)
    return app


@pytest.mark.parametrize("options", [{}, {"sampler": ALWAYS_OFF}], ids=["sampled", "not sampled"])
def test_statements_and_calls_are_counted(
    start: Start, kept: Kept, upstream: str, events: Events, options: dict[str, Any]
) -> None:
    """Those that fail, too, and those in threads; whether or not the trace is sampled."""
    core = kept.core(**options)
    for name in ("flask", "sqlite3", "requests", "threading"):
        start(name, core)
    client = spending_app(upstream).test_client()
    client.get("/spend")
    assert events.last["otel_forge.db.count"] == 4
    assert events.last["otel_forge.upstream.count"] == 2
    assert 0 < events.last["otel_forge.db.duration"] < events.last["http.server.request.duration"] * 3
    assert 0 < events.last["otel_forge.upstream.duration"] < events.last["http.server.request.duration"]
    client.get("/stream", buffered=True)
    assert events.last["otel_forge.db.count"] == 1
    client.get("/nothing")
    assert not {name for name in events.last if name.startswith(("otel_forge.db", "otel_forge.upstream"))}


def test_without_instruments_there_is_nothing_to_count(upstream: str, events: Events) -> None:
    """The event is there all the same."""
    spending_app(upstream).test_client().get("/spend")
    assert events.last["http.response.status_code"] == 200
    assert "otel_forge.db.count" not in events.last


def test_spans_of_other_instrumentations_are_counted_as_they_end(start: Start, kept: Kept, events: Events) -> None:
    """SQLAlchemy's, Redis' and httpx's, by their attributes; those of our own instruments are not counted twice."""
    core = kept.core()
    start("flask", core)
    start("sqlite3", core)
    core.tracer_provider.tell_of_clients(count_lean_span, besides=scope_name(""))
    tracer = core.tracer_provider.get_tracer("opentelemetry.instrumentation.sqlalchemy")
    app = Flask("foreign")

    @app.get("/")
    def index() -> str:
        for attributes in ({"db.system": "postgresql"}, {"db.system.name": "redis"}, {"http.request.method": "GET"}):
            with tracer.start_as_current_span("call", kind=SpanKind.CLIENT, attributes=attributes):
                pass
        with tracer.start_as_current_span("inner", attributes={"db.system": "none"}):
            sqlite3.connect(":memory:").execute("SELECT 1")
        return "index"

    RequestLog(app)
    app.test_client().get("/")
    assert (events.last["otel_forge.db.count"], events.last["otel_forge.upstream.count"]) == (3, 1)


def test_a_processor_counts_in_upstreams_pipeline(events: Events) -> None:
    """By the same attributes."""
    provider = TracerProvider()
    provider.add_span_processor(TallyProcessor(current_tally))  # type: ignore[arg-type]
    tracer = provider.get_tracer("any")
    app = Flask("foreign")

    @app.get("/")
    def index() -> str:
        with tracer.start_as_current_span("call", kind=SpanKind.CLIENT, attributes={"db.system": "postgresql"}):
            pass
        with tracer.start_as_current_span("not a call", attributes={"db.system": "postgresql"}):
            pass
        return "index"

    RequestLog(app)
    app.test_client().get("/")
    assert events.last["otel_forge.db.count"] == 1
    provider.shutdown()


# -- probes, arrivals, traffic -----------------------------------------------------------------------------------------


def test_health_probes_are_left_out(client: Client, app: Flask, events: Events) -> None:
    """They are counted where they are answered, and are no traffic."""
    app.add_url_rule("/well-of-the-test", view_func=lambda: "well")
    paths.add(["/well-of-the-test"])
    before = traffic.window(900)
    assert client.get("/well-of-the-test").status_code == 200
    assert (events.records, traffic.window(900)) == ([], before)


@pytest.mark.parametrize("instrumented", [False, True])
def test_each_request_is_counted_as_traffic_once(client: Client, start: Start, kept: Kept, instrumented: bool) -> None:
    """Whether our Flask instrument sees it, or the request log, or both."""
    if instrumented:
        start("flask", kept.core())
    before = traffic.window(900)
    client.get("/assets/7")
    client.get("/nowhere")
    client.get("/fail")
    after = traffic.window(900)
    assert (after.requests - before.requests, after.errors - before.errors) == (3, 1)


def test_a_request_to_the_wsgi_app_itself_is_counted_once(app: Flask, start: Start, kept: Kept) -> None:
    """A middleware around ``app.wsgi_app`` may be what the server was given: our instrument is inside of us then."""
    start("flask", kept.core())
    before = traffic.window(900)
    Client(app.wsgi_app).get("/assets/7")
    assert traffic.window(900).requests - before.requests == 1


def test_an_app_without_a_log_can_be_counted_alone(events: Events) -> None:
    """As `Forge` does if the request log is turned off."""
    app = build_app()
    surround(app, None)
    before = traffic.window(900)
    app.test_client().get("/fail")
    after = traffic.window(900)
    assert (after.requests - before.requests, after.errors - before.errors, events.records) == (1, 1, [])


def test_an_arrival_has_its_own_line_where_that_is_wanted(events: Events) -> None:
    """Before the view runs, with the route that it has found."""
    app = build_app()
    RequestLog(app, incoming=True)
    app.test_client().put("/upload", data=b"xyz")
    app.test_client().get("/nowhere")
    assert events.messages[0] == "PUT /upload started"
    assert events.messages[1].startswith("PUT /upload 201 ")
    assert events.messages[2] == "GET (no route) started"
    assert events.fields[0] == {
        "otel.event.name": "otel_forge.request.started",
        "http.request.method": "PUT",
        "http.route": "/upload",
        "http.request.body.size": 3,
        "client.address": "127.0.0.0",
        "otel_forge.user_agent.class": "tool",
    }


def test_how_much_of_the_client_is_shown_can_be_chosen(events: Events) -> None:
    """All, or nothing."""
    for choice in ("whole", "none"):
        app = build_app()
        RequestLog(app, client_address=choice, user_agent=choice)
        app.test_client().get("/assets/7", environ_base=CLIENT, headers={"User-Agent": "curl/8.16.0"})
    first, second = events.fields
    assert (first["client.address"], first["user_agent.original"]) == ("203.0.113.77", "curl/8.16.0")
    assert not {name for name in second if name.startswith(("client.", "user_agent.", "otel_forge.user_agent"))}


def test_a_choice_that_there_is_not_is_an_error_at_once() -> None:
    """It says which there are."""
    with pytest.raises(ValueError, match="client_address='some' is not one of truncated, whole, none"):
        RequestLog(client_address="some")
    with pytest.raises(ValueError, match="user_agent='raw' is not one of class, whole, none"):
        RequestLog(user_agent="raw")


# -- views, and what must not be in them ---------------------------------------------------------------------------


def test_every_view_shows_the_same_event(start: Start, kept: Kept, events: Events) -> None:
    """JSON, console and OTLP: whole records, with the trace of the request."""
    core = kept.core()
    start("flask", core)
    start("logging", core)
    app, log = build_app(), RequestLog()
    surround(app, lambda served, _: log.write(served, 0.0123456))
    lines: list[str] = []
    events.addFilter(lambda record: bool(lines.__iadd__(_in_views(record))))
    app.test_client().get("/assets/7", environ_base=CLIENT, headers={"User-Agent": "curl/8.16.0"})
    [span], [sent] = kept.spans, kept.logs
    trace_id, span_id = f"{span.trace_id:032x}", f"{span.span_id:016x}"
    fields = {
        "otel.event.name": "otel_forge.request",
        "http.request.method": "GET",
        "http.route": "/assets/<int:id>",
        "http.response.status_code": 200,
        "http.server.request.duration": 0.012346,
        "http.response.body.size": 4,
        "client.address": "203.0.113.0",
        "otel_forge.user_agent.class": "tool",
    }
    as_json, console = lines
    assert json.loads(as_json) == {
        "timestamp": "2026-11-23T00:00:00.500000Z",
        "level": "INFO",
        "context": "otel_forge.request",
        "message": "GET /assets/<int:id> 200 12 ms",
        "data": fields,
        "trace_id": trace_id,
        "span_id": span_id,
        "service": "shop",
    }
    assert console == (
        "2026-11-23T00:00:00.500000Z INFO  otel_forge.request GET /assets/<int:id> 200 12 ms   "
        "otel.event.name=otel_forge.request http.request.method=GET http.route=/assets/<int:id> "
        "http.response.status_code=200 http.server.request.duration=0.012346 http.response.body.size=4 "
        f"client.address=203.0.113.0 otel_forge.user_agent.class=tool trace_id={trace_id}"
    )
    assert (sent.body, sent.severity_text, sent.event_name) == (
        "GET /assets/<int:id> 200 12 ms", "INFO", "otel_forge.request",
    )  # fmt: skip
    assert {"otel.event.name": sent.event_name, **sent.attributes} == fields
    assert (sent.trace_id, sent.span_id) == (span.trace_id, span.span_id)


def _in_views(record: logging.LogRecord) -> list[str]:
    record.created = 1795392000.5
    describe = Describer("shop")
    return [JsonView(describe).line(record), ConsoleView(describe, colour=False).line(record)]


@pytest.mark.gate
def test_s1_no_secret_of_a_request_is_in_its_event(client: Client, events: Events) -> None:
    """S1: of the corpus, in path, query, headers, cookies, form and user agent, nothing is left."""
    for secret in secrets():
        value = "".join(character for character in secret.value if " " <= character <= "~")
        client.get("/assets/7", query_string={secret.key or "q": value}, headers={"X-Api-Key": value, "Cookie": value})
        client.get("/assets/7", headers={"User-Agent": value, "Authorization": value, "X-Forwarded-For": value})
        client.post("/upload", data={secret.key or "field": value})
        client.get(f"/nowhere/{value}")
    written = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in events.records)
    assert len(events.records) == 4 * len(secrets())
    assert [secret.name for secret in secrets() if secret.needle in written] == []


@pytest.mark.gate
@pytest.mark.parametrize("text", INJECTIONS.values(), ids=INJECTIONS.keys())
def test_s3_no_client_forges_a_line(client: Client, app: Flask, events: Events, text: str) -> None:
    """S3: through user agent, path, method or address; not even where the user agent is shown as it is."""
    hostile = text.encode("utf-8", "surrogatepass").decode("latin-1")
    RequestLog(whole := build_app(), user_agent="whole")
    for target in (app, whole):
        for changed in (
            {"HTTP_USER_AGENT": hostile},
            {"PATH_INFO": f"/{hostile}"},
            {"REQUEST_METHOD": hostile},
            {"REMOTE_ADDR": hostile},
        ):
            environ = {**EnvironBuilder("/assets/7").get_environ(), **changed}
            run_wsgi_app(target.wsgi_app, environ, buffered=True)
    assert len(events.records) == 8
    for record in events.records:
        for line in _in_views(record):
            assert UNSAFE.search(line) is None and len(line.splitlines()) == 1
        assert UNSAFE.search(record.getMessage()) is None
