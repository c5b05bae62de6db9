"""Flask: one server span from the WSGI entry to the last byte, whatever the application does."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response, abort, jsonify, send_file  # before any instrument starts, as a user would
from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.instrumentation.propagators import TraceResponsePropagator, set_global_response_propagator
from opentelemetry.instrumentation.sqlcommenter_utils import _add_sql_comment
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import create_environ
from werkzeug.wsgi import ClosingIterator

from otel_forge import guard
from tests.instruments.conftest import Kept, Start, attributes

MADE_EARLY = Flask("early")
MADE_EARLY.add_url_rule("/hello/<name>", view_func=lambda name: name, endpoint="hello")


def fail() -> str:
    raise ZeroDivisionError


def build_app() -> Flask:
    app = Flask("case")
    app.add_url_rule("/hello/<name>", view_func=lambda name: name, endpoint="hello")
    return app


def serve(app: Any, path: str = "/hello/you", **environ: Any) -> tuple[str, Any]:
    """Call the app as a server does, without reading the body; return status and body."""
    answered: list[str] = []
    body = app({**create_environ(path), **environ}, lambda status, headers, info=None: answered.append(status))
    return answered[0] if answered else "", body


def test_an_app_made_before_instrumenting_is_seen(start: Start, kept: Kept) -> None:
    """The class is patched, so neither the order of imports nor that of construction matters."""
    start("flask")
    MADE_EARLY.test_client().get("/hello/you")
    assert kept.names == ["GET /hello/<name>"]


def test_an_app_that_is_served_by_its_wsgi_app_is_seen(start: Start, kept: Kept) -> None:
    """As in ``application = Middleware(app.wsgi_app)``; also where middleware was put in before."""
    start("flask")
    plain: Any = build_app().wsgi_app
    wrapped = build_app()
    wrapped.wsgi_app = ProxyFix(wrapped.wsgi_app)  # type: ignore[method-assign]
    for application in (plain, wrapped.wsgi_app, wrapped):
        serve(application)
    assert kept.names == ["GET /hello/<name>"] * 3


def test_a_status_without_a_reason_is_read(start: Start, kept: Kept) -> None:
    """And one that is no number is an error that says so, as upstream has it."""
    start("flask")

    def answering(status: str) -> Any:
        return lambda environ, start_response: start_response(status, []) or [b""]

    for status in ("204", "fine thanks"):
        app = build_app()
        app.wsgi_app = answering(status)  # type: ignore[method-assign]
        serve(app)
    first, second = kept.spans
    assert attributes(first)["http.response.status_code"] == 204 and first.status_code == 0
    assert (attributes(second)["error.type"], second.status_code) == ("fine", 2)
    assert second.status_description == "Non-integer HTTP status: fine"


def test_the_span_of_an_answer_in_memory_ends_with_the_call(start: Start, kept: Kept) -> None:
    """And the server gets the very body that the app returned."""
    start("flask")
    app = build_app()
    app.add_url_rule("/json", view_func=lambda: jsonify(a=1), endpoint="json")
    for path in ("/hello/you", "/json"):
        serve(app, path)
    assert kept.names == ["GET /hello/<name>", "GET /json"]
    assert trace.get_current_span() is trace.INVALID_SPAN


def refusing_app(wrap: Any = lambda body: body) -> Flask:
    app = Flask("refusing")
    app.add_url_rule("/refuse", view_func=lambda: abort(403), endpoint="refuse")
    inner: Any = app.wsgi_app
    setattr(app, "wsgi_app", lambda environ, respond: wrap(inner(environ, respond)))  # noqa: B010
    return app


def test_the_body_of_an_http_exception_needs_no_watching(start: Start, kept: Kept) -> None:
    """All of it is in memory, though Flask has made it by calling the exception as an application."""
    start("flask")
    _, body = serve(refusing_app(), "/refuse")
    assert type(body) is ClosingIterator and kept.names == ["GET /refuse"]
    assert b"Forbidden" in b"".join(body)


def test_such_a_body_behind_a_generator_is_watched(start: Start, kept: Kept) -> None:
    """A middleware's code runs while it is sent."""
    start("flask")
    wrapped = refusing_app(lambda body: ClosingIterator((piece for piece in body), body.close))
    _, body = serve(wrapped, "/refuse")
    assert kept.names == []
    assert b"Forbidden" in b"".join(body)
    body.close()
    assert kept.names == ["GET /refuse"]


def streaming_app(pieces: Any) -> Flask:
    app = Flask("stream")
    app.add_url_rule("/stream", view_func=lambda: Response(pieces()), endpoint="stream")
    return app


def test_a_stream_belongs_to_the_request(start: Start, kept: Kept) -> None:
    """The span is current while pieces are made, not between them, and ends after the last."""
    start("flask")
    seen: list[Any] = []

    def pieces() -> Iterator[str]:
        for piece in ("one", "two"):
            seen.append(trace.get_current_span())
            yield piece

    _, body = serve(streaming_app(pieces), "/stream")
    assert kept.spans == [] and next(body) == b"one"
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert list(body) == [b"two"]
    assert seen == [kept.spans[0], kept.spans[0]]
    body.close()
    assert len(kept.spans) == 1


def test_a_span_opened_in_a_generator_stays_the_parent_across_pieces(start: Start, kept: Kept) -> None:
    """The generator keeps its own view of the context, and the server keeps its."""
    core = kept.core()
    start("flask", core)
    tracer = core.tracer_provider.get_tracer("case")

    def pieces() -> Iterator[str]:
        with tracer.start_as_current_span("whole"):
            for piece in ("one", "two"):
                with tracer.start_as_current_span(piece):
                    pass
                yield piece

    _, body = serve(streaming_app(pieces), "/stream")
    list(body)
    body.close()
    whole = next(span for span in kept.spans if span.name == "whole")
    assert [span.parent_span_id for span in kept.spans if span.name in ("one", "two")] == [whole.span_id] * 2
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_client_that_goes_away_ends_the_span(start: Start, kept: Kept) -> None:
    """The server closes the body in the middle; that is no error."""
    start("flask")
    _, body = serve(streaming_app(lambda: iter(("one", "two"))), "/stream")
    next(body)
    body.close()
    assert kept.names == ["GET /stream"] and kept.spans[0].status_code == 0


def test_a_body_that_nobody_closes_ends_its_span_when_it_is_collected(start: Start, kept: Kept) -> None:
    """A server that forgets costs no span."""
    start("flask")
    _, body = serve(streaming_app(lambda: iter(("one", "two"))), "/stream")
    next(body)
    del body
    gc.collect()
    assert kept.names == ["GET /stream"]


def test_what_runs_when_the_response_is_closed_belongs_to_the_request(start: Start, kept: Kept) -> None:
    """``call_on_close`` callbacks see the span, and it ends after them."""
    start("flask")
    seen: list[Any] = []
    app = Flask("closing")

    def view() -> Response:
        response = Response("done")
        response.call_on_close(lambda: seen.append((trace.get_current_span(), len(kept.spans))))
        return response

    app.add_url_rule("/", view_func=view)
    _, body = serve(app, "/")
    list(body)
    body.close()
    assert seen == [(kept.spans[0], 0)]


def test_a_file_stays_what_the_server_can_send_by_itself(start: Start, kept: Kept, tmp_path: Any) -> None:
    """An instance of the server's file wrapper is not wrapped again; its close ends the span."""
    start("flask")
    (tmp_path / "file.txt").write_text("content")

    class FileWrapper:
        def __init__(self, file: Any, size: int = 0) -> None:
            self.file = file
            self.close = file.close

    app = Flask("file")
    app.add_url_rule("/", view_func=lambda: send_file(tmp_path / "file.txt"))
    _, body = serve(app, "/", **{"wsgi.file_wrapper": FileWrapper})
    assert isinstance(body, FileWrapper) and kept.spans == []
    body.close()
    assert body.file.closed and kept.names == ["GET /"]


def test_middleware_is_inside_the_span(start: Start, kept: Kept) -> None:
    """The span opens at the WSGI entry, so what middleware logs or refuses belongs to the request."""
    start("flask")
    app = build_app()
    seen: list[Any] = []

    def refusing(environ: Any, start_response: Any) -> Any:
        seen.append(trace.get_current_span())
        start_response("403 Forbidden", [])
        return [b"no"]

    app.wsgi_app = refusing  # type: ignore[method-assign]
    serve(app)
    assert seen == kept.spans and kept.names == ["GET"]
    assert attributes(kept.spans[0])["http.response.status_code"] == 403


def test_a_middleware_that_copies_the_environ_does_not_hide_the_route(start: Start, kept: Kept) -> None:
    """The route is then taken from Flask's own request."""
    start("flask")
    app = build_app()
    inner = app.wsgi_app
    app.wsgi_app = lambda environ, start_response: inner(dict(environ), start_response)  # type: ignore[method-assign]
    serve(app)
    assert kept.names == ["GET /hello/<name>"]


class Watching(Sampler):
    """Samples nothing and keeps what it was asked."""

    def __init__(self, decision: Decision) -> None:
        self.asked: list[Any] = []
        self._decision = decision

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, kind: Any = None, attributes: Any = None, *_: Any
    ) -> SamplingResult:
        self.asked.append((name, kind, dict(attributes)))
        return SamplingResult(self._decision, attributes)

    def get_description(self) -> str:
        return "watching"


@pytest.mark.parametrize("decision", [Decision.DROP, Decision.RECORD_AND_SAMPLE])
def test_a_sampler_of_others_sees_the_request(start: Start, kept: Kept, decision: Decision) -> None:
    """Name is the method; the attributes are those known at the entry. The rest is there at the end."""
    sampler = Watching(decision)
    start("flask", kept.core(sampler=sampler))
    serve(build_app())
    [(name, kind, asked)] = sampler.asked
    assert (name, kind, asked["url.path"]) == ("GET", SpanKind.SERVER, "/hello/you")
    assert kept.names == (["GET /hello/<name>"] if decision is Decision.RECORD_AND_SAMPLE else [])
    assert [point.count for point in kept.points("http.server.request.duration")] == [1]


def test_a_processor_of_others_is_told(start: Start, kept: Kept) -> None:
    """It sees the start with attributes, and a readable span at the end."""
    core = kept.core()
    ended: list[Any] = []
    started: list[Any] = []

    class Told(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            started.append(dict(span.attributes))

        def on_end(self, span: Any) -> None:
            ended.append(span)

    core.tracer_provider.add_span_processor(Told())
    start("flask", core)
    serve(build_app())
    assert started[0]["http.request.method"] == "GET"
    assert ended[0].name == "GET /hello/<name>" and ended[0].attributes["http.route"] == "/hello/<name>"


def test_hooks_that_raise_cost_only_themselves(start: Start, kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """The request is answered, and each hook is said once."""
    guard.set_strict(False)

    def raising(*arguments: Any) -> None:
        raise RuntimeError("hook")

    start("flask", request_hook=raising, response_hook=raising)
    assert [serve(build_app())[0] for _ in range(2)] == ["200 OK"] * 2
    assert kept.names == ["GET /hello/<name>"] * 2
    assert "hook for Flask failed" in capsys.readouterr().err


def test_the_request_hook_runs_inside_the_request(start: Start, kept: Kept) -> None:
    """As with upstream it may use ``flask.request``, and the app's own before_request functions come after it."""
    import flask

    order: list[str] = []
    start("flask", request_hook=lambda span, environ: order.append(f"hook {flask.request.endpoint}"))
    app = build_app()
    app.before_request(lambda: order.append("app"))
    serve(app)
    assert order == ["hook hello", "app"]


def test_the_name_that_the_application_gave_stays(start: Start, kept: Kept) -> None:
    """So do its attributes and a status of OK."""
    start("flask")
    app = Flask("own")

    def view() -> Any:
        span = trace.get_current_span()
        span.update_name("mine")
        span.set_attribute("http.route", "mine")
        span.set_status(trace.StatusCode.OK)
        return "", 500

    app.add_url_rule("/", view_func=view)
    serve(app, "/")
    [span] = kept.spans
    assert (span.name, attributes(span)["http.route"], span.status_code) == ("mine", "mine", 1)


def test_many_hosts_do_not_fill_the_memory(start: Start, kept: Kept) -> None:
    """The Host header is the client's: the table of kinds is bounded, and attributes are right beyond it."""
    instrument: Any = start("flask")
    app = build_app()
    for number in range(2100):
        serve(app, HTTP_HOST=f"host-{number}")
    assert len(instrument.kinds) <= 2048
    assert [attributes(span)["server.address"] for span in kept.spans] == [f"host-{n}" for n in range(2100)]
    assert {attributes(span)["http.route"] for span in kept.spans} == {"/hello/<name>"}
    [point] = kept.points("http.server.request.duration")
    assert point.count == 2100


def test_active_requests_return_to_zero(start: Start, kept: Kept) -> None:
    """Whatever happens to a request."""
    start("flask")
    app = build_app()
    app.add_url_rule("/bad", view_func=fail)
    for path in ("/hello/you", "/bad", "/nowhere"):
        getattr(serve(app, path)[1], "close", lambda: None)()
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(ZeroDivisionError):
        serve(app, "/bad")
    [point] = kept.points("http.server.active_requests")
    assert point.value == 0


def test_tracebacks_hold_no_frame_of_ours(start: Start, kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    """What the application logs of an exception is what it would log without us."""
    start("flask")
    app = build_app()
    app.add_url_rule("/bad", view_func=fail)
    serve(app, "/bad")[1].close()
    assert "ZeroDivisionError" in caplog.text and "otel_forge" not in caplog.text


def test_log_record_and_span_share_the_summary_of_an_exception(start: Start, kept: Kept) -> None:
    """It is made and formatted once, and nothing of it is kept after the request."""
    from otel_forge.instruments import spans

    core = kept.core()
    start("flask", core)
    start("logging", core)
    app = build_app()
    app.add_url_rule("/bad", view_func=fail)
    serve(app, "/bad")[1].close()
    [log], [(_, _, event)] = kept.logs, kept.spans[0].events
    assert log.attributes["exception.stacktrace"] is event["exception.stacktrace"]
    assert spans._expected == {}


def test_a_finished_request_leaves_nothing_in_the_environ(start: Start, kept: Kept) -> None:
    """So the environ refers to no span or exception, and the same environ may be served again."""
    start("flask")
    app = build_app()
    app.add_url_rule("/bad", view_func=fail)
    environ = create_environ("/bad")
    for _ in range(2):
        body: Any = app(environ, lambda *_: lambda data: None)
        body.close()
    assert not [key for key in environ if key.startswith("otel_forge")]
    assert kept.names == ["GET /bad"] * 2


def test_response_propagators_of_upstream_serve(start: Start, kept: Kept) -> None:
    """The client is told of the trace where somebody has set one."""
    start("flask")
    set_propagator: Any = set_global_response_propagator
    set_propagator(TraceResponsePropagator())
    try:
        answer = build_app().test_client().get("/hello/you")
    finally:
        set_propagator(None)
    assert answer.headers["traceresponse"] == f"00-{kept.spans[0].trace_id:032x}-{kept.spans[0].span_id:016x}-03"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "controller='hello',framework='flask%%3A"),
        ({"commenter_options": {"framework": False, "route": False}}, "/*controller='hello'*/"),
        ({"enable_commenter": False}, "SELECT 1"),
    ],
)
def test_sql_comments_can_name_the_route(start: Start, kept: Kept, options: dict[str, Any], expected: str) -> None:
    """An instrumentation that writes SQL comments finds framework, controller and route in the context."""
    start("flask", **options)
    comments: list[Any] = []
    app = Flask("comments")

    def hello() -> str:
        comments.append(_add_sql_comment("SELECT 1"))
        return ""

    app.add_url_rule("/", view_func=hello)
    serve(app, "/")
    assert expected in comments[0]
    assert _add_sql_comment("SELECT 1") == "SELECT 1"


def test_taking_the_instrument_off_restores_flask(start: Start, kept: Kept) -> None:
    """No patch stays, and nothing is recorded."""
    before = dict(vars(Flask))
    start("flask", request_hook=lambda *_: None).uninstrument()
    serve(build_app())
    assert dict(vars(Flask)) == before and kept.spans == []


def test_the_context_of_the_server_thread_is_left_as_it_was(start: Start, kept: Kept) -> None:
    """Even when the application leaks an attached context."""
    start("flask")
    app = Flask("leaky")
    app.add_url_rule("/", view_func=lambda: str(context_api.attach(context_api.set_value("leak", 1)))[:1])
    serve(app, "/")
    assert context_api.get_value("leak") is None
