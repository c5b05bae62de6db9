"""Sentry at the wire: a Flask app under otel-forge, the real sentry-sdk, and an ingest that reads its envelopes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otel_forge.settings import Settings
from tests.errortracking.conftest import ROOT, Shop, answers, pinned
from tests.errortracking.ingest import SentryIngest
from tests.errortracking.shop import PASSWORD
from tests.otlp_receiver import OtlpReceiver, attributes, refused_url

ALL_PATHS = ("/captured", "/reraised", "/unhandled", "/logged", "/own-loggers", "/network", "/outgoing")
PRODUCTION = {"APP_ENV": "production"}


def server_spans(receiver: OtlpReceiver) -> dict[str, Any]:
    """Return the server spans that arrived, by path."""
    spans = [span for span in receiver.received.spans() if span.kind == 2]
    return {attributes(span.attributes)["url.path"]: span for span in spans}


def by_words(ingest: SentryIngest) -> dict[str, list[Any]]:
    """Return the events by the words of their exception, or else of their log message."""
    found: dict[str, list[Any]] = {}
    for event in ingest.received.events():
        exception = event.get("exception")
        words = exception["values"][-1]["value"] if exception else event["logentry"]["formatted"]
        found.setdefault(words, []).append(event)
    return found


def test_the_oldest_version_tested_is_the_oldest_allowed() -> None:
    """What the extra promises is what these tests run with."""
    assert (
        f'sentry = ["sentry-sdk>={pinned("sentry-oldest").removesuffix(".0")}"]'
        in (ROOT / "pyproject.toml").read_text()
    )


@pytest.mark.parametrize("pipeline", ["lean", "upstream"])
def test_one_trace_and_each_error_once(
    shop: Shop, ingest: SentryIngest, receiver: OtlpReceiver, sentry_sdk: Path, pipeline: str
) -> None:
    """Events carry the ids of the span that was current, the span carries the id of the event, nothing comes twice."""
    program = shop(
        sentry_sdk,
        *ALL_PATHS,
        SENTRY_DSN=ingest.dsn,
        SENTRY_RELEASE="shop@1",
        OTEL_FORGE_PIPELINE=pipeline,
        **PRODUCTION,
    )
    said = answers(program)
    events, spans = by_words(ingest), server_spans(receiver)
    assert ingest.received.problems == []
    assert {words: len(found) for words, found in events.items()} == {
        "bad asset": 1,
        "bad asset, again": 1,
        "nobody handles this": 1,
        "stock of asset 7 is wrong": 1,
    }
    paths = {"bad asset": "/captured", "bad asset, again": "/reraised", "nobody handles this": "/unhandled"}
    for words, [event] in events.items():
        span = spans[paths.get(words, "/logged")]
        assert event["contexts"]["trace"]["trace_id"] == span.trace_id.hex()
        assert event["contexts"]["trace"]["span_id"] == span.span_id.hex()
        assert attributes(span.attributes)["sentry.event_id"] == event["event_id"]
        assert (event["environment"], event["release"]) == ("production", "shop@1")
    assert {event.name for event in spans["/unhandled"].events} == {"exception"}
    assert len(spans["/unhandled"].events) == 1
    [captured] = events["bad asset"]
    assert said["/captured"] == {"event_id": captured["event_id"], "again": captured["event_id"]}
    assert (captured["tags"]["component"], captured["extra"]["asset_id"]) == ("AssetService", "7")
    assert ingest.received.kinds() <= {"event", "client_report"}  # no transactions, profiles or sessions
    assert not any("trace" in envelope.headers for envelope in ingest.received.envelopes)


def test_outgoing_requests_carry_w3c_headers_only(shop: Shop, ingest: SentryIngest, sentry_sdk: Path) -> None:
    """Neither sentry-trace nor Sentry's baggage, whoever initialised Sentry."""
    ours = answers(shop(sentry_sdk, "/outgoing", SENTRY_DSN=ingest.dsn, **PRODUCTION))
    theirs = answers(shop(sentry_sdk, "/outgoing", OWN_SENTRY=ingest.dsn))
    for said in (ours, theirs):
        headers = said["/outgoing"]["headers"]
        assert "traceparent" in headers
        assert not {"sentry-trace", "baggage"} & set(headers)


def test_failed_network_requests_are_logged_and_not_sent(
    shop: Shop, ingest: SentryIngest, receiver: OtlpReceiver, newest_sentry_sdk: Path
) -> None:
    """Unless the setting wants them; the span and the log have them either way."""
    said = answers(shop(newest_sentry_sdk, "/network", SENTRY_DSN=ingest.dsn, **PRODUCTION))
    assert (said["/network"], ingest.received.events()) == ({"event_id": None}, [])
    assert [record.severity_text for record in receiver.received.logs()] == ["ERROR"]
    assert "sentry.event_id" not in attributes(server_spans(receiver)["/network"].attributes)
    wanted = {"OTEL_FORGE_SENTRY_NETWORK_ERRORS": "true", **PRODUCTION}
    said = answers(shop(newest_sentry_sdk, "/network", SENTRY_DSN=ingest.dsn, **wanted))
    assert [event["event_id"] for event in ingest.received.events()] == [said["/network"]["event_id"]]


@pytest.mark.parametrize(
    ("environ", "reports"),
    [
        ({}, False),
        ({"APP_ENV": "staging"}, False),
        ({"FLASK_ENV": "production"}, True),
        ({"APP_ENV": "staging", "FLASK_ENV": "production"}, False),
        ({"SENTRY_ENVIRONMENT": "Prod"}, True),
        ({"APP_ENV": "production", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=staging"}, False),
        ({"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=production,service.version=7"}, True),
        ({"APP_ENV": "production", "OTEL_FORGE_SENTRY": "off"}, False),
        ({"OTEL_FORGE_SENTRY": "on"}, True),
    ],
)
def test_sentry_is_on_in_production_only(environ: dict[str, str], reports: bool) -> None:
    """By default; a setting says otherwise. Without a DSN it never is."""
    assert Settings.from_env({"SENTRY_DSN": "http://key@sentry/1", **environ}).sentry.is_on is reports
    assert not Settings.from_env(environ).sentry.is_on


def test_in_development_nothing_is_sent(shop: Shop, ingest: SentryIngest, newest_sentry_sdk: Path) -> None:
    """The DSN alone does not switch it on."""
    said = answers(shop(newest_sentry_sdk, "/captured", "/unhandled", SENTRY_DSN=ingest.dsn))
    assert (said["/captured"]["event_id"], ingest.received.envelopes) == (None, [])


def test_errors_can_be_sampled(
    shop: Shop, ingest: SentryIngest, receiver: OtlpReceiver, newest_sentry_sdk: Path
) -> None:
    """An error that is not chosen is nowhere called reported."""
    environ = {"OTEL_FORGE_SENTRY_SAMPLE_RATE": "0", **PRODUCTION}
    said = answers(shop(newest_sentry_sdk, "/captured", "/unhandled", SENTRY_DSN=ingest.dsn, **environ))
    assert (said["/captured"], ingest.received.events()) == ({"event_id": None, "again": None}, [])
    assert not any("sentry.event_id" in attributes(span.attributes) for span in server_spans(receiver).values())


def test_the_applications_filters_decide_first(shop: Shop, ingest: SentryIngest, newest_sentry_sdk: Path) -> None:
    """One that returns None keeps an event back."""
    answers(shop(newest_sentry_sdk, "/captured", "/unhandled", SENTRY_DSN=ingest.dsn, FILTER="1", **PRODUCTION))
    assert list(by_words(ingest)) == ["bad asset"]


@pytest.mark.parametrize("after_ours", [False, True])
def test_an_application_that_initialises_sentry_itself_is_joined(
    shop: Shop, ingest: SentryIngest, receiver: OtlpReceiver, sentry_sdk: Path, after_ours: bool
) -> None:
    """Its options hold, its before_send is called, its events are linked and redacted; it wins over our client."""
    ours = {"SENTRY_DSN": ingest.dsn, **PRODUCTION} if after_ours else {}
    answers(shop(sentry_sdk, *ALL_PATHS, OWN_SENTRY=ingest.dsn, **ours))
    events, spans = by_words(ingest), server_spans(receiver)
    assert {words: len(found) for words, found in events.items() if "onnection" not in words} == {
        "bad asset": 1,
        "bad asset, again": 1,
        "nobody handles this": 1,
        "stock of asset 7 is wrong": 1,
    }
    [event] = events["nobody handles this"]
    assert (event["release"], event["tags"]["own"]) == ("own@1", "yes")
    assert event["contexts"]["trace"]["trace_id"] == spans["/unhandled"].trace_id.hex()
    assert attributes(spans["/unhandled"].attributes)["sentry.event_id"] == event["event_id"]
    assert PASSWORD not in ingest.received.text()


@pytest.mark.gate
def test_no_secret_is_in_an_event(shop: Shop, ingest: SentryIngest, sentry_sdk: Path) -> None:
    """S1: in message, exception, variables and source lines of frames, breadcrumbs, request, extra and tags: none."""
    said = answers(shop(sentry_sdk, "/secrets?token=" + PASSWORD, SENTRY_DSN=ingest.dsn, **PRODUCTION))
    [event] = ingest.received.events()
    assert event["event_id"] == next(iter(said.values()))["event_id"]
    crumbs = [crumb for crumb in event["breadcrumbs"]["values"] if crumb["category"] == "performance"]
    assert [crumb["data"]["name"] for crumb in crumbs] == ["connect"]
    assert event["exception"]["values"][-1]["stacktrace"]["frames"][-1]["vars"]["password"] != repr(PASSWORD)
    assert event["request"]["url"].endswith("/secrets")
    assert PASSWORD not in ingest.received.text()


TROUBLE = ("429", "rate-limits", "413", "503", "black_hole", "refused")


@pytest.mark.parametrize(
    ("sentry_sdk", "behaviour"),
    [*(("newest", behaviour) for behaviour in TROUBLE), ("oldest", "black_hole")],
    indirect=["sentry_sdk"],
)
def test_a_sentry_in_trouble_harms_nobody(shop: Shop, sentry_sdk: Path, behaviour: str) -> None:
    """The answers are as ever, nothing is printed, and the exit takes no longer than 2 s."""
    with SentryIngest(behaviour) as ingest:
        dsn = f"http://key@{refused_url().removeprefix('http://')}/1" if behaviour == "refused" else ingest.dsn
        program = shop(sentry_sdk, "/captured", "/unhandled", "/logged", SENTRY_DSN=dsn, **PRODUCTION)
        program.wait_for_output("done\n")
        status, seconds = program.ended_within(20)
        assert (status, program.out.count('{"path"')) == (0, 3)
        assert seconds <= 2
        assert "Sentry" not in program.err and "sentry" not in program.err.replace(str(sentry_sdk), "")
        assert behaviour not in ("429", "413", "503") or ingest.received.refused >= 1


@pytest.mark.parametrize(
    ("dsn", "line"),
    [
        ("https://nonsense", "SENTRY_DSN cannot be used (BadDsn); errors are not reported to Sentry."),
        ("http://key@127.0.0.1/not-a-number", "SENTRY_DSN cannot be used (BadDsn); errors are not reported to Sentry."),
    ],
)
def test_a_bad_dsn_is_one_line(shop: Shop, newest_sentry_sdk: Path, dsn: str, line: str) -> None:
    """Without the DSN in it; the app serves."""
    program = shop(newest_sentry_sdk, "/captured", SENTRY_DSN=dsn, **PRODUCTION)
    assert answers(program)["/captured"] == {"event_id": None, "again": None}
    assert line in program.notices()


def test_a_missing_package_is_one_line(shop: Shop) -> None:
    """With the command that installs it."""
    program = shop(None, "/captured", SENTRY_DSN="http://key@127.0.0.1/1", **PRODUCTION)
    answers(program)
    assert "SENTRY_DSN is set, but sentry-sdk is not installed: pip install 'otel-forge[sentry]'." in program.notices()


def test_a_configuration_file_of_opentelemetry_leaves_sentry_on(
    shop: Shop, ingest: SentryIngest, newest_sentry_sdk: Path, tmp_path: Path
) -> None:
    """Whoever sets telemetry up from a file has Sentry as well; whoever turns all of it off has none."""
    file = tmp_path / "otel.yaml"
    file.write_text('file_format: "1.0"\npropagator:\n  composite:\n    - tracecontext:\n')
    given = {"SENTRY_DSN": ingest.dsn, **PRODUCTION}
    answers(shop(newest_sentry_sdk, "/captured", OTEL_CONFIG_FILE=str(file), **given))
    assert len(ingest.received.events()) == 1
    answers(shop(newest_sentry_sdk, "/captured", OTEL_SDK_DISABLED="true", **given))
    assert len(ingest.received.events()) == 1


def test_sigterm_sends_what_waits(shop: Shop, ingest: SentryIngest, newest_sentry_sdk: Path) -> None:
    """The last event before a plain process is stopped is not lost."""
    program = shop(newest_sentry_sdk, "/captured", SENTRY_DSN=ingest.dsn, WAIT="1", **PRODUCTION)
    program.wait_for_output("done\n")
    program.terminate()
    assert program.wait() == -15
    assert len(ingest.received.events()) == 1
