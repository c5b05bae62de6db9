"""S1 through a real Flask app: what the corpus put into it is in nothing that came out of it, by whatever way.

Health answers and alert texts have the same corpus put through them by `tests.web.test_health_leaks` and
`tests.alerts.test_payloads`.
"""

from __future__ import annotations

import base64
import gzip
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from tests.corpus import CLASSES, Secret, secrets
from tests.equivalence.packages import group
from tests.errortracking.ingest import SentryIngest
from tests.otlp_receiver import OtlpReceiver, free_port, points, refused_url
from tests.programs import BIN, Program, Programs
from tests.redaction.leaking_app import SENTINEL, SERIES

ROOT = Path(__file__).parents[2]
EVERYTHING = "1000000"


@dataclass(frozen=True)
class Sink:
    """One way out of the process: everything that left by it, and a text that must be there if anything did."""

    name: str
    received: bytes
    sentinel: str = SENTINEL


def every_sink(
    programs: Programs, receiver: OtlpReceiver, ingest: SentryIngest, *, each: int, **environ: str
) -> list[Sink]:
    """Run the app twice, with everything on, and return all that came out of it.

    Of the one all is delivered, and the terminal has JSON; the other's endpoint refuses, so that telemetry stays in the
    spool, and its terminal has the view for people and what the console exporters print.
    """
    sinks = programs.folder / "sinks"
    sinks.mkdir()
    log_dir = programs.folder / "logs"
    refused = start(
        programs,
        EACH=str(each),
        UNREACHABLE="yes",
        OTEL_EXPORTER_OTLP_ENDPOINT=refused_url(),
        OTEL_TRACES_EXPORTER="otlp,console",
        OTEL_METRICS_EXPORTER="otlp,console",
        OTEL_LOGS_EXPORTER="otlp,console",
        OTEL_FORGE_LOGS_VIEW="console",
        **environ,
    )
    delivered = start(
        programs,
        EACH=str(each),
        SINKS=str(sinks),
        LOG_DIR=str(log_dir),
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_EXPORTER_PROMETHEUS_PORT=str(free_port()),
        OTEL_METRICS_EXPORTER="otlp,prometheus",
        OTEL_FORGE_METRIC_CARDINALITY_LIMIT=str(SERIES),
        OTEL_FORGE_LOGS_VIEW="json",
        OTEL_FORGE_LOGS_FILE_MB="0.5",
        OTEL_FORGE_SPOOL_DIR="none",
        SENTRY_DSN=ingest.dsn,
        OTEL_FORGE_SENTRY="on",
        OTEL_FORGE_EXIT_TIMEOUT="30",
        **environ,
    )
    assert (delivered.wait(200), refused.wait(200)) == (0, 0), delivered.err + refused.err
    sent = {signal: b"".join(map(serialized, requests)) for signal, requests in receiver.received.requests.items()}
    exemplars = [
        exemplar
        for request in receiver.received.requests["metrics"]
        for of_resource in request.resource_metrics
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
        for point in points(metric)
        for exemplar in getattr(point, "exemplars", ())
    ]
    shown, as_json = (
        programs.start(str(BIN / "otel-forge"), "logs", "--dir", str(log_dir), "-n", EVERYTHING, *options)
        for options in ((), ("--json",))
    )
    assert (shown.wait(), as_json.wait()) == (0, 0), shown.err + as_json.err
    return [
        Sink("spans at the OTLP receiver", sent["traces"]),
        Sink("metrics at the OTLP receiver", sent["metrics"]),
        Sink("logs at the OTLP receiver", sent["logs"]),
        Sink("exemplars", b"".join(map(serialized, exemplars))),
        Sink("the scrape endpoint", (sinks / "scrape").read_bytes()),
        Sink("the spool", contents(programs.folder / "spool")),
        Sink("log files", contents(log_dir)),
        Sink("otel-forge logs", shown.out.encode()),
        Sink("otel-forge logs --json", as_json.out.encode()),
        Sink("the JSON view", delivered.out.encode()),
        Sink("the console view", refused.err.encode()),
        Sink("console exporters", refused.out.encode()),
        Sink("Sentry", ingest.received.text().encode()),
        Sink("error pages", (sinks / "pages").read_bytes(), "incident_id"),
    ]


def start(programs: Programs, **environ: str) -> Program:
    """Start the app, which ends by itself."""
    search = [str(ROOT), str(group("sentry-newest")), os.environ.get("PYTHONPATH", "")]
    return programs.instrumented(
        "python",
        "-m",
        "tests.redaction.leaking_app",
        flags=(),
        OTEL_SERVICE_NAME="leaking",
        OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST=".*",
        OTEL_BSP_MAX_QUEUE_SIZE="60000",
        OTEL_BLRP_MAX_QUEUE_SIZE="60000",
        PYTHONPATH=os.pathsep.join(filter(None, search)),
        **environ,
    )


def serialized(message: object) -> bytes:
    found: bytes = message.SerializeToString()  # type: ignore[attr-defined]
    return found


def contents(folder: Path) -> bytes:
    """Return what all files below `folder` hold, packed ones unpacked."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return b"\n".join(
        gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in files
    )


def found_in(received: bytes, corpus: Sequence[Secret]) -> list[str]:
    """Return the names of the secrets that are there, as they are or in an encoding that a sink may use.

    Most of what is received comes again and again, so all but a few forms are looked for in the words of it, each once.
    """
    words = b"\n".join(set(_words(received)))
    return [
        secret.name
        for secret in corpus
        if any(form in (words if _is_word(form) else received) for form in forms_of(secret.needle))
    ]


_words = re.compile(rb"[A-Za-z0-9+/]{6,}").findall
_is_word = re.compile(rb"[A-Za-z0-9+/]{6,}").fullmatch


def forms_of(needle: str) -> set[bytes]:
    """Return the needle plain, as in URLs, and in base64 wherever it begins there.

    Needles are letters, digits, spaces and dashes, which JSON and HTML leave as they are.
    """
    texts = {needle, quote(needle, safe=""), quote_plus(needle)}
    return {text.encode() for text in texts} | set(in_base64(needle.encode()))


def in_base64(needle: bytes) -> Iterator[bytes]:
    """Yield what all texts have in base64 that hold the needle, by its place in a group of three bytes."""
    for place, first in ((0, 0), (1, 2), (2, 3)):
        whole = (place + len(needle)) * 8 // 6
        yield base64.b64encode(bytes(place) + needle)[first:whole]


@pytest.fixture
def ingest() -> Iterator[SentryIngest]:
    with SentryIngest() as running:
        yield running


@pytest.mark.gate
def test_s1_no_secret_leaves_the_app_by_any_way(
    programs: Programs, receiver: OtlpReceiver, ingest: SentryIngest
) -> None:
    """S1: in URL, headers, form, JSON, exceptions, logs, SQL, attributes and frames: in no sink, and none is empty."""
    sinks = every_sink(programs, receiver, ingest, each=21)
    assert len(secrets()) > 200
    assert [sink.name for sink in sinks if sink.sentinel.encode() not in sink.received] == []
    assert {sink.name: found for sink in sinks if (found := found_in(sink.received, secrets()))} == {}
    assert len(ingest.received.events()) >= 2 * len(secrets())
    assert ingest.received.problems == []


def test_without_redaction_secrets_leave_by_every_way(
    programs: Programs, receiver: OtlpReceiver, ingest: SentryIngest
) -> None:
    """The proof above can fail: with redaction off each sink has them, but for the pages, which show nothing."""
    corpus = secrets(2)
    sinks = every_sink(programs, receiver, ingest, each=2, OTEL_FORGE_REDACTION="false")
    found = {sink.name: {name.rpartition(" ")[0] for name in found_in(sink.received, corpus)} for sink in sinks}
    assert found.pop("error pages") == set()
    assert {name: CLASSES.keys() - kinds for name, kinds in found.items() if kinds != CLASSES.keys()} == {}


@pytest.mark.parametrize("pipeline", ["lean", "upstream"])
def test_replacements_are_counted_by_class(programs: Programs, receiver: OtlpReceiver, pipeline: str) -> None:
    """In both pipelines: no secret at the receiver, and a metric that says how many there were."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_FORGE_PIPELINE": pipeline}
    app = start(programs, EACH="4", **environ)
    assert app.wait() == 0, app.err
    sent = b"".join(serialized(request) for requests in receiver.received.requests.values() for request in requests)
    counts = {
        point.attributes[0].value.string_value: point.as_int
        for point in points(receiver.received.metrics()["otel_forge.redacted"])
    }
    assert found_in(sent, secrets(4)) == []
    assert counts.keys() >= {"password", "token", "jwt", "card", "private-key", "cookie", "sql-literal", "query-value"}
    assert len(receiver.received.spans()) >= 4 * len(secrets(4))
