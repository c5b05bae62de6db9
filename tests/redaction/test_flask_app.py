"""S1 through a real Flask app: what the corpus put into it is not in the bytes that an OTLP receiver got."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.corpus import CLASSES, secrets
from tests.otlp_receiver import OtlpReceiver, points
from tests.programs import Programs

ROOT = Path(__file__).parents[2]
QUEUE = "60000"


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    with Programs(tmp_path) as running:
        yield running


def _sent(receiver: OtlpReceiver, programs: Programs, **environ: str) -> bytes:
    """Run the app to its end and return everything that it sent."""
    app = programs.instrumented(
        "python",
        "-m",
        "tests.redaction.leaking_app",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST=".*",
        OTEL_BSP_MAX_QUEUE_SIZE=QUEUE,
        OTEL_BLRP_MAX_QUEUE_SIZE=QUEUE,
        OTEL_FORGE_EXIT_TIMEOUT="30",
        PYTHONPATH=str(ROOT),
        **environ,  # type: ignore[arg-type]
    )
    assert app.wait(120) == 0, app.err
    received = receiver.received.requests
    assert all(received[signal] for signal in ("traces", "metrics", "logs")), app.err
    return b"".join(request.SerializeToString() for requests in received.values() for request in requests)


def _found(sent: bytes) -> list[str]:
    """Return the names of the corpus' secrets that are in `sent`."""
    return [
        secret.name
        for secret in secrets()
        if secret.needle.encode() in sent or quote(secret.needle, safe="").encode() in sent
    ]


@pytest.mark.parametrize("pipeline", ["lean", "upstream"])
def test_no_secret_of_the_corpus_leaves_the_app(receiver: OtlpReceiver, programs: Programs, pipeline: str) -> None:
    """URL, headers, form, JSON, log messages and arguments, exceptions, SQL, attributes of all signals: none left."""
    sent = _sent(receiver, programs, OTEL_FORGE_PIPELINE=pipeline)

    assert _found(sent) == []
    counts = {
        point.attributes[0].value.string_value: point.as_int
        for point in points(receiver.received.metrics()["otel_forge.redacted"])
    }
    assert counts.keys() >= {"password", "token", "jwt", "card", "private-key", "cookie", "sql-literal", "query-value"}
    assert len(receiver.received.spans()) >= 4 * len(secrets())


def test_without_redaction_secrets_of_every_class_would_have_left(receiver: OtlpReceiver, programs: Programs) -> None:
    """The proof above can fail: with redaction off the receiver gets every secret."""
    sent = _sent(receiver, programs, OTEL_FORGE_PIPELINE="lean", OTEL_FORGE_REDACTION="false")

    found = {name.rpartition(" ")[0] for name in _found(sent)}
    assert found == CLASSES.keys()
    assert b"otel_forge.redacted" not in sent
