"""`Forge`: one line installs the parts, each of which can be left out or brought along."""

from __future__ import annotations

import flask
import pytest
from flask import Flask
from flask_limiter import Limiter

from otel_forge import Forge, RequestLog
from otel_forge.metrics import traffic
from otel_forge.web.rate_limits import RateLimits
from tests.web.conftest import Events


def build_app() -> Flask:
    """Return an app with a view that works and one that fails."""
    app = Flask("shop")
    app.add_url_rule("/", view_func=lambda: "index")
    app.add_url_rule("/fail", endpoint="fail", view_func=lambda: str(1 / 0))
    return app


def test_one_line_is_enough(events: Events) -> None:
    """Health, request log and error boundary; probes are no requests."""
    app = build_app()
    Forge(app)
    client = app.test_client()
    assert client.get("/live").status_code == 200
    assert client.get("/").text == "index"
    assert client.get("/fail").mimetype == "application/problem+json"
    assert [message.rsplit(" ", 2)[0] for message in events.messages] == ["GET / 200", "GET /fail 500"]


def test_parts_can_be_left_out(events: Events) -> None:
    """Requests are counted all the same, for the alert rules."""
    app = build_app()
    Forge(app, health=False, request_log=False, error_boundary=False)
    before = traffic.window(900)
    client = app.test_client()
    assert client.get("/startup-of-nobody").status_code == 404
    assert client.get("/fail").mimetype == "text/html"
    after = traffic.window(900)
    assert (after.requests - before.requests, after.errors - before.errors) == (2, 1)
    assert events.records == []


def test_parts_can_be_brought_along(events: Events) -> None:
    """With options of one's own, and later than the app."""
    app = build_app()
    limiter = Limiter(
        lambda: flask.request.remote_addr or "", app=app, default_limits=["1 per hour"], storage_uri="memory://"
    )
    Forge(request_log=RequestLog(incoming=True), rate_limits=limiter).init_app(app)
    client = app.test_client()
    assert [client.get("/").status_code for _ in range(2)] == [200, 429]
    assert events.messages[0] == "GET / started"
    assert events.last["otel_forge.rate_limit.decision"] == "exceeded"
    other = build_app()
    Forge(other, rate_limits=RateLimits())
    assert other.test_client().get("/").status_code == 200


def test_twice_is_an_error() -> None:
    """It names the app."""
    app = build_app()
    Forge(app)
    with pytest.raises(ValueError, match="The app 'shop' has a Forge already"):
        Forge(app)
