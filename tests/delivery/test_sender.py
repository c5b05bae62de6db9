"""The sender against servers of all manners: what it says of each, and how long it takes."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from otel_forge.delivery.answers import Outcome, Verdict
from otel_forge.delivery.batch import Batch
from otel_forge.delivery.courier import Courier
from otel_forge.delivery.sender import Sender
from otel_forge.settings import OtlpSettings, Settings
from tests.conftest import require_tool
from tests.delivery.parts import Parts
from tests.delivery.scripted import answer, eventually, hang, raw, reset, scripted, trickle
from tests.otlp_receiver import free_port


def settings(url: str, **changes: Any) -> OtlpSettings:
    base = Settings.from_env({"OTEL_EXPORTER_OTLP_ENDPOINT": url}).otlp["traces"]
    return replace(base, **changes)


_made: list[Sender] = []


def sender(url: str, **changes: Any) -> Sender:
    _made.append(Sender(settings(url, **changes), proxies={}))
    return _made[-1]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _made:
        _made.pop().close()


def test_a_request_has_path_type_length_and_the_headers_of_the_user() -> None:
    """A header that could break out of its line, or that is ours to set, does not."""
    headers = {"api-key": "secret", "x-split": "a\r\nEvil: 1", "Content-Length": "7"}
    with scripted(answer()) as server:
        outcome = sender(server.url, headers=headers).send(b"body")
    assert outcome == Outcome(Verdict.DELIVERED, "", 200)
    seen = server.requests[0]
    assert seen.head.startswith("POST /v1/traces HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "\r\nContent-Type: application/x-protobuf" in seen.head
    assert "\r\napi-key: secret" in seen.head
    assert "\r\nEvil" not in seen.head
    assert seen.head.count("Content-Length") == 1
    assert seen.body == b"body"


def test_the_connection_is_kept() -> None:
    """Many requests, one connection."""
    with scripted(answer()) as server:
        one = sender(server.url)
        assert [one.send(b"x").verdict for _ in range(5)] == [Verdict.DELIVERED] * 5
        assert server.connections == 1


def test_a_connection_that_the_other_side_closed_is_replaced_unnoticed() -> None:
    """Whether it said so or not."""
    with scripted(
        answer(keep=False), raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", close=True), answer()
    ) as server:
        one = sender(server.url)
        assert [one.send(b"x").verdict for _ in range(3)] == [Verdict.DELIVERED] * 3
        assert server.connections == 3


def test_a_forked_child_opens_a_connection_of_its_own() -> None:
    """Parent and child must not write to one connection at once."""
    with scripted(answer()) as server:
        one = sender(server.url)
        assert one.send(b"parent").verdict is Verdict.DELIVERED
        child = os.fork()
        if child == 0:
            os._exit(0 if one.send(b"child").verdict is Verdict.DELIVERED else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert one.send(b"parent").verdict is Verdict.DELIVERED
        assert [(seen.body, seen.connection) for seen in server.requests] == [
            (b"parent", 1),
            (b"child", 2),
            (b"parent", 1),
        ]


@pytest.mark.parametrize("behaviour", [hang, trickle], ids=["black hole", "trickle"])
def test_the_deadline_holds_for_the_whole_request(behaviour: Any) -> None:
    """A byte now and then does not buy more time."""
    with scripted(behaviour) as server:
        started = time.monotonic()
        outcome = sender(server.url, timeout=0.4).send(b"x")
        took = time.monotonic() - started
    assert outcome == Outcome(Verdict.LATER, "timed out")
    assert 0.3 < took < 0.9


def test_the_deadline_holds_for_a_server_that_does_not_read() -> None:
    """A body larger than the buffers in between cannot be sent."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        started = time.monotonic()
        outcome = sender(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.4).send(b"x" * 50_000_000)
    assert outcome.reason == "timed out"
    assert time.monotonic() - started < 1.5


def test_a_caller_can_allow_less_time() -> None:
    """As the exit does."""
    with scripted(hang) as server:
        started = time.monotonic()
        assert sender(server.url, timeout=30).send(b"x", timeout=0.2).reason == "timed out"
        assert time.monotonic() - started < 1.0


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (answer("503 Service Unavailable"), Outcome(Verdict.LATER, "HTTP 503 Service Unavailable", 503)),
        (
            answer("429 Slow Down", headers=["Retry-After: 7"]),
            Outcome(Verdict.LATER, "HTTP 429 Slow Down", 429, retry_after=7.0),
        ),
        (
            answer("307 Temporary Redirect", headers=["Location: /other"]),
            Outcome(Verdict.LATER, "HTTP 307 Temporary Redirect", 307),
        ),
        (answer("413 Too Large"), Outcome(Verdict.TOO_LARGE, "HTTP 413 Too Large", 413)),
        (answer("400 Bad Request"), Outcome(Verdict.REFUSED, "HTTP 400 Bad Request", 400)),
        (answer("500 Oops"), Outcome(Verdict.REFUSED, "HTTP 500 Oops", 500)),
        (reset, Outcome(Verdict.LATER, "connection reset")),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Le", close=True), Outcome(Verdict.DELIVERED, "", 200)),
        (raw(b"", close=True), Outcome(Verdict.LATER, "connection closed by the other side")),
        (raw(b"SSH-2.0-OpenSSH\r\n"), Outcome(Verdict.LATER, "the other side does not speak HTTP")),
        (
            answer(body=b"\x0a\x09\x08\x05\x12\x05quota"),
            Outcome(Verdict.DELIVERED, "quota", 200, rejected=5),
        ),
    ],
    ids=lambda value: value.reason or "delivered" if isinstance(value, Outcome) else "",
)
def test_what_an_answer_means(behaviour: Any, outcome: Outcome) -> None:
    """The verdict, the words for a person, and what else the answer says."""
    with scripted(behaviour) as server:
        assert sender(server.url, timeout=5).send(b"x") == outcome


def test_nobody_there() -> None:
    """Refused connections and unknown hosts are said in words."""
    assert sender(f"http://127.0.0.1:{free_port()}").send(b"x") == Outcome(Verdict.LATER, "connection refused")
    assert "n" in sender("http://no-such-host.invalid:4318", timeout=5).send(b"x").reason


@pytest.mark.parametrize(("name", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_bodies_are_compressed_as_set(name: str, unpack: Any) -> None:
    """And said to be."""
    with scripted(answer()) as server:
        sender(server.url, compression=name).send(b"x" * 1000)
    seen = server.requests[0]
    assert f"\r\nContent-Encoding: {name}" in seen.head
    assert len(seen.body) < 100
    assert unpack(seen.body) == b"x" * 1000


def test_a_proxy_gets_the_whole_address_and_its_password() -> None:
    """Plain HTTP by way of a proxy."""
    with scripted(answer()) as proxy:
        through = proxy.url.replace("http://", "http://user:pass%21@")
        one = Sender(settings("http://collector.example:4318"), proxies={"http": through})
        assert one.send(b"x").verdict is Verdict.DELIVERED
        one.close()
    assert proxy.requests[0].head.startswith("POST http://collector.example:4318/v1/traces HTTP/1.1\r\n")
    assert "\r\nProxy-Authorization: Basic dXNlcjpwYXNzIQ==" in proxy.requests[0].head


def test_hosts_that_bypass_the_proxy_are_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's no_proxy."""
    with scripted(answer()) as server:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        one = Sender(settings(server.url))
        assert one.send(b"x").verdict is Verdict.DELIVERED
        one.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that is its own authority."""
    folder = tmp_path_factory.mktemp("certificates")
    command = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([str(require_tool("openssl")), *command.split(), *files], check=True, capture_output=True)
    return folder


def server_context(folder: Path, *, ask_client: bool = False) -> Any:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    if ask_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "cert.pem")
    return context


def test_tls_with_an_authority_of_the_users_own(certificates: Path) -> None:
    """A kept connection as well; without the authority the server is not trusted."""
    with scripted(answer(), context=server_context(certificates)) as server:
        trusting = sender(server.url, certificate=str(certificates / "cert.pem"))
        assert [trusting.send(b"x").verdict for _ in range(3)] == [Verdict.DELIVERED] * 3
        assert server.connections == 1
        assert sender(server.url).send(b"x") == Outcome(Verdict.LATER, "certificate not trusted")


def test_mutual_tls(certificates: Path) -> None:
    """The client shows its certificate when it has one."""
    files = {"certificate": str(certificates / "cert.pem")}
    with scripted(answer(), context=server_context(certificates, ask_client=True)) as server:
        known = {"client_certificate": str(certificates / "cert.pem"), "client_key": str(certificates / "key.pem")}
        assert sender(server.url, **files, **known).send(b"x").verdict is Verdict.DELIVERED
        assert sender(server.url, **files).send(b"x").verdict is Verdict.LATER


def test_tls_to_a_server_that_speaks_none() -> None:
    """Said in words."""
    with scripted(raw(b"HTTP/1.1 400 Bad Request\r\n\r\n", close=True)) as server:
        outcome = sender(server.url.replace("http:", "https:"), timeout=2).send(b"x")
    assert outcome.verdict is Verdict.LATER


def test_tls_by_way_of_a_proxy_asks_for_a_tunnel() -> None:
    """A proxy that refuses is the reason given."""
    with scripted(answer("407 Proxy Authentication Required")) as proxy:
        one = Sender(settings("https://collector.example:4318"), proxies={"https": proxy.url})
        assert one.send(b"x") == Outcome(Verdict.LATER, "the proxy answered 407 Proxy Authentication Required")
    assert proxy.requests[0].head.startswith("CONNECT collector.example:4318 HTTP/1.1\r\n")


def test_a_batch_at_which_the_server_breaks_off_does_not_hold_up_the_others() -> None:
    """A real server that resets the connection at one batch, and takes all others."""

    def serve(connection: socket.socket, ending: Event) -> None:
        (reset if b"poison" in server.requests[-1].body else answer())(connection, ending)

    with scripted(serve) as server:
        parts = Parts(sender(server.url), max_bytes=1)
        courier = Courier(sender(server.url), parts.outbox, random=lambda: 0.0, sleep=lambda seconds: None)
        for body in (b"one", b"poison", b"two", b"three"):
            parts.accounts.accept("traces", 1, len(body))
            parts.outbox.add(Batch(body.hex()[:16].rjust(16, "0"), "traces", body, 1, 1.0))
        eventually(lambda: courier.deliver() or parts.account.delivered == 3)
        assert parts.counts == {"created": 4, "delivered": 3, "in_memory": 1}
        taken = [seen.body for seen in server.requests if seen.body and seen.body != b"poison"]
        assert sorted(taken) == [b"one", b"three", b"two"]
