"""The error boundary of a Flask app: what the user gets, what is recorded, and what stays the app's own business."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, abort
from flask.typing import ResponseReturnValue
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import format_trace_id
from werkzeug.exceptions import HTTPException, InternalServerError

from otel_forge.errortracking import capture_error
from otel_forge.instruments import build_instrument
from otel_forge.instruments.core import Core
from otel_forge.logs.context import bind_context, context_fields, log_context
from otel_forge.sdk.bound import BoundMetrics
from otel_forge.sdk.current import attach, context_with, current_context, detach
from otel_forge.sdk.logger import LeanLoggerProvider
from otel_forge.sdk.tracer import LeanTracerProvider
from otel_forge.web.boundary import ErrorBoundary, Incident

SECRET = "password=hunter2 <script>alert(1)</script>"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


class Refused(Exception):
    """An error that the app handles itself."""


def build_app(**options: Any) -> Flask:
    app = Flask("shop")

    def fail() -> ResponseReturnValue:
        raise RuntimeError(SECRET)

    def captured() -> ResponseReturnValue:
        try:
            raise RuntimeError(SECRET)
        except RuntimeError as error:
            capture_error(error, component="Shop")
            raise

    def refuse() -> ResponseReturnValue:
        raise Refused

    def stream() -> Response:
        def pieces() -> Iterator[str]:
            yield "first"
            raise RuntimeError(SECRET)

        return Response(pieces())

    for view in (fail, captured, refuse, stream):
        app.add_url_rule(f"/{view.__name__}", view_func=view)
    app.add_url_rule("/abort/<int:code>", endpoint="abort", view_func=lambda code: abort(code))
    app.register_error_handler(Refused, lambda error: ("refused", 422))
    ErrorBoundary(app, **options)
    return app


@pytest.fixture
def spans() -> Iterator[list[Any]]:
    """The spans that the Flask instrument makes."""
    kept: list[Any] = []
    resource = Resource({})
    instrument = build_instrument("flask")
    instrument.instrument(
        Core(LeanTracerProvider(kept.append, resource), LeanLoggerProvider(None, resource), BoundMetrics())
    )
    yield kept
    instrument.uninstrument()


def test_a_browser_gets_a_page_without_the_stack(spans: list[Any]) -> None:
    """It shows the trace id and nothing of the exception."""
    answer = build_app().test_client().get("/fail", headers={"Accept": BROWSER})
    [span] = spans
    assert (answer.status_code, answer.mimetype) == (500, "text/html")
    assert format_trace_id(span.trace_id) in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    for word in ("hunter2", "RuntimeError", "Traceback", "script"):
        assert word not in answer.text


@pytest.mark.parametrize("accept", ["application/json", "application/problem+json", "*/*", "", "image/png"])
def test_others_get_a_problem(spans: list[Any], accept: str) -> None:
    """As RFC 9457 has it: whoever does not prefer HTML gets problem+json."""
    answer = build_app().test_client().get("/fail", headers={"Accept": accept})
    assert (answer.status_code, answer.mimetype) == (500, "application/problem+json")
    assert answer.json == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "The request could not be completed because of an error on our side.",
        "incident_id": format_trace_id(spans[0].trace_id),
    }


def test_without_a_trace_the_incident_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A number of the same form, in the one record that has the traceback, in whatever format."""
    answer = build_app().test_client().get("/fail?card=1", headers={"Accept": BROWSER})
    [record] = caplog.records
    [incident] = re.findall(r"<code>([0-9a-f]{32})</code>", answer.text)
    assert record.getMessage() == f"Exception on /fail [GET] (incident {incident})"
    assert (record.name, record.levelno, record.exc_info is not None) == ("shop", logging.ERROR, True)


def test_each_incident_has_a_number_of_its_own() -> None:
    """Also within one context of the app."""
    app = build_app()
    with app.app_context():
        answers = [app.test_client().get("/fail").json for _ in range(2)]
    assert len({answer["incident_id"] for answer in answers if answer}) == 2


def test_an_incident_whose_error_was_logged_before_has_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """It names the error; it is no error itself, which would be a second one in Sentry."""
    answer = build_app().test_client().get("/captured")
    first, second = caplog.records
    assert (first.name, first.getMessage()) == ("Shop", f"RuntimeError: {SECRET}")
    assert answer.json is not None
    assert second.getMessage() == f"Incident {answer.json['incident_id']} is about RuntimeError: {SECRET}"
    assert (second.name, second.levelno, second.exc_info) == ("shop", logging.WARNING, None)


def test_an_app_that_logs_errors_in_its_own_way_goes_on_so(caplog: pytest.LogCaptureFixture) -> None:
    """The incident is a line beside its own."""

    class Own(Flask):
        def log_exception(self, exc_info: Any) -> None:
            self.logger.critical("own: %s", exc_info[1])

    app = Own("own")
    app.add_url_rule("/fail", view_func=build_app().view_functions["fail"])
    ErrorBoundary(app)
    answer = app.test_client().get("/fail")
    assert answer.json is not None
    assert [record.getMessage() for record in caplog.records] == [
        f"own: {SECRET}",
        f"Incident {answer.json['incident_id']} is about RuntimeError: {SECRET}",
    ]


def test_with_a_trace_flask_logs_as_ever(spans: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    """The trace id is on the record."""
    build_app().test_client().get("/fail")
    assert [record.getMessage() for record in caplog.records] == ["Exception on /fail [GET]"]


@pytest.mark.parametrize("is_instrumented", [False, True])
def test_what_a_request_binds_is_gone_with_it(request: pytest.FixtureRequest, is_instrumented: bool) -> None:
    """With our instrument and without, also when the request fails; what was bound before it stays."""
    if is_instrumented:
        request.getfixturevalue("spans")
    app = build_app()
    seen: list[Any] = []

    @app.get("/bind/<name>")
    def bind(name: str) -> ResponseReturnValue:
        seen.append(context_fields().get("user"))
        bind_context(user=name)
        seen.append(context_fields()["user"])
        if name == "bob":
            raise LookupError(name)
        return "done"

    with log_context(worker=1):
        for name in ("ann", "bob", "eve"):
            app.test_client().get(f"/bind/{name}")
            assert dict(context_fields()) == {"worker": 1}
    assert seen == [None, "ann", None, "bob", None, "eve"]


def test_with_our_instrument_a_stream_has_what_its_request_bound(spans: list[Any]) -> None:
    """The boundary leaves that to it; without it the fields end as the view returns."""
    app = build_app()

    @app.get("/stream-bound")
    def stream_bound() -> Response:
        bind_context(user="ann")
        return Response(str(context_fields().get("user")) for _ in range(1))

    assert app.test_client().get("/stream-bound").text == "ann"


@pytest.mark.parametrize("path", ["/fail", "/captured"])
def test_the_error_is_once_in_the_span_and_once_in_the_log(
    spans: list[Any], caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """Whether or not the app captured it before it let it go."""
    build_app().test_client().get(path)
    [span] = spans
    assert [event.name for event in span.events] == ["exception"]
    assert (span.status_code, span.status_description) == (2, f"RuntimeError: {SECRET}")
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]


def test_without_our_flask_instrument_the_boundary_marks_the_span() -> None:
    """Under another instrumentation, which does not see handled exceptions, the current span gets the event once."""
    kept: list[Any] = []
    tracer = LeanTracerProvider(kept.append, Resource({})).get_tracer("other")
    token = attach(context_with(span := tracer.start_span("request"), current_context()))
    try:
        build_app().test_client().get("/fail")
    finally:
        detach(token)
        span.end()
    assert ([event.name for event in kept[0].events], kept[0].status_code) == (["exception"], 2)


def test_the_apps_own_handlers_and_http_errors_are_as_ever() -> None:
    """A handled exception, an abort and a missing page never reach the boundary; nor does abort(500)."""
    client = build_app().test_client()
    answers = [client.get(path) for path in ("/refuse", "/abort/403", "/nowhere", "/abort/500")]
    assert [answer.status_code for answer in answers] == [422, 403, 404, 500]
    assert answers[0].text == "refused"
    assert all("<!doctype html>" in answer.text and "incident" not in answer.text for answer in answers[1:])


@pytest.mark.parametrize("first", [True, False])
def test_the_apps_own_handler_of_500_wins(first: bool) -> None:
    """Whether it was registered before the boundary or after it."""
    app = Flask("own")

    @app.get("/fail")
    def fail() -> ResponseReturnValue:
        raise RuntimeError(SECRET)

    def handler(error: InternalServerError) -> ResponseReturnValue:
        return "own", 500

    steps: list[Callable[[], object]] = [lambda: app.register_error_handler(500, handler), lambda: ErrorBoundary(app)]
    for step in steps if first else steps[::-1]:
        step()
    assert app.test_client().get("/fail").text == "own"


def test_a_handler_of_all_http_errors_leaves_unhandled_ones_to_the_boundary() -> None:
    """It is less specific than one for status 500; that of a blueprint is more specific."""
    app = build_app()
    app.register_error_handler(HTTPException, lambda error: ("any", error.code or 500))
    shop = Blueprint("shop", __name__)
    shop.add_url_rule("/shop", view_func=app.view_functions["fail"], endpoint="fail")
    shop.register_error_handler(500, lambda error: ("of the shop", 500))
    app.register_blueprint(shop)
    client = app.test_client()
    assert client.get("/nowhere").text == "any"
    assert client.get("/fail").mimetype == "application/problem+json"
    assert client.get("/shop").text == "of the shop"


@pytest.mark.parametrize("config", [{"TESTING": True}, {"PROPAGATE_EXCEPTIONS": True}, {"DEBUG": True}])
def test_in_debug_and_tests_errors_propagate(config: dict[str, bool]) -> None:
    """Developers see the debugger, tests the exception itself."""
    app = build_app()
    app.config.update(config)
    with pytest.raises(RuntimeError, match="hunter2"):
        app.test_client().get("/fail")


def test_an_error_in_mid_stream_ends_the_stream(spans: list[Any]) -> None:
    """The headers are gone, so no page is glued to what was sent; the span has it once."""
    answer = build_app().test_client().get("/stream", buffered=False)
    pieces = iter(answer.response)
    assert (answer.status_code, next(pieces)) == (200, b"first")
    with pytest.raises(RuntimeError):
        next(pieces)
    answer.close()
    [span] = spans
    assert ([event.name for event in span.events], span.status_code) == (["exception"], 2)


def test_a_fallback_makes_the_answer() -> None:
    """It sees the incident; without a status of its own the answer is a 500."""
    seen: list[Incident] = []

    def fallback(incident: Incident) -> ResponseReturnValue:
        seen.append(incident)
        return {"sorry": incident.id}

    answer = build_app(fallback=fallback).test_client().get("/fail", headers={"Accept": BROWSER})
    assert (answer.status_code, answer.json) == (500, {"sorry": seen[0].id})
    assert (str(seen[0].error), seen[0].wants_html) == (SECRET, True)
    own = build_app(fallback=lambda incident: ("busy", 503)).test_client().get("/fail")
    assert (own.status_code, own.text) == (503, "busy")


def test_a_fallback_that_raises_gives_way_to_the_default(caplog: pytest.LogCaptureFixture) -> None:
    """Or that returns nothing; its own error is captured."""

    def fallback(incident: Incident) -> ResponseReturnValue:
        raise LookupError("no template")

    for broken in (fallback, lambda incident: None):
        answer = build_app(fallback=broken).test_client().get("/fail")
        assert (answer.status_code, answer.mimetype) == (500, "application/problem+json")
    names = [record.name for record in caplog.records]
    assert names == ["shop", "error_boundary", "shop", "error_boundary"]


def test_the_page_shows_nothing_of_the_request() -> None:
    """Whatever its path and query say."""
    app = build_app()

    @app.get("/x/<path:rest>")
    def fail_too(rest: str) -> ResponseReturnValue:
        raise LookupError(rest)

    answer = app.test_client().get("/x/<script>alert(1)</script>?<b>", headers={"Accept": BROWSER})
    assert answer.status_code == 500 and "<script>" not in answer.text and "<b>" not in answer.text
