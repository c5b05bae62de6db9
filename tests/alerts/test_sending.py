"""A5: real requests to services that refuse, stall and come back; secrets are in no log and no reason."""

from __future__ import annotations

import hmac
import logging
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from email.utils import formatdate
from threading import Event, Thread
from time import time
from typing import Any

import pytest
import requests
from opentelemetry import trace
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_forge import guard
from otel_forge.alerts.alert import Alert
from otel_forge.alerts.events import LOGGER
from otel_forge.alerts.notifiers.pagerduty import PagerDuty
from otel_forge.alerts.notifiers.slack import Slack
from otel_forge.alerts.notifiers.webhook import DELIVERY, SIGNATURE, Webhook, signature
from otel_forge.alerts.sending import Later, Notifier, Patience, Refused, deliver
from otel_forge.alerts.telling import DELIVERED, DROPPED, FAILED, MOST_WAITING, Telling
from tests.alerts import receivers
from tests.alerts.receivers import ROUTING_KEY, SLACK_PATH, Receiver
from tests.alerts.samples import CASES
from tests.delivery.scripted import eventually
from tests.otlp_receiver import free_port

pytestmark = pytest.mark.gate

QUICK = Patience(attempt=5.0, total=20.0, first_pause=0.01, longest_pause=0.05)
FIRING, RESOLVED = CASES["firing"], CASES["resolved"]
SIGNING = "a-signing-" + "secret"
MAKERS: dict[str, tuple[Callable[[], AbstractContextManager[Receiver]], Callable[[str], Notifier]]] = {
    "slack": (receivers.slack, Slack),
    "pagerduty": (receivers.pagerduty, lambda url: PagerDuty(ROUTING_KEY, url)),
    "webhook": (receivers.webhook, lambda url: Webhook(url, SIGNING)),
}


@pytest.fixture(params=MAKERS)
def service(request: pytest.FixtureRequest) -> Iterator[tuple[Notifier, Receiver]]:
    """Each notifier with its service at the wire."""
    listen, make = MAKERS[request.param]
    with listen() as receiver:
        yield make(receiver.url), receiver


class Pauses:
    """Notes how long is paused, and pauses no longer than a moment."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return True


def test_an_alert_and_its_end_arrive(service: tuple[Notifier, Receiver]) -> None:
    """A5: in the form that the service takes."""
    notifier, receiver = service
    assert deliver(notifier, FIRING, QUICK) == deliver(notifier, RESOLVED, QUICK) == ""
    assert len(receiver.received.taken) == 2
    assert receiver.received.problems == []


@pytest.mark.parametrize("case", ["hostile", "50"])
def test_hostile_alerts_and_many_of_them_are_taken(service: tuple[Notifier, Receiver], case: str) -> None:
    """A5: the service finds nothing wrong."""
    notifier, receiver = service
    assert deliver(notifier, CASES[case], QUICK) == ""
    assert receiver.received.problems == []


@pytest.mark.parametrize("failure", [500, 502, 503, 408, "close"])
def test_what_is_down_for_a_moment_is_tried_again(service: tuple[Notifier, Receiver], failure: Any) -> None:
    """A5: with pauses that grow, and delivered once."""
    notifier, receiver = service
    receiver.script = [failure, failure, failure]
    pauses = Pauses()
    assert deliver(notifier, FIRING, QUICK, pause=pauses) == ""
    assert len(receiver.received.taken) == 1
    assert [low <= pause <= 2 * low for low, pause in zip((0.005, 0.01, 0.02), pauses.seconds, strict=True)] == [
        True
    ] * 3


@pytest.mark.parametrize(("header", "least", "most"), [("7", 7, 7), ("", 5, 9), ("soon", 0.0, 0.05)])
def test_retry_after_is_heeded(service: tuple[Notifier, Receiver], header: str, least: float, most: float) -> None:
    """A5: seconds or a date, here the empty one; what is neither is a pause of our own."""
    header = header or formatdate(time() + 9, usegmt=True)
    notifier, receiver = service
    receiver.script = [(429, {"Retry-After": header}, "")]
    pauses = Pauses()
    assert deliver(notifier, FIRING, QUICK, pause=pauses) == ""
    assert len(pauses.seconds) == 1 and least <= pauses.seconds[0] <= most


def test_who_says_at_once_is_not_asked_at_once(service: tuple[Notifier, Receiver]) -> None:
    """A5: Retry-After: 0 is no leave to ask a thousand times a second."""
    notifier, receiver = service
    receiver.script = [(429, {"Retry-After": "0"}, "")] * 2
    pauses = Pauses()
    assert deliver(notifier, FIRING, QUICK, pause=pauses) == ""
    assert [low <= pause for low, pause in zip((0.005, 0.01), pauses.seconds, strict=True)] == [True, True]


@pytest.fixture
def closing() -> Iterator[int]:
    """The port of a service that closes each connection in the midst of the handshake."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def close_all() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connection.recv(65536)
                    connection.close()

        thread = Thread(target=close_all, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_tls_that_breaks_is_tried_again(closing: int) -> None:
    """A5: a load balancer that restarts is no wrong setting."""
    reason = deliver(Webhook(f"https://127.0.0.1:{closing}/hooks"), FIRING, Patience(2.0, 0.5, 0.01, 0.01))
    assert re.fullmatch(r"no TLS connection could be made, \d+ times", reason)


def test_a_wait_beyond_all_patience_is_not_begun(service: tuple[Notifier, Receiver]) -> None:
    """A5: nobody holds a queue up for an hour."""
    notifier, receiver = service
    receiver.script = [(429, {"Retry-After": "3600"}, "")]
    pauses = Pauses()
    assert deliver(notifier, FIRING, QUICK, pause=pauses) == "HTTP 429"
    assert pauses.seconds == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 302])
def test_what_will_never_be_taken_is_tried_once(service: tuple[Notifier, Receiver], status: int) -> None:
    """A redirect, too: it could lead anywhere."""
    notifier, receiver = service
    receiver.script = [(status, {"Location": "http://127.0.0.1:9/"}, "no")]
    reason = deliver(notifier, FIRING, QUICK)
    assert reason.startswith(f"HTTP {status}")
    assert receiver.received.statuses == [status]


def test_a_service_that_hangs_is_given_up_in_time(service: tuple[Notifier, Receiver]) -> None:
    """A5: each attempt has a timeout, all of them together have one."""
    notifier, receiver = service
    receiver.script = ["hang"] * 10
    assert deliver(notifier, FIRING, Patience(0.1, 0.5, 0.01, 0.01)).startswith("no answer in time")
    assert 2 <= len(receiver.received.statuses) <= 10


def test_nobody_listens(service: tuple[Notifier, Receiver]) -> None:
    """A5: said in words, without the address."""
    _, make = MAKERS[service[0].name]
    notifier = make(f"http://127.0.0.1:{free_port()}{SLACK_PATH}")
    assert deliver(notifier, FIRING, Patience(1.0, 0.05, 0.01, 0.01)).startswith("connection refused")


def test_the_services_own_words_are_in_the_reason() -> None:
    """Slack's one word, PagerDuty's errors; the key is never among them."""
    with receivers.slack() as slack:
        assert deliver(Slack(slack.url[:-1] + "y"), FIRING, QUICK) == "HTTP 404, no_service"
    with receivers.pagerduty() as pagerduty:
        reason = deliver(PagerDuty("short", pagerduty.url), FIRING, QUICK)
        assert reason.endswith(
            "Event object is invalid; Length of 'routing_key' is incorrect (should be 32 characters)"
        )
        pagerduty.script = [(400, {}, f'{{"message": "no such key {ROUTING_KEY}", "errors": []}}')]
        assert deliver(PagerDuty(ROUTING_KEY, pagerduty.url), FIRING, QUICK) == "HTTP 400, no such key …"


def test_a_webhook_can_be_verified() -> None:
    """As docs/alerts.md shows; each try is signed anew and has the same delivery id."""
    with receivers.webhook() as receiver:
        assert deliver(Webhook(receiver.url, SIGNING, wall=lambda: 1234.5), FIRING, QUICK) == ""
        [headers], [body] = receiver.received.headers, receiver.received.bodies
    signed = headers[SIGNATURE.lower()]
    assert signed == signature(SIGNING.encode(), 1234, body)
    digest = hmac.new(SIGNING.encode(), b"1234." + body, "sha256").hexdigest()
    assert signed == f"t=1234,v1={digest}"
    assert re.fullmatch("[0-9a-f]{32}", headers[DELIVERY.lower()])


def test_500_alerts_are_several_requests_to_a_webhook() -> None:
    """Each says which part it is."""
    with receivers.webhook() as receiver:
        assert deliver(Webhook(receiver.url), CASES["500"], QUICK) == ""
        parts = [(part["part"], part["parts"], len(part["alerts"])) for part in receiver.received.taken]
        assert SIGNATURE.lower() not in receiver.received.headers[0]
    assert parts == [(number, 5, 100) for number in range(1, 6)]


SCRIPTS: list[list[Any]] = [[], [500], [404], ["close"], [(302, {"Location": "/x"}, "")]]


@pytest.mark.parametrize("script", SCRIPTS, ids=repr)
def test_no_secret_is_in_a_log_or_a_reason(
    service: tuple[Notifier, Receiver],
    script: list[Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """S1: neither urllib3 at DEBUG nor an exception of requests prints the address."""
    notifier, receiver = service
    receiver.script = list(script)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("urllib3.connectionpool").debug("the application's own")
        reason = deliver(notifier, FIRING, Patience(2.0, 0.3, 0.01, 0.01))
        requests.get(receiver.url, timeout=5)
    path = receiver.url.split("/", 3)[3]
    said = [record.getMessage() for record in caplog.records if "GET" not in record.getMessage()]
    everything = "\n".join([*said, reason, notifier.place, repr(notifier), *capfd.readouterr()])
    assert [secret for secret in (path, ROUTING_KEY, SIGNING) if secret in everything] == []
    assert "the application's own" in everything
    assert any("GET" in record.getMessage() for record in caplog.records), (
        "the application's requests are logged as ever"
    )


def test_telling_makes_no_telemetry(service: tuple[Notifier, Receiver]) -> None:
    """No span of ours in the middle of the night; the application's own requests have theirs."""
    notifier, receiver = service
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = RequestsInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        assert deliver(notifier, FIRING, QUICK) == ""
        assert exporter.get_finished_spans() == ()
        requests.get(receiver.url, timeout=5)
        assert len(exporter.get_finished_spans()) == 1
    finally:
        instrumentor.uninstrument()
    assert trace.get_current_span() is trace.INVALID_SPAN


class Scripted:
    """A notifier that does what the test says."""

    def __init__(self, name: str, *, held: Event | None = None, error: Exception | None = None) -> None:
        self.name = self.place = name
        self.sent: list[list[str]] = []
        self._held = held
        self._error = error

    def messages(self, alerts: Sequence[Alert]) -> Sequence[list[str]]:
        return [[alert.name for alert in alerts]]

    def send(self, message: list[str], timeout: float) -> None:
        if self._held is not None:
            self._held.wait(20)
        if self._error is not None:
            raise self._error
        self.sent.append(message)


class Counted(list[tuple[str, str, int]]):
    """What was counted."""

    def __call__(self, *counted: Any) -> None:
        self.append(counted)


def alert(number: int = 0, severity: str = "low") -> Alert:
    return Alert(f"Queue {number}", severity)


def test_one_that_fails_does_not_delay_another(caplog: pytest.LogCaptureFixture) -> None:
    """Each notifier has a thread of its own; what it could not deliver is logged by its name and counted."""
    held, counted = Event(), Counted()
    stuck, broken = Scripted("stuck", held=held), Scripted("broken", error=Refused("HTTP 404"))
    well = Scripted("well")
    telling = Telling([(stuck, "low"), (broken, "low"), (well, "low")], patience=QUICK, count=counted)
    for number in range(3):
        telling.tell([alert(number)], lambda *_: None)
    eventually(lambda: len(well.sent) == 3 and len(counted) == 6)
    assert stuck.sent == []
    held.set()
    assert telling.wait(10)
    assert well.sent == stuck.sent == [["Queue 0"], ["Queue 1"], ["Queue 2"]]
    assert counted.count(("broken", FAILED, 1)) == counted.count(("well", DELIVERED, 1)) == 3
    assert "broken could not be told of Queue 0: HTTP 404" in caplog.text


def test_a_log_that_cannot_be_written_keeps_nobody_from_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter of the application may raise."""
    monkeypatch.setattr(guard, "_strict", False)

    def broken(record: logging.LogRecord) -> bool:
        raise ZeroDivisionError

    logger = logging.getLogger(LOGGER)
    logger.addFilter(broken)
    heard, counted, well = Counted(), Counted(), Scripted("well")
    try:
        refused = Scripted("broken", error=Refused("HTTP 404"))
        telling = Telling([(refused, "low"), (well, "low")], patience=QUICK, count=counted)
        telling.trouble("Queue", "it cannot be evaluated")
        telling.recovered("Queue")
        telling.tell([alert()], lambda name, _: heard(name, "", 1))
        assert telling.wait(10)
    finally:
        logger.removeFilter(broken)
    assert well.sent == [["Queue 0"]]
    assert sorted(name for name, _, _ in heard) == ["broken", "well"]
    assert sorted(counted) == [("broken", FAILED, 1), ("well", DELIVERED, 1)]


def test_each_notifier_gets_the_severities_that_it_takes() -> None:
    """PagerDuty from high on, by default; `delivered` hears of each."""
    pager, chat, heard = Scripted("pager"), Scripted("chat"), Counted()
    telling = Telling([(pager, "high"), (chat, "low")], patience=QUICK)
    severities = ("low", "medium", "high", "critical")
    telling.tell(
        [alert(number, severity) for number, severity in enumerate(severities)], lambda name, _: heard(name, "", 1)
    )
    assert telling.wait(10)
    assert pager.sent == [["Queue 2", "Queue 3"]]
    assert chat.sent == [["Queue 0", "Queue 1", "Queue 2", "Queue 3"]]
    assert sorted(name for name, _, _ in heard) == ["chat"] * 4 + ["pager"] * 2
    assert [telling.takers(alert(0, severity)) for severity in ("medium", "high")] == [("chat",), ("pager", "chat")]


def test_a_queue_takes_so_many_and_no_more() -> None:
    """What comes while a service is down for long is logged and counted; nothing grows without end."""
    held, counted = Event(), Counted()
    stuck = Scripted("stuck", held=held)
    telling = Telling([(stuck, "low")], patience=QUICK, count=counted)
    for number in range(MOST_WAITING + 20):
        telling.tell([alert(number)], lambda *_: None)
    dropped = counted.count(("stuck", DROPPED, 1))
    assert 19 <= dropped <= 20
    held.set()
    assert telling.wait(20)
    assert len(stuck.sent) + dropped == MOST_WAITING + 20


def test_who_closes_does_not_wait_for_another_try() -> None:
    """And what was not delivered is not said to be: whoever leads next owes it."""
    heard = Counted()
    telling = Telling([(Scripted("down", error=Later("HTTP 503", 60.0)), "low")], patience=Patience())
    telling.tell([alert(1)], heard)
    telling.tell([alert(2)], heard)
    assert not telling.wait(0.2)
    telling.close()
    assert telling.wait(10)
    assert heard == []


def test_a_defect_of_a_notifier_is_a_failure_by_its_kind() -> None:
    """Its text may hold anything, so it is not said."""
    broken = Scripted("broken", error=ZeroDivisionError("secret"))
    assert deliver(broken, [alert()], QUICK) == "it could not be sent (ZeroDivisionError)"
    nothing: Any = [None]
    assert deliver(broken, nothing, QUICK) == "the message could not be made (AttributeError)"


def test_an_address_that_is_none_is_refused() -> None:
    """At once."""
    assert deliver(Webhook("http://.example.com/hooks"), FIRING, QUICK) == "the address cannot be used"
