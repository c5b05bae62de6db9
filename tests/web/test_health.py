"""The health routes of a Flask app: status codes, shapes, who sees what, and what a probe leaves behind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from opentelemetry.sdk.resources import Resource
from werkzeug.test import TestResponse

from otel_forge import health
from otel_forge.health import draining, paths
from otel_forge.health.results import WARN, Result
from otel_forge.instruments import build_instrument
from otel_forge.instruments.core import Core
from otel_forge.sdk.bound import BoundMetrics
from otel_forge.sdk.logger import LeanLoggerProvider
from otel_forge.sdk.tracer import LeanTracerProvider
from otel_forge.settings import HealthSettings
from otel_forge.web.health import HEALTH_JSON, HealthRoutes
from tests.health.build import build_checks, end_all, wait_for

PATHS = ("/live", "/ready", "/startup", "/api/health")
TOKEN = "let-me-see"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


class Shop:
    """An app with two dependencies whose state we choose; `answers` is what their checks return or raise."""

    def __init__(self, **options: Any) -> None:
        self.checks = build_checks(HealthSettings(interval=0.01, timeout=5, fall=1, rise=1))
        self.answers: dict[str, Any] = {"database": True, "imageServer": True}
        self.checks.check("database", lambda: self._answer("database"), component_type="datastore")
        self.checks.check("imageServer", lambda: self._answer("imageServer"), required=False)
        self.app = Flask("shop")
        self.requests: list[str] = []
        self.app.before_request(lambda: self.requests.append(request.path))
        self.app.add_url_rule("/api/assets", view_func=lambda: "assets", endpoint="assets")
        self.routes = HealthRoutes(self.app, checks=self.checks, **{"token": TOKEN, **options})
        self.client: FlaskClient = self.app.test_client()

    def _answer(self, name: str) -> Any:
        answer = self.answers[name]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def be(self, status: str, **answers: Any) -> None:
        """Let the dependencies answer so, and wait until that is known."""
        self.answers |= answers
        self.checks.start()
        wait_for(lambda: self._is_known() and self.checks.status() == status)

    def _is_known(self) -> bool:
        """Return whether each dependency has answered; before that the status is "fail", too."""
        return all(known.result is not None for _, known in self.checks.known().values())

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.client.get(path, headers=headers)

    def codes(self) -> list[int]:
        """Return the status codes of the four probes."""
        return [self.get(path).status_code for path in PATHS]


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """No test leaves the process draining, checks under way, or paths that make no spans."""
    yield
    draining.resume()
    end_all()
    paths.PROBES.clear()


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_before_the_first_results_it_lives_and_is_not_ready(shop: Shop) -> None:
    """Nothing is known yet, and a probe waits for nothing."""
    shop.checks.start = lambda may_begin=None: None  # type: ignore[method-assign]
    assert shop.codes() == [200, 503, 503, 503]
    assert shop.get("/ready").json == {
        "status": "fail",
        "checks": {"database": "starting", "imageServer": "starting"},
        "reason": "starting",
    }
    assert shop.get("/live").json == {"status": "pass"}


def test_the_first_probe_begins_the_checks(shop: Shop) -> None:
    """So does the first request of any other kind."""
    for path in ("/live", "/api/assets"):
        fresh = Shop()
        assert not fresh.checks.background.is_started
        fresh.get(path)
        assert fresh.checks.background.is_started
        wait_for(lambda fresh=fresh: fresh.codes() == [200, 200, 200, 200])


def test_all_is_well(shop: Shop) -> None:
    """And each probe says so in JSON, for no cache to keep."""
    shop.be("pass")
    assert shop.codes() == [200, 200, 200, 200]
    answer = shop.get("/ready")
    assert answer.json == {"status": "pass", "checks": {"database": "pass", "imageServer": "pass"}}
    assert (answer.mimetype, answer.headers["Cache-Control"]) == ("application/json", "no-store")
    assert "Retry-After" not in answer.headers


@pytest.mark.gate
def test_a_required_dependency_down_is_not_ready_and_an_optional_one_is_degraded(shop: Shop) -> None:
    """H1: liveness asks nobody; an optional one is visible and takes nothing out of a load balancer."""
    shop.be("pass")
    shop.be("warn", imageServer=False)
    assert shop.codes() == [200, 200, 200, 503]
    assert shop.get("/ready").json == {"status": "warn", "checks": {"database": "pass", "imageServer": "fail"}}
    shop.be("fail", database=ConnectionError("no route to host"))
    assert shop.codes() == [200, 503, 200, 503]
    answer = shop.get("/ready")
    assert answer.json == {"status": "fail", "checks": {"database": "fail", "imageServer": "fail"}}
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.gate
def test_the_report_has_the_shape_of_the_handbook(shop: Shop) -> None:
    """H1: status, timestamp, uptime in seconds, memory in megabytes, services; 503 unless all are true."""
    shop.be("pass")
    answer = shop.get("/api/health")
    told: Any = answer.json
    assert (answer.status_code, list(told)) == (200, ["status", "timestamp", "uptime", "memory", "services"])
    assert (told["status"], told["services"]) == ("healthy", {"database": True, "imageServer": True})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["timestamp"])
    assert 0 <= told["uptime"] < 600
    assert list(told["memory"]) == ["used", "total", "rss"]
    assert 1 < told["memory"]["rss"] < told["memory"]["total"] and 0 < told["memory"]["used"] < told["memory"]["total"]
    shop.be("warn", imageServer=False)
    answer = shop.get("/api/health")
    told = answer.json
    assert (answer.status_code, told["status"]) == (503, "degraded")
    assert told["services"] == {"database": True, "imageServer": False}


def test_a_warning_is_visible_and_healthy(shop: Shop) -> None:
    """The disk fills: look at it, and serve."""
    shop.be("warn", database=Result(WARN, "83 % of the space is used", 83.1, "percent"))
    assert shop.codes() == [200, 200, 200, 200]
    told: Any = shop.get("/api/health", Accept=HEALTH_JSON).json
    [check] = told["checks"]["database:utilization"]
    assert (check["status"], check["observedValue"], check["observedUnit"]) == ("warn", 83.1, "percent")


def test_health_json_for_those_who_ask_for_it(shop: Shop) -> None:
    """Draft-inadarei-api-health-check-06: an optional dependency down is a warning and 200, a required one is 503."""
    shop.be("warn", imageServer=False)
    answer = shop.get("/api/health", Accept=HEALTH_JSON)
    told: Any = answer.json
    assert (answer.status_code, answer.mimetype, told["status"]) == (200, HEALTH_JSON, "warn")
    assert list(told["checks"]) == ["database:responseTime", "imageServer:responseTime"]
    [database], [images] = told["checks"].values()
    assert list(database) == ["componentType", "observedValue", "observedUnit", "status", "time"]
    assert (database["componentType"], database["observedUnit"], database["status"]) == ("datastore", "ms", "pass")
    assert (images["componentType"], images["status"]) == ("component", "fail")
    shop.be("fail", database=False)
    assert shop.get("/api/health", Accept=HEALTH_JSON).status_code == 503
    assert {shop.get(path, Accept=HEALTH_JSON).mimetype for path in PATHS} == {HEALTH_JSON}


@pytest.mark.parametrize(
    ("accept", "mimetype"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/health+json, */*;q=0.1", HEALTH_JSON),
        ("application/health+json;q=0.5, application/json", "application/json"),
        ("application/health+json;q=0", "application/json"),
        ("text/html, application/health+json;q=oops", "application/json"),
    ],
)
def test_which_form_is_served(shop: Shop, accept: str, mimetype: str) -> None:
    """Only who names the form gets it."""
    shop.be("pass")
    answer = shop.get("/api/health", Accept=accept)
    assert (answer.status_code, answer.mimetype) == (200, mimetype)


def test_startup_stays_passed(shop: Shop) -> None:
    """Once everything required has been there, what falls ill later is a matter of readiness."""
    shop.be("pass")
    shop.be("fail", database=False)
    assert shop.get("/startup").status_code == 200


def test_draining_is_not_ready_and_lives(shop: Shop) -> None:
    """The reason that the application gives is for those who hold the token."""
    shop.be("pass")
    health.drain("release 17 of 10.0.0.7")
    assert shop.codes() == [200, 503, 200, 200]
    answer = shop.get("/ready")
    assert (answer.json or {})["reason"] == "draining" and "release 17" not in answer.text
    assert (shop.get("/ready", **AUTHORIZED).json or {})["output"] == "release 17 of 10.0.0.7"


def test_details_are_for_those_who_hold_the_token(shop: Shop) -> None:
    """Everybody else learns that something failed, and not what."""
    shop.be("fail", database=ConnectionError("db7.internal refused"))
    for path in PATHS:
        for headers in ({}, {"Accept": HEALTH_JSON}):
            for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
                told = shop.get(path, **headers, **wrong).text
                assert "db7" not in told and "ConnectionError" not in told
    told_to_us: Any = shop.get("/ready", **AUTHORIZED).json
    database = told_to_us["checks"]["database"]
    assert (database["reason"], database["output"]) == ("ConnectionError", "db7.internal refused")
    assert "db7" in shop.get("/api/health", **AUTHORIZED).text
    assert "db7" in shop.get("/api/health", Accept=HEALTH_JSON, **AUTHORIZED).text


def test_without_a_token_nobody_sees_details() -> None:
    """An empty one is none."""
    shop = Shop(token="")
    shop.be("fail", database=ConnectionError("db7.internal refused"))
    for header in ("Bearer ", "Bearer", "bearer  ", ""):
        assert "db7" not in shop.get("/ready", Authorization=header).text


@pytest.mark.parametrize("path", PATHS)
def test_head_and_other_methods(shop: Shop, path: str) -> None:
    """HEAD is GET without a body; nothing else is a probe."""
    shop.be("pass")
    head, whole = shop.client.head(path), shop.get(path)
    assert (head.status_code, head.data) == (200, b"")
    assert abs(int(head.headers["Content-Length"]) - len(whole.data)) < 8  # times differ in length
    refused = shop.client.post(path)
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD")


def test_probes_do_not_reach_the_app(shop: Shop) -> None:
    """None of its functions before requests can fail or hang them."""
    shop.be("pass")
    shop.codes()
    assert shop.requests == []
    assert shop.get("/api/assets").text == "assets" and shop.requests == ["/api/assets"]


def test_paths_can_be_others_or_none() -> None:
    """A path that is not taken is the app's."""
    shop = Shop(live="/healthz", ready=None, startup=None, report=None)
    assert shop.get("/healthz").status_code == 200
    assert [shop.get(path).status_code for path in PATHS] == [404] * 4
    assert paths.is_probe("/healthz") and not paths.is_probe("/api/assets")
    for wrong in ({"live": "live"}, {"live": "/x", "ready": "/x"}):
        with pytest.raises(ValueError, match="slash|same path"):
            HealthRoutes(Flask("x"), **wrong)  # type: ignore[arg-type]


def test_an_app_can_be_given_later(shop: Shop) -> None:
    """As with any extension."""
    app = Flask("later")
    HealthRoutes(checks=shop.checks).init_app(app)
    assert app.test_client().get("/live").status_code == 200
    assert "otel_forge.health" in app.extensions


def test_the_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none is given, with the other settings."""
    monkeypatch.setenv("OTEL_FORGE_HEALTH_TOKEN", "of-the-environment")
    checks = build_checks(None)
    app = Flask("x")
    HealthRoutes(app, checks=checks)
    told: Any = app.test_client().get("/live", headers={"Authorization": "Bearer of-the-environment"}).json
    assert {"pid", "uptime"} <= set(told)


def test_a_process_whose_background_is_stuck_is_dead(shop: Shop) -> None:
    """The one thing for which liveness fails."""
    shop.be("pass")
    shop.checks.background.is_lost = lambda: True  # type: ignore[method-assign]
    answer = shop.get("/live")
    assert (answer.status_code, answer.json) == (503, {"status": "fail"})
    shop.checks.stop()


def test_probes_make_no_spans_and_are_counted(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other request makes one; so do probes that are to be traced."""
    counted: list[tuple[str, int]] = []
    monkeypatch.setattr(
        "otel_forge.web.health.Probes",
        lambda: type("Counter", (), {"count": lambda self, *what: counted.append(what)})(),
    )
    kept: list[Any] = []
    resource = Resource({})
    instrument = build_instrument("flask")
    instrument.instrument(
        Core(LeanTracerProvider(kept.append, resource), LeanLoggerProvider(None, resource), BoundMetrics())
    )
    try:
        shop.be("warn", imageServer=False)
        shop.codes()
        assert kept == []
        shop.get("/api/assets")
        assert [span.name for span in kept] == ["GET /api/assets"]
        Shop(live="/traced", ready=None, startup=None, report=None, traced=True).get("/traced")
        assert [span.name for span in kept[1:]] == ["GET"]
    finally:
        instrument.uninstrument()
    assert counted == [("live", 200), ("ready", 200), ("startup", 200), ("health", 503), ("live", 200)]


def test_a_defect_of_ours_ends_no_process(shop: Shop) -> None:
    """Liveness stays, readiness doesn't know."""
    from otel_forge import guard

    shop.be("pass")
    shop.checks.start = None  # type: ignore[method-assign,assignment]
    guard.set_strict(False)
    assert shop.codes() == [200, 503, 503, 503]
