"""A Sentry that listens at the wire: takes envelopes as Relay does, keeps what is in them, and can be made to refuse.

What an envelope is: https://develop.sentry.dev/sdk/data-model/envelopes/. A request that breaks its rules is answered
with 400 and kept in `problems`, so that a test can say that there were none.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from typing import Any

PROJECT, KEY = "42", "0123456789abcdef0123456789abcdef"
MOST_BYTES = 1 << 20
_HEX = re.compile(r"[0-9a-f]{32}")


class BadEnvelope(ValueError):
    """A request that Relay would not take; the message says what is wrong with it."""


@dataclass(frozen=True)
class Item:
    """One item of an envelope: its headers, and its payload, decoded where it is JSON."""

    headers: dict[str, Any]
    payload: Any


@dataclass(frozen=True)
class Envelope:
    """One envelope as it came: HTTP headers, envelope headers and items; `text` is the whole body."""

    http: dict[str, str]
    headers: dict[str, Any]
    items: list[Item]
    text: str


@dataclass
class Received:
    """Everything that came, in order."""

    envelopes: list[Envelope] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    refused: int = 0

    def payloads(self, kind: str) -> list[Any]:
        return [item.payload for envelope in self.envelopes for item in envelope.items if item.headers["type"] == kind]

    def events(self) -> list[Any]:
        return self.payloads("event")

    def kinds(self) -> set[str]:
        return {item.headers["type"] for envelope in self.envelopes for item in envelope.items}

    def text(self) -> str:
        return "\n".join(envelope.text for envelope in self.envelopes)


class SentryIngest:
    """Listens on a free loopback port; `behaviour` is ok, 429, rate-limits, 413, 503 or black_hole."""

    def __init__(self, behaviour: str = "ok") -> None:
        self.behaviour = behaviour
        self.received = Received()
        self._changed = Condition()
        self._ending = Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.dsn = f"http://{KEY}@127.0.0.1:{self._server.server_address[1]}/{PROJECT}"

    def __enter__(self) -> SentryIngest:
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, condition: Callable[[Received], Any], timeout: float = 20.0) -> Any:
        """Return what `condition` says of the received as soon as that is true; fail after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self.received), timeout):
                raise AssertionError(f"did not arrive within {timeout} s: {self.received}")
            return condition(self.received)

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Return how to answer one request: status, headers and JSON body."""
        if self.behaviour == "black_hole":
            self._ending.wait(60)
        with self._changed:
            try:
                answer = self._judge(path, headers, body)
            except BadEnvelope as error:
                self.received.problems.append(str(error))
                answer = 400, {}, {"detail": str(error)}
            self._changed.notify_all()
            return answer

    def _judge(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
        if self.behaviour in ("429", "413", "503"):
            self.received.refused += 1
            retry = {"Retry-After": "60"} if self.behaviour == "429" else {}
            return int(self.behaviour), retry, {"detail": "refused"}
        envelope = parse(path, headers, body)
        self.received.envelopes.append(envelope)
        limits = {"X-Sentry-Rate-Limits": "60:error:organization"} if self.behaviour == "rate-limits" else {}
        return 200, limits, {"id": envelope.headers.get("event_id")}


def parse(path: str, headers: dict[str, str], body: bytes) -> Envelope:
    """Return the envelope in a request; raises BadEnvelope."""
    if path.rstrip("/") != f"/api/{PROJECT}/envelope":
        raise BadEnvelope(f"{path} is not the envelope endpoint of project {PROJECT}")
    _check_authorisation(headers.get("x-sentry-auth", ""))
    raw = _decoded(body, headers.get("content-encoding", ""))
    first, _, rest = raw.partition(b"\n")
    head = _json_object(first, "envelope headers")
    if "event_id" in head and not _HEX.fullmatch(str(head["event_id"])):
        raise BadEnvelope(f"event_id {head['event_id']!r} is not 32 hexadecimal digits")
    items = list(_items(rest))
    if sum(item.headers["type"] in ("event", "transaction") for item in items) > 1:
        raise BadEnvelope("more than one event in an envelope")
    for item in items:
        if item.headers["type"] == "event" and item.payload["event_id"] != head.get("event_id"):
            raise BadEnvelope("the event has another id than its envelope")
    return Envelope(headers, head, items, raw.decode())


def _check_authorisation(header: str) -> None:
    if not header.startswith("Sentry "):
        raise BadEnvelope(f"X-Sentry-Auth is {header!r}")
    said = dict(part.strip().split("=", 1) for part in header.removeprefix("Sentry ").split(","))
    if said.get("sentry_version") != "7" or said.get("sentry_key") != KEY or "sentry_client" not in said:
        raise BadEnvelope(f"X-Sentry-Auth is {header!r}")


def _decoded(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "br":
        import brotlicffi

        return bytes(brotlicffi.decompress(body))
    if encoding:
        raise BadEnvelope(f"content encoding {encoding!r} is unknown")
    return body


def _items(rest: bytes) -> Iterator[Item]:
    while rest.strip(b"\n"):
        line, _, rest = rest.lstrip(b"\n").partition(b"\n")
        headers = _json_object(line, "item headers")
        if "type" not in headers:
            raise BadEnvelope(f"an item without a type: {headers}")
        length = headers.get("length")
        if length is None:
            payload, _, rest = rest.partition(b"\n")
        else:
            payload, rest = rest[:length], rest[length:]
            if len(payload) < length or (rest and not rest.startswith(b"\n")):
                raise BadEnvelope(f"an item of another length than its header says: {headers}")
        is_json = headers["type"] != "attachment"
        yield Item(headers, _json_object(payload, "payload") if is_json else payload)


def _json_object(text: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise BadEnvelope(f"{what}: {error}") from error
    if not isinstance(found, dict):
        raise BadEnvelope(f"{what} are no object")
    return found


def _handler(ingest: SentryIngest) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or each answer waits 40 ms for the client to confirm its headers

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, extra, answer = (
                (413, {}, {"detail": "too large"}) if len(body) > MOST_BYTES else ingest.take(self.path, headers, body)
            )
            text = json.dumps(answer).encode()
            try:
                self.send_response(status)
                for name, value in {**extra, "Content-Type": "application/json"}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
            except OSError:  # the client has given up on us
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
