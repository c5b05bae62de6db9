"""Rate limits, watched: every decision is counted once, shown and told to the client; who was limited stays unknown."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flask
import pytest
from flask import Flask
from flask_limiter import Limiter
from limits.storage import MemoryStorage
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from werkzeug.exceptions import HTTPException

from otel_forge import guard
from otel_forge.metrics.rate_limits import DECISIONS, Counters
from otel_forge.web.exceeding import Exceeding, KeyHash
from otel_forge.web.rate_limits import RateLimits
from otel_forge.web.request_log import RequestLog
from tests.instruments.conftest import attributes
from tests.web.conftest import Events, Kept, Start

BROWSER = {"Accept": "text/html,*/*;q=0.8"}
LIMIT = "5 per 15 minute"


class FailingStorage(MemoryStorage):
    """A store in memory that can be out of order, as Redis or memcached are when nobody answers."""

    STORAGE_SCHEME = ["failing"]
    is_down = False

    def incr(self, *args: Any, **kwargs: Any) -> int:
        if FailingStorage.is_down:
            raise ConnectionError("redis://:geheim@store:6379 does not answer")
        return super().incr(*args, **kwargs)

    def check(self) -> bool:
        return not FailingStorage.is_down


class Decisions:
    """What was counted."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader])
        self.counters = Counters(self._provider.get_meter("test"))

    def points(self) -> list[tuple[dict[str, Any], int]]:
        """Return attributes and value of each series."""
        data = self._reader.get_metrics_data()
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
        points = [point for metric in metrics if metric.name == DECISIONS for point in metric.data.data_points]
        return [(dict(point.attributes or {}), getattr(point, "value", 0)) for point in points]

    def by_decision(self) -> dict[str, int]:
        """Return how often each decision was made."""
        counted: Counter[str] = Counter()
        for labels, value in self.points():
            counted[labels["decision"]] += value
        return dict(counted)

    def close(self) -> None:
        self._provider.shutdown()


@pytest.fixture
def decisions() -> Iterator[Decisions]:
    """Counters of the test's own."""
    counted = Decisions()
    yield counted
    counted.close()


def key_of_client() -> str:
    """Return what clients are told apart by."""
    return flask.request.headers.get("X-User", "nobody")


def build_app(decisions: Decisions, *, limits: Any = (LIMIT,), options: Any = None, **limiter_options: Any) -> Flask:
    """Return an app whose limiter is watched."""
    app = Flask("shop")
    limiter_options.setdefault("storage_uri", "memory://")
    limiter = Limiter(key_of_client, app=app, default_limits=list(limits), **limiter_options)

    @app.get("/assets/<int:id>")
    def asset(id: int) -> str:
        return "wood"

    @app.get("/decorated")
    @limiter.limit("2 per minute")
    def decorated() -> str:
        return "decorated"

    app.extensions["limits"] = RateLimits(app, limiter, counters=decisions.counters, **(options or {}))
    return app


# -- decisions -----------------------------------------------------------------------------------------------------


def test_every_decision_is_counted_by_route_and_limit(decisions: Decisions, warnings_of_limits: Events) -> None:
    """Four of five are plain, the fifth is near the limit, the rest is too much."""
    client = build_app(decisions).test_client()
    statuses = [client.get("/assets/7").status_code for _ in range(8)]
    assert statuses == [200] * 5 + [429] * 3
    labels = {"http.route": "/assets/<int:id>", "limit": LIMIT}
    assert sorted(decisions.points(), key=str) == sorted(
        [
            ({"decision": "allowed", **labels}, 4),
            ({"decision": "near_limit", **labels}, 1),
            ({"decision": "exceeded", **labels}, 3),
        ],
        key=str,
    )


def test_each_limit_of_a_request_has_its_decision(decisions: Decisions, warnings_of_limits: Events) -> None:
    """Those of the whole app, and those of a view, though Flask-Limiter looks at them one after the other."""
    app = build_app(decisions, application_limits=["100 per hour"])
    client = app.test_client()
    for _ in range(3):
        client.get("/decorated")
    counted = {(labels["limit"], labels["decision"]): value for labels, value in decisions.points()}
    assert counted == {
        ("100 per 1 hour", "allowed"): 3,
        ("2 per 1 minute", "allowed"): 1,
        ("2 per 1 minute", "near_limit"): 1,
        ("2 per 1 minute", "exceeded"): 1,
    }


@pytest.mark.parametrize("strategy", ["fixed-window", "moving-window", "sliding-window-counter"])
def test_threads_are_counted_exactly(decisions: Decisions, warnings_of_limits: Events, strategy: str) -> None:
    """Whatever the strategy: as many decisions as requests, of each kind.

    How many are allowed is the limiter's affair: in its memory store a window's count is read after its lock is given
    back, so two requests that meet at the limit may both be refused. The moving window is exact.
    """
    app = build_app(decisions, limits=["100 per hour"], strategy=strategy)

    def ask(_: int) -> int:
        return app.test_client().get("/assets/7").status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = Counter(pool.map(ask, range(300)))
    counted = decisions.by_decision()
    assert statuses[200] + statuses[429] == 300
    assert statuses[200] == 100 or strategy != "moving-window"
    assert (counted["allowed"] + counted["near_limit"], counted["exceeded"]) == (statuses[200], statuses[429])


def test_without_asking_what_is_left_there_is_no_near_limit(decisions: Decisions, warnings_of_limits: Events) -> None:
    """One question less to the store; a limit that is exceeded is told as ever."""
    client = build_app(decisions, options={"ask_remaining": False}).test_client()
    answers = [client.get("/assets/7") for _ in range(6)]
    assert decisions.by_decision() == {"allowed": 5, "exceeded": 1}
    assert "RateLimit" in answers[-1].headers


def test_keys_are_in_no_label_and_no_log(decisions: Decisions, warnings_of_limits: Events) -> None:
    """A thousand users make three series."""
    client = build_app(decisions, limits=["1 per hour"]).test_client()
    for user in range(1000):
        for _ in range(2):
            client.get("/assets/7", headers={"X-User": f"user-{user}"})
    assert decisions.by_decision() == {"near_limit": 1000, "exceeded": 1000}
    assert len(decisions.points()) == 2
    shown = json.dumps([decisions.points(), warnings_of_limits.fields, warnings_of_limits.messages])
    assert "user-" not in shown


def test_names_of_limits_are_bounded(decisions: Decisions) -> None:
    """A limit may be computed for each request."""
    app = Flask("shop")
    limits = RateLimits(app, counters=decisions.counters)
    for number in range(300):
        limits.observe(limit=10, remaining=5, name=f"limit {number}")
    names = {labels["limit"] for labels, _ in decisions.points()}
    assert len(names) == 101 and "other" in names
    assert decisions.by_decision() == {"allowed": 300}


# -- what the client is told ---------------------------------------------------------------------------------------


def test_a_refusal_says_why_and_when_to_come_back(decisions: Decisions, warnings_of_limits: Events) -> None:
    """JSON, Retry-After and the standard headers."""
    client = build_app(decisions).test_client()
    for _ in range(5):
        assert "RateLimit" not in client.get("/assets/7").headers
    answer = client.get("/assets/7")
    seconds = int(answer.headers["Retry-After"])
    assert 0 < seconds <= 900
    assert answer.headers["RateLimit-Policy"] == f'"{LIMIT}";q=5;w=900'
    assert answer.headers["RateLimit"] == f'"{LIMIT}";r=0;t={seconds}'
    assert (answer.status_code, answer.mimetype) == (429, "application/problem+json")
    assert answer.json == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Too Many Requests",
        "status": 429,
        "detail": f"Too many requests; try again in {seconds} s.",
        "violated-policies": [LIMIT],
    }


def test_every_answer_can_tell_how_the_client_stands(decisions: Decisions) -> None:
    """If that is wanted."""
    client = build_app(decisions, options={"headers": "always"}).test_client()
    answer = client.get("/assets/7")
    assert re.fullmatch(rf'"{LIMIT}";r=4;t=\d+', answer.headers["RateLimit"])
    assert answer.headers["RateLimit-Policy"] == f'"{LIMIT}";q=5;w=900'
    assert "Retry-After" not in answer.headers


def test_a_browser_gets_a_page(decisions: Decisions, warnings_of_limits: Events) -> None:
    """As from the error boundary, whoever prefers HTML does not get JSON."""
    client = build_app(decisions, limits=["1 per hour"]).test_client()
    client.get("/assets/7")
    answer = client.get("/assets/7", headers=BROWSER)
    assert (answer.status_code, answer.mimetype) == (429, "text/html")
    assert "Retry-After" in answer.headers


def test_the_apps_own_words_stay(decisions: Decisions, warnings_of_limits: Events) -> None:
    """A handler for 429, one for all HTTP errors, a response of the limiter's: with our headers."""

    def for_429(app: Flask) -> None:
        app.register_error_handler(429, lambda error: ("mine", 429))

    def for_all(app: Flask) -> None:
        app.register_error_handler(HTTPException, lambda error: (f"mine {error.code}"[:4], error.code))

    for register in (for_429, for_all):
        app = build_app(decisions, limits=["1 per hour"])
        register(app)
        client = app.test_client()
        client.get("/assets/7")
        answer = client.get("/assets/7")
        assert (answer.status_code, answer.text) == (429, "mine")
        assert {"Retry-After", "RateLimit", "RateLimit-Policy"} <= set(answer.headers.keys())
    app = build_app(decisions, limits=["1 per hour"], on_breach=lambda limit: flask.make_response("mine", 429))
    client = app.test_client()
    client.get("/assets/7")
    assert client.get("/assets/7").text == "mine"


def test_a_handler_that_was_there_before_stays(decisions: Decisions, warnings_of_limits: Events) -> None:
    """Ours is registered only where there is none."""
    app = Flask("shop")
    app.register_error_handler(429, lambda error: ("mine", 429))
    limiter = Limiter(key_of_client, app=app, default_limits=["1 per hour"], storage_uri="memory://")
    RateLimits(app, limiter, counters=decisions.counters)
    app.add_url_rule("/", view_func=lambda: "index")
    client = app.test_client()
    assert [client.get("/").text for _ in range(2)] == ["index", "mine"]


def test_a_message_of_the_limit_is_the_detail(decisions: Decisions, warnings_of_limits: Events) -> None:
    """Flask-Limiter's `error_message`."""
    app = Flask("shop")
    limiter = Limiter(key_of_client, app=app, storage_uri="memory://")
    app.add_url_rule(
        "/", view_func=limiter.limit("1 per hour", error_message="One an hour must do.")(lambda: "index")
    )  # fmt: skip
    RateLimits(app, limiter, counters=decisions.counters)
    client = app.test_client()
    client.get("/")
    assert (client.get("/").json or {})["detail"] == "One an hour must do."


def test_a_429_of_the_view_itself_is_its_own(decisions: Decisions) -> None:
    """No limiter of ours has decided that."""
    app = build_app(decisions)
    app.add_url_rule("/busy", view_func=lambda: flask.abort(429, "later"))
    answer = app.test_client().get("/busy")
    assert (answer.status_code, answer.mimetype) == (429, "text/html")
    assert "later" in answer.text


# -- logs, spans, the request log --------------------------------------------------------------------------------------


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_who_exceeds_is_said_at_once_and_then_once_a_minute(decisions: Decisions, warnings_of_limits: Events) -> None:
    """With how many it was, by a hash of the key, which is the same each time."""
    clock = Clock()
    app = build_app(decisions, limits=["1 per hour"], options={"exceeding": Exceeding(clock)})
    client = app.test_client()

    def ask(user: str, times: int = 1) -> None:
        for _ in range(times):
            client.get("/assets/7", headers={"X-User": user})

    ask("ann", 11)
    ask("bob", 3)
    assert [fields["otel_forge.rate_limit.requests"] for fields in warnings_of_limits.fields] == [1, 1]
    assert warnings_of_limits.levels == ["WARNING"] * 2
    clock.now = 61
    ask("ann")
    said = [
        (fields["otel_forge.rate_limit.key_hash"], fields["otel_forge.rate_limit.requests"])
        for fields in warnings_of_limits.fields
    ]
    (ann, _), (bob, _) = said[:2]
    assert sorted(said[2:]) == sorted([(ann, 9), (bob, 1)])
    clock.now = 122
    app.extensions["limits"]._exceeding.flush()
    assert warnings_of_limits.last["otel_forge.rate_limit.requests"] == 1
    total = sum(fields["otel_forge.rate_limit.requests"] for fields in warnings_of_limits.fields)
    assert total == decisions.by_decision()["exceeded"] == 13
    assert re.fullmatch(
        r"rate limit 1 per 1 hour exceeded on /assets/<int:id>: 9 requests by key [0-9a-f]{12}",
        next(message for message in warnings_of_limits.messages if "9 requests" in message),
    )


def test_a_flood_of_keys_is_no_flood_of_lines(decisions: Decisions, warnings_of_limits: Events) -> None:
    """Beyond so many keys the rest is said together; no request is lost from the counts."""
    clock = Clock()
    exceeding = Exceeding(clock, most=10)
    app = build_app(decisions, limits=["1 per hour"], options={"exceeding": exceeding})
    client = app.test_client()
    for user in range(100):
        for _ in range(2):
            client.get("/assets/7", headers={"X-User": str(user)})
    assert len(warnings_of_limits.records) == 11
    assert warnings_of_limits.last["otel_forge.rate_limit.key_hash"] == "others"
    exceeding.flush()
    assert sum(fields["otel_forge.rate_limit.requests"] for fields in warnings_of_limits.fields) == 100


def test_a_hash_is_the_same_with_the_same_secret_and_tells_nothing_without() -> None:
    """By default the secret is a random one of the process."""
    assert KeyHash("secret")("ann") == KeyHash("secret")("ann") != KeyHash("other")("ann")
    assert KeyHash()("ann") != KeyHash()("ann")
    assert re.fullmatch(r"[0-9a-f]{12}", KeyHash()("\udcff"))


def test_span_and_request_log_show_the_tightest_limit(
    decisions: Decisions, start: Start, kept: Kept, events: Events, warnings_of_limits: Events
) -> None:
    """Of two that allow the request, that of which the smaller part is left."""
    start("flask", kept.core())
    app = build_app(decisions, limits=["100 per hour", "3 per minute"])
    RequestLog(app)
    client = app.test_client()
    for _ in range(4):
        client.get("/assets/7")
    shown = [
        {name.removeprefix("otel_forge.rate_limit."): value for name, value in fields.items() if "rate_limit" in name}
        for fields in events.fields
    ]
    assert shown == [
        {"decision": "allowed", "limit": 3, "remaining": 2},
        {"decision": "allowed", "limit": 3, "remaining": 1},
        {"decision": "near_limit", "limit": 3, "remaining": 0},
        {"decision": "exceeded", "limit": 3, "remaining": 0},
    ]
    on_spans = [attributes(span) for span in kept.spans]
    assert [span["otel_forge.rate_limit.decision"] for span in on_spans] == [one["decision"] for one in shown]
    assert [span["otel_forge.rate_limit.remaining"] for span in on_spans] == [one["remaining"] for one in shown]


# -- a store that fails --------------------------------------------------------------------------------------------


@pytest.fixture
def store() -> Iterator[type[FailingStorage]]:
    """The store that can be out of order; it works when the test is over."""
    yield FailingStorage
    FailingStorage.is_down = False


@pytest.mark.parametrize(
    ("options", "mode", "statuses"),
    [
        ({"swallow_errors": True}, "fail_open", [200, 200, 200]),
        ({}, "fail_closed", [500, 500, 500]),
        ({"in_memory_fallback_enabled": True}, "fallback", [200, 200, 200]),
    ],
)
def test_a_store_that_fails_is_counted_and_said_once(
    decisions: Decisions,
    warnings_of_limits: Events,
    store: type[FailingStorage],
    options: dict[str, Any],
    mode: str,
    statuses: list[int],
) -> None:
    """And what the limiter makes of it; its end is said, too."""
    app = build_app(decisions, storage_uri="failing://", **options)
    client = app.test_client()
    assert client.get("/assets/7").status_code == 200
    store.is_down = True
    assert [client.get("/assets/7").status_code for _ in range(3)] == statuses
    [fields] = warnings_of_limits.fields
    assert warnings_of_limits.levels == ["ERROR"]
    assert (fields["otel_forge.rate_limit.mode"], fields["error.type"]) == (mode, "ConnectionError")
    assert "geheim" not in str(warnings_of_limits.records[0].__dict__)
    assert decisions.by_decision()["store_failing"] == (1 if mode == "fallback" else 3)
    if mode != "fallback":
        store.is_down = False
        assert client.get("/assets/7").status_code == 200
        assert warnings_of_limits.messages[1:] == ["the store of the rate limiter works again"]


def test_an_exception_that_leaves_the_app_is_fail_closed(
    decisions: Decisions, warnings_of_limits: Events, store: type[FailingStorage]
) -> None:
    """In debug nobody answers."""
    app = build_app(decisions, storage_uri="failing://")
    app.config["PROPAGATE_EXCEPTIONS"] = True
    store.is_down = True
    with pytest.raises(ConnectionError):
        app.test_client().get("/assets/7")
    assert warnings_of_limits.last["otel_forge.rate_limit.mode"] == "fail_closed"
    assert decisions.by_decision() == {"store_failing": 1}


# -- any other limiter ---------------------------------------------------------------------------------------------


def test_another_limiter_says_what_it_decides(decisions: Decisions, events: Events, warnings_of_limits: Events) -> None:
    """By `observe`: counted, shown and told like those of Flask-Limiter."""
    app = Flask("shop")
    limits = RateLimits(app, counters=decisions.counters)
    RequestLog(app)

    @app.get("/<int:left>")
    def index(left: int) -> Any:
        if left:
            limits.observe(limit=10, remaining=left, reset=30.2, window=60, key="ann", name="mine")
            return "index"
        limits.observe(limit=10, remaining=0, reset=30.2, window=60, decision="exceeded", key="ann", name="mine")
        return "slow down", 429

    client = app.test_client()
    client.get("/9")
    client.get("/1")
    answer = client.get("/0")
    assert decisions.by_decision() == {"allowed": 1, "near_limit": 1, "exceeded": 1}
    assert answer.text == "slow down"
    assert answer.headers["RateLimit"] == '"mine";r=0;t=31'
    assert answer.headers["RateLimit-Policy"] == '"mine";q=10;w=60'
    assert answer.headers["Retry-After"] == "31"
    assert events.last["otel_forge.rate_limit.decision"] == "exceeded"
    assert len(warnings_of_limits.records) == 1


def test_outside_a_request_a_decision_is_counted(decisions: Decisions) -> None:
    """Without a route."""
    RateLimits(counters=decisions.counters).observe(limit=10, remaining=9)
    assert decisions.points() == [({"decision": "allowed", "limit": "default"}, 1)]


def test_a_decision_that_there_is_not_is_said_and_not_counted(
    decisions: Decisions, capfd: pytest.CaptureFixture[str]
) -> None:
    """It raises nothing into the request."""
    RateLimits(counters=decisions.counters).observe(decision="perhaps")  # type: ignore[arg-type]
    assert decisions.points() == []
    allowed = "allowed, near_limit, exceeded, store_failing"
    assert f"decision='perhaps' of a rate limit is not one of {allowed}" in capfd.readouterr().err


def test_a_header_is_a_structured_field_whatever_the_name(decisions: Decisions) -> None:
    """Names are quoted, and what is not printable ASCII does not get into a header."""
    app = Flask("shop")
    limits = RateLimits(app, counters=decisions.counters, headers="always")

    @app.get("/")
    def index() -> str:
        limits.observe(limit=9, remaining=8, name='a "b\\c\r\nX: ü')
        return "index"

    assert app.test_client().get("/").headers["RateLimit"] == r'"a \"b\\c??X: ?";r=8'


def test_a_watch_that_fails_limits_as_ever(decisions: Decisions, warnings_of_limits: Events) -> None:
    """The decision stands, noted or not."""
    guard.set_strict(False)
    app = build_app(decisions, limits=["2 per hour"])
    app.extensions["limits"]._counters = object()
    client = app.test_client()
    assert [client.get("/assets/7").status_code for _ in range(3)] == [200, 200, 429]


def test_watching_twice_is_an_error(decisions: Decisions) -> None:
    """Every decision would be counted twice."""
    app = build_app(decisions)
    with pytest.raises(ValueError, match="The rate limits of 'shop' are watched already"):
        RateLimits(app)
    with pytest.raises(ValueError, match="headers='never' is not one of exceeded, always"):
        RateLimits(headers="never")  # type: ignore[arg-type]


def test_a_limiter_may_be_switched_off_or_initialised_later(decisions: Decisions, warnings_of_limits: Events) -> None:
    """The watch begins when there is something to watch."""
    app = Flask("shop")
    app.add_url_rule("/", view_func=lambda: "index")
    limiter = Limiter(key_of_client, default_limits=["1 per hour"], storage_uri="memory://")
    RateLimits(app, limiter, counters=decisions.counters)
    limiter.init_app(app)
    client = app.test_client()
    assert [client.get("/").status_code for _ in range(2)] == [200, 429]
    off = Flask("off")
    off.add_url_rule("/", view_func=lambda: "index")
    RateLimits(off, Limiter(key_of_client, app=off, enabled=False), counters=decisions.counters)
    assert off.test_client().get("/").status_code == 200
    assert decisions.by_decision() == {"near_limit": 1, "exceeded": 1}
