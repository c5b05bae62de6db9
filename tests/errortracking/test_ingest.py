"""The ingest of these tests takes what Relay takes, and says what it would not take."""

from __future__ import annotations

import gzip
import http.client
import json
from collections.abc import Callable
from urllib.parse import urlsplit

import brotlicffi
import pytest

from tests.errortracking.ingest import KEY, MOST_BYTES, PROJECT, SentryIngest

AUTH = f"Sentry sentry_key={KEY}, sentry_version=7, sentry_client=test/1"
EVENT_ID = "9ec79c33ec9942ab8353589fcb2e04dc"


def envelope(*items: tuple[dict[str, object], bytes], **headers: object) -> bytes:
    """Return the bytes of an envelope."""
    parts = [json.dumps({"event_id": EVENT_ID, **headers}).encode()]
    for item, payload in items:
        parts += [json.dumps(item).encode(), payload]
    return b"\n".join(parts) + b"\n"


def event(**item: object) -> tuple[dict[str, object], bytes]:
    """Return an event item whose payload has a line end in it, which only its length can tell."""
    payload = json.dumps({"event_id": EVENT_ID, "message": "hello"}, indent=1).encode()
    return {"type": "event", "length": len(payload), **item}, payload


def post(
    ingest: SentryIngest, body: bytes, *, path: str = f"/api/{PROJECT}/envelope/", **headers: str
) -> tuple[int, str]:
    """Send `body` and return status and text of the answer."""
    connection = http.client.HTTPConnection(urlsplit(ingest.dsn).netloc.rpartition("@")[2], timeout=5)
    try:
        given = {"X-Sentry-Auth": AUTH, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request("POST", path, body, given)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("", bytes), ("gzip", gzip.compress), ("br", brotlicffi.compress)],
    ids=["plain", "gzip", "br"],
)
def test_envelopes_are_read(ingest: SentryIngest, encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """Plain or compressed; the answer is the event's id."""
    body = compress(envelope(event(), ({"type": "attachment", "length": 3}, b"a\nb"), ({"type": "session"}, b"{}")))
    status, text = post(ingest, body, **({"Content_Encoding": encoding} if encoding else {}))
    assert (status, json.loads(text)) == (200, {"id": EVENT_ID})
    [received] = ingest.received.envelopes
    assert [item.headers["type"] for item in received.items] == ["event", "attachment", "session"]
    assert received.items[1].payload == b"a\nb"


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (envelope(event()), {"path": "/api/7/envelope/"}),
        (envelope(event()), {"X_Sentry_Auth": "Bearer x"}),
        (envelope(event()), {"X_Sentry_Auth": AUTH.replace(KEY, "other")}),
        (envelope(event()), {"Content_Encoding": "zstd"}),
        (envelope(event(length=7)), {}),
        (envelope(event(length=7000)), {}),
        (envelope(({}, b"{}")), {}),
        (envelope(event(), event()), {}),
        (envelope(event(), event_id="f" * 32), {}),
        (envelope(event_id="short"), {}),
        (b"no json", {}),
    ],
)
def test_what_breaks_the_rules_is_refused(ingest: SentryIngest, body: bytes, options: dict[str, str]) -> None:
    """With 400, and kept as a problem."""
    assert post(ingest, body, **options)[0] == 400
    assert (len(ingest.received.problems), ingest.received.envelopes) == (1, [])


def test_what_is_too_large_is_413(ingest: SentryIngest) -> None:
    """As Relay's limit for events."""
    assert post(ingest, b" " * (MOST_BYTES + 1))[0] == 413
