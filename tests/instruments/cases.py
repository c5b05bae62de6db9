"""The cases of the differential test. Imported once the instrumentations are on, as upstream's needs it."""

from __future__ import annotations

import contextlib
import logging
import socket
import sqlite3
import tempfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import flask
import requests
from opentelemetry import baggage, context, trace
from opentelemetry.instrumentation.utils import suppress_http_instrumentation, suppress_instrumentation
from werkzeug.test import Client, run_wsgi_app

from tests.instruments.traffic import case
from tests.otlp_receiver import free_port

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = TRACEPARENT[:-1] + "0"
LOG = logging.getLogger("case")
LOG.setLevel(logging.DEBUG)
logging.getLogger().addHandler(logging.NullHandler())


def is_own_metric(name: str) -> bool:
    """Return whether a metric is one of the instrumentations'."""
    return name.startswith(("http.", "db."))


tracer = trace.get_tracer("case")
app = flask.Flask("case")


@app.route("/hello/<name>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def hello(name: str) -> str:
    return name


@app.get("/status/<int:code>")
def status(code: int) -> Any:
    return "answered", code


@app.get("/abort/<int:code>")
def abort(code: int) -> Any:
    flask.abort(code)


@app.get("/fails")
def fails() -> Any:
    raise ValueError("no luck")


class HandledError(Exception):
    """An error for which the app has an answer."""


@app.errorhandler(HandledError)
def handle(error: HandledError) -> Any:
    return "handled", 500


@app.get("/handled")
def handled() -> Any:
    raise HandledError("known")


@app.get("/stream")
def stream() -> Any:
    def pieces() -> Iterator[str]:
        with tracer.start_as_current_span("in the stream"):
            LOG.info("streaming")
        yield "one"
        yield "two"

    return flask.Response(pieces())


@app.get("/broken-stream")
def broken_stream() -> Any:
    def pieces() -> Iterator[str]:
        yield "one"
        raise ConnectionError("mid-stream")

    return flask.Response(pieces())


@app.get("/nested")
def nested() -> Any:
    with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner", attributes={"depth": 2}):
        LOG.info("within %s spans", 2)
    return "nested"


@app.get("/renamed")
def renamed() -> Any:
    span = trace.get_current_span()
    span.update_name("my own name")
    span.set_attribute("own", 1)
    span.set_status(trace.Status(trace.StatusCode.OK))
    return "renamed", 500


@app.get("/baggage")
def carried() -> Any:
    return str(baggage.get_baggage("tenant"))


@app.get("/answer")
def answer() -> Any:
    return flask.Response("", headers=[("X-Answer", "a"), ("X-Answer", "b"), ("X-Secret-Answer", "c")])


@app.get("/healthz")
def healthz() -> Any:
    with tracer.start_as_current_span("in an excluded request"):
        return "fine"


@app.get("/turn")
def turn() -> Any:
    return flask.redirect("/hello/again")


@app.get("/slash/")
def slash() -> Any:
    return "slash"


@app.get("/logged")
def logged() -> Any:
    LOG.info("asset %s was read", 7, extra={"asset": 7})
    return "logged"


guarded = flask.Flask("guarded")


@guarded.before_request
def refuse() -> Any:
    return "not you", 401


@guarded.get("/hello/<name>")
def guarded_hello(name: str) -> str:
    return name


def client() -> Any:
    return app.test_client()


# -- the server ----------------------------------------------------------------------------------------------------


def _server(name: str, method: str, path: str, **options: Any) -> None:
    def run() -> None:
        with client().open(path, method=method, **options) as response:
            response.get_data()

    run.__name__ = name
    case(run)


for _method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
    _server(f"method_{_method.lower()}", _method, "/hello/you")
_server("method_lower_case", "get", "/hello/you")
_server("method_unknown", "BREW", "/hello/you")
_server("not_found", "GET", "/nope/123")
_server("not_allowed", "POST", "/fails")
for _code in (204, 304, 404, 418, 500, 503):
    _server(f"status_{_code}", "GET", f"/status/{_code}")
_server("abort_404", "GET", "/abort/404")
_server("abort_503", "GET", "/abort/503")
_server("unhandled", "GET", "/fails")
_server("handled_to_500", "GET", "/handled")
_server("stream_whole", "GET", "/stream")
_server("nested_spans", "GET", "/nested")
_server("renamed_by_the_app", "GET", "/renamed")
_server("query", "GET", "/hello/you?tone=soft&volume=3")
_server("path_not_ascii", "GET", "/hello/caf\u00e9")
_server("user_agent", "GET", "/hello/you", headers={"User-Agent": "Mozilla/5.0"})
_server("user_agent_bot", "GET", "/hello/you", headers={"User-Agent": "Googlebot/2.1"})
_server("client_address", "GET", "/hello/you", environ_overrides={"REMOTE_ADDR": "10.1.2.3", "REMOTE_PORT": "5123"})
_server("client_name", "GET", "/hello/you", environ_overrides={"REMOTE_ADDR": "10.1.2.3", "REMOTE_HOST": "kiosk"})
_server("other_host", "GET", "/hello/you", base_url="https://shop.example:8443")
_server("remote_parent", "GET", "/hello/you", headers={"traceparent": TRACEPARENT})
_server("remote_parent_with_state", "GET", "/nested", headers={"traceparent": TRACEPARENT, "tracestate": "a=1,b=2"})
_server("remote_parent_unsampled", "GET", "/logged", headers={"traceparent": UNSAMPLED})
_server("remote_parent_odd", "GET", "/hello/you", headers={"traceparent": "00-xyz-1-01"})
_server("remote_parent_zero", "GET", "/hello/you", headers={"traceparent": "00-" + "0" * 32 + TRACEPARENT[35:]})
_server("baggage_in", "GET", "/baggage", headers={"traceparent": TRACEPARENT, "baggage": "tenant=blue"})
_server("headers_captured", "GET", "/answer", headers={"X-Captured": "seen", "X-Secret-Token": "hide", "X-Other": "no"})
_server("excluded", "GET", "/healthz")
_server("redirect", "GET", "/turn")
_server("redirect_to_slash", "GET", "/slash")
_server("hook_raising", "GET", "/hello/you?raising")
_server("log_with_extra", "GET", "/logged")


@case
def stream_broken() -> None:
    body = client().open("/broken-stream")
    with contextlib.suppress(ConnectionError):
        body.get_data()
    body.close()


@case
def propagated_exception() -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = True
    try:
        with contextlib.suppress(ValueError):
            client().get("/fails")
    finally:
        app.config["PROPAGATE_EXCEPTIONS"] = None


@case
def before_request_aborts() -> None:
    guarded.test_client().get("/hello/you").close()


@case
def inside_another_span() -> None:
    with tracer.start_as_current_span("around"):
        client().get("/hello/you").close()


@case
def early_bird_aborts() -> None:
    """An app whose own before_request function stands before upstream's."""
    early = flask.Flask("early")
    early.before_request_funcs.setdefault(None, []).insert(0, lambda: ("not you", 401))
    early.add_url_rule("/hello", view_func=lambda: "hello", endpoint="hello")
    with early.test_client().get("/hello"):
        pass


@case
def no_request_uri() -> None:
    environ = client()._request_from_builder_args(("/hello/you?a=1",), {}).environ
    for name in ("RAW_URI", "REQUEST_URI"):
        environ.pop(name, None)
    for _ in run_wsgi_app(app, environ)[0]:
        pass


@case
def proxied() -> None:
    from werkzeug.middleware.proxy_fix import ProxyFix

    behind = flask.Flask("behind")
    behind.add_url_rule("/where", view_func=lambda: flask.request.url, endpoint="where")
    behind.wsgi_app = ProxyFix(behind.wsgi_app)  # type: ignore[method-assign]
    with behind.test_client().get("/where", headers={"X-Forwarded-For": "9.9.9.9", "X-Forwarded-Proto": "https"}):
        pass


@case
def middleware_around_wsgi_app() -> None:
    outer = flask.Flask("outer")
    outer.add_url_rule("/in", view_func=lambda: "in", endpoint="in")
    inner = outer.wsgi_app

    def passing_on(environ: Any, start_response: Any) -> Any:
        return inner(environ, start_response)

    outer.wsgi_app = passing_on  # type: ignore[method-assign]
    with outer.test_client().get("/in"):
        pass


@case
def app_in_an_app() -> None:
    outside, inside = flask.Flask("outside"), flask.Flask("inside")
    inside.add_url_rule("/deep", view_func=lambda: "deep", endpoint="deep")
    outside.add_url_rule("/<path:path>", view_func=lambda path: inside, endpoint="mount")
    with Client(outside).open("/deep"):
        pass


@case
def bad_server_port() -> None:
    with contextlib.suppress(ValueError):
        client().open("/hello/you", environ_overrides={"SERVER_PORT": "socket"}).close()


# -- the client ----------------------------------------------------------------------------------------------------


class _Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        code = int(self.path.partition("/status/")[2][:3] or 200)
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "/status/200")
        self.send_header("X-Answer", self.headers.get("baggage", "none"))
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.traceparents.append(self.headers.get("traceparent"))

    traceparents: list[str | None] = []
    do_POST = do_PURGE = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


_service = ThreadingHTTPServer(("127.0.0.1", 0), _Service)
Thread(target=_service.serve_forever, daemon=True).start()
_URL = f"http://127.0.0.1:{_service.server_address[1]}"
_refusing = free_port()
PORTS: list[int] = [_service.server_address[1], _refusing]
"""Ports of this run, which differ from run to run."""

session = requests.Session()
session.headers["User-Agent"] = "cases/1"


def _outgoing(name: str, path: str, method: str = "GET", **options: Any) -> None:
    def run() -> None:
        with contextlib.suppress(requests.RequestException):
            session.request(method, options.pop("url", _URL + path), timeout=5, **options)

    run.__name__ = name
    case(run)


_outgoing("client_ok", "/status/200")
_outgoing("client_404", "/status/404")
_outgoing("client_500", "/status/500")
_outgoing("client_redirect", "/status/302")
_outgoing("client_post", "/status/201", "POST", data={"a": 1})
_outgoing("client_odd_method", "/status/200", "PURGE")
_outgoing("client_lower_method", "/status/200", "get")
_outgoing("client_query", "/status/200?a=1&b=%20x")
_outgoing("client_secret_query", "/status/200?sig=abc&b=1")
_outgoing("client_credentials", "", url=_URL.replace("://", "://user:pass@") + "/status/200")
_outgoing("client_headers", "/status/200", headers={"X-Captured": "seen", "X-Secret-Key": "hide"})
_outgoing("client_excluded", "/excluded")
_outgoing("client_bad_scheme", "", url="nowhere://host/path")
_outgoing("client_no_host_name", "", url="http://does-not-exist.invalid/")


@case
def client_refused() -> None:
    with contextlib.suppress(requests.RequestException):
        session.get(f"http://127.0.0.1:{_refusing}/refused", timeout=5)


@case
def client_timeout() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        PORTS.append(silent.getsockname()[1])
        with contextlib.suppress(requests.RequestException):
            session.get(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.2)


@case
def client_inside_a_span_with_baggage() -> None:
    token = context.attach(baggage.set_baggage("tenant", "green"))
    with tracer.start_as_current_span("caller"):
        session.get(f"{_URL}/status/200", timeout=5)
    context.detach(token)


@case
def client_suppressed() -> None:
    with suppress_http_instrumentation():
        session.get(f"{_URL}/status/200", timeout=5)
    with suppress_instrumentation():
        session.get(f"{_URL}/status/200", timeout=5)


# -- the database ---------------------------------------------------------------------------------------------------

_database = Path(tempfile.mkdtemp()) / "cases.db"


@case
def sql_statements() -> None:
    connection = sqlite3.connect(_database)
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)")
    cursor.execute("INSERT INTO item VALUES (?, ?)", (1, "one"))
    cursor.executemany("INSERT INTO item VALUES (?, ?)", [(2, "two"), (3, "three")])
    assert cursor.execute("SELECT name FROM item WHERE id = ?", (2,)).fetchone() == ("two",)
    assert [row for (row,) in cursor.execute("SELECT id FROM item ORDER BY id")] == [1, 2, 3]
    cursor.execute("update item set name = 'new'")
    connection.commit()
    cursor.execute("DELETE FROM item")
    connection.rollback()
    cursor.close()
    connection.close()


@case
def sql_errors() -> None:
    cursor = sqlite3.connect(_database).cursor()
    for statement in ("SELECT * FROM nothing", "SELEC 1"):
        with contextlib.suppress(sqlite3.Error):
            cursor.execute(statement)
    with contextlib.suppress(sqlite3.Error):
        cursor.execute("SELECT ?", ())


@case
def sql_comments_and_empty() -> None:
    cursor = sqlite3.connect(":memory:").cursor()
    cursor.execute("/* why */ SELECT 1")
    cursor.execute("")
    cursor.execute("  SELECT\n2")
    cursor.execute("-- note\nSELECT 3")


@case
def sql_blank() -> None:
    sqlite3.connect(":memory:").cursor().execute("  ")


@case
def sql_inside_a_span() -> None:
    connection = sqlite3.connect(":memory:")
    with tracer.start_as_current_span("around"), connection:
        connection.cursor().execute("SELECT 1")


@case
def sql_suppressed() -> None:
    with suppress_instrumentation():
        sqlite3.connect(":memory:").cursor().execute("SELECT 1")


@case
def sql_shortcuts() -> None:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE item (id INTEGER)")
        connection.executemany("INSERT INTO item VALUES (?)", [(1,), (2,)])


@case
def sql_script() -> None:
    sqlite3.connect(":memory:").cursor().executescript("SELECT 1; SELECT 2;")


@case
def sql_function_that_logs() -> None:
    connection = sqlite3.connect(":memory:")
    connection.create_function("noted", 1, lambda value: LOG.info("called with %s", value))
    connection.cursor().execute("SELECT noted(4)")


# -- logging --------------------------------------------------------------------------------------------------------


@case
def log_levels() -> None:
    for level in (10, 13, 19, 20, 25, 30, 31, 40, 45, 50, 53, 60):
        LOG.log(level, "at a level")
    LOG.setLevel(1)
    LOG.log(5, "below debug")
    LOG.setLevel(logging.DEBUG)


@case
def log_plain_and_formatted() -> None:
    LOG.info("plain")
    LOG.info("%s and %d", "text", 3)
    LOG.info("%(name)s", {"name": "mapping"})
    LOG.info("100%")
    LOG.info({"not": "text"})
    logging.getLogger("case.child").warning("from a child")


@case
def log_extras() -> None:
    LOG.info("extras", extra={"count": 3, "ratio": 0.5, "on": True, "names": ["a", "b"], "deep": {"x": {"y": 1}}})
    LOG.info("event", extra={"otel.event.name": "sold", "event.name": "old"})
    LOG.info("none", extra={"nothing": None})


@case
def log_exceptions() -> None:
    try:
        raise ValueError("reason")
    except ValueError:
        LOG.exception("failed")
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise HandledError("outer", 2) from error
    except HandledError:
        LOG.error("chained", exc_info=True)
    LOG.error("no exception", exc_info=True)


@case
def log_inside_a_span() -> None:
    with tracer.start_as_current_span("around"):
        LOG.info("inside")
    LOG.info("outside")


@case
def log_suppressed_and_own() -> None:
    with suppress_instrumentation():
        LOG.info("suppressed")


@case
def log_bad_arguments() -> None:
    logging.raiseExceptions = False
    LOG.info("%d", "x")
    logging.raiseExceptions = True


@case
def log_not_propagating() -> None:
    private = logging.getLogger("private")
    private.propagate = False
    private.error("private")
