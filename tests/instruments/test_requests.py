"""requests: a client span for each call, whose hooks and headers can't break it."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import requests
from opentelemetry import propagate
from opentelemetry.propagators.composite import CompositePropagator

from otel_forge import guard
from otel_forge.instruments.requests import redacted
from tests.instruments.conftest import Kept, Start, attributes


class Service:
    """Answers every GET and keeps the headers."""

    def __init__(self) -> None:
        self.headers: list[Any] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.headers.append(self.headers)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"


@pytest.fixture
def service() -> Iterator[Service]:
    """A service on a free port."""
    running = Service()
    Thread(target=running.server.serve_forever, args=(0.02,), daemon=True).start()
    yield running
    running.server.shutdown()
    running.server.server_close()


def get(url: str) -> int:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=5).status_code


def test_the_service_is_told_of_the_span(start: Start, kept: Kept, service: Service) -> None:
    """By traceparent, whose ids are the client span's."""
    start("requests")
    get(service.url)
    [span] = kept.spans
    assert service.headers[0]["traceparent"] == f"00-{span.trace_id:032x}-{span.span_id:016x}-03"


def test_another_propagator_is_used_where_one_is_set(start: Start, kept: Kept, service: Service) -> None:
    """Also when it is set after the first request."""
    start("requests")
    get(service.url)
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(CompositePropagator([]))
    try:
        get(service.url)
    finally:
        propagate.set_global_textmap(before)
    assert ["traceparent" in headers for headers in service.headers] == [True, False]


def test_hooks_that_raise_cost_only_themselves(start: Start, kept: Kept, service: Service) -> None:
    """The call goes through, and its span has the right status."""
    guard.set_strict(False)

    def raising(*_: Any) -> None:
        raise RuntimeError("hook")

    start("requests", request_hook=raising, response_hook=raising)
    assert get(service.url) == 200
    assert attributes(kept.spans[0])["http.response.status_code"] == 200


def test_own_boundaries(start: Start, kept: Kept, service: Service) -> None:
    """``duration_histogram_boundaries``, as with upstream."""
    start("requests", duration_histogram_boundaries=[1, 2])
    get(service.url)
    [point] = kept.points("http.client.request.duration")
    assert point.explicit_bounds == (1.0, 2.0) and point.exemplars[0].span_id == kept.spans[0].span_id


def test_what_cannot_be_sent_is_raised_as_it_is(start: Start, kept: Kept) -> None:
    """With the class of the exception on span and measurement."""
    start("requests")
    with pytest.raises(requests.exceptions.InvalidSchema):
        get("nowhere://x")
    [point] = kept.points("http.client.request.duration")
    assert point.attributes["error.type"] == attributes(kept.spans[0])["error.type"] == "InvalidSchema"


def test_a_bad_pattern_of_excluded_urls_is_left_out(
    start: Start, kept: Kept, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said, and the good ones hold."""
    start("requests", excluded_urls="[,/quiet")
    get(service.url + "quiet")
    get(service.url + "loud")
    assert len(kept.spans) == 1
    assert "'[' is not a regular expression" in capsys.readouterr().err


def test_taking_the_instrument_off_restores_requests(start: Start, kept: Kept) -> None:
    """The very function is back."""
    before = requests.Session.send
    start("requests").uninstrument()
    assert requests.Session.send is before


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/p?a=1", "http://h/p?a=1"),
        ("http://u:p@h:80/p", "http://REDACTED:REDACTED@h:80/p"),
        ("http://h/p@q", "http://h/p@q"),
        ("http://h/?sig=1&b=2", "http://h/?sig=REDACTED&b=2"),
        ("http://h/?%73ig=1", "http://h/?sig=REDACTED"),
        ("http://h/?design=1", "http://h/?design=1"),
        ("http://u:p@[h/", "http://u:p@[h/"),
    ],
)
def test_secrets_in_urls_are_not_shown(url: str, shown: str) -> None:
    """As upstream does it; what has no secret stays letter by letter."""
    from opentelemetry.util.http import redact_url

    assert redacted(url) == shown == redact_url(url)
