"""Annotations in a Grafana that is played at the wire, as its HTTP API has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from otel_forge.monitor.annotating import Annotations
from tests.otlp_receiver import refused_url

TOKEN = "glsa_0123456789abcdef"


class FakeGrafana:
    """Takes annotations from whoever has the token, 400 for a body without text, 401 without the token."""

    def __init__(self) -> None:
        self.url = ""
        self.annotations: list[dict[str, object]] = []
        self.statuses: list[int] = []

    def answer(self, path: str, token: str, body: bytes) -> tuple[int, dict[str, object]]:
        if path != "/api/annotations":
            return 404, {"message": "Not found"}
        if token != f"Bearer {TOKEN}":
            return 401, {"message": "Unauthorized"}
        annotation = json.loads(body)
        if not annotation.get("text"):
            return 400, {"message": "Failed to save annotation", "error": "text field should not be empty"}
        self.annotations.append(annotation)
        return 200, {"message": "Annotation added", "id": len(self.annotations)}


@contextmanager
def grafana() -> Iterator[FakeGrafana]:
    fake = FakeGrafana()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, document = fake.answer(self.path, self.headers.get("Authorization", ""), body)
            fake.statuses.append(status)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()


def test_a_restart_is_annotated() -> None:
    """With its reason as text and tag, without secrets."""
    said: list[str] = []
    with grafana() as fake:
        annotations = Annotations(f"{fake.url}/", TOKEN, said.append)
        annotations.add("Restart of shop: password=hunter2-secret", ["otel-forge", "restart", "shop", "deadlock"])
        annotations.wait(10)
    [annotation] = fake.annotations
    assert annotation["tags"] == ["otel-forge", "restart", "shop", "deadlock"]
    assert str(annotation["text"]).startswith("Restart of shop: ")
    assert "hunter2" not in str(annotation)
    assert isinstance(annotation["time"], int)
    assert said == []


def test_a_wrong_token_is_said_but_never_shown() -> None:
    """One line, and nothing else happens."""
    said: list[str] = []
    with grafana() as fake:
        annotations = Annotations(fake.url, "wrong-token", said.append)
        annotations.add("text", [])
        annotations.wait(10)
    assert said == ["Grafana has no annotation of this: it answered 401."]


@pytest.mark.parametrize("token", [TOKEN, "bad\ntoken"])
def test_a_grafana_that_is_down_does_not_matter(token: str) -> None:
    """Nor does a token that cannot be sent."""
    said: list[str] = []
    annotations = Annotations(refused_url(), token, said.append)
    annotations.add("text", [])
    annotations.wait(10)
    assert len(said) == 1
    assert token.split("\n")[0] not in said[0]


def test_without_url_or_token_nothing_is_sent() -> None:
    """There is no default Grafana."""
    for url, token in (("", TOKEN), (refused_url(), "")):
        said: list[str] = []
        annotations = Annotations(url, token, said.append)
        annotations.add("text", [])
        annotations.wait(1)
        assert said == []
