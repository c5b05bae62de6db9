"""Slack, PagerDuty and a webhook that listen at the wire: they take what the real ones take, and refuse what they do.

What is checked is what their documentation says: Slack's Block Kit limits, PagerDuty's required fields. A request that
breaks a rule is answered as the service would and kept in `problems`, so that a test can say that there were none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from typing import Any

SLACK_PATH = "/services/T00000000/B00000000/" + "x" * 24
ROUTING_KEY = "0123456789abcdef" * 2
Answer = tuple[int, dict[str, str], str]


class BadRequest(ValueError):
    """A request that the service would not take; the message is what it would answer."""


@dataclass
class Received:
    """Everything that came, in order: documents that were taken, their headers, and how often we answered what."""

    taken: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Receiver:
    """A service on a free loopback port. `script` holds the answers to the first requests; then it judges them.

    An answer of the script is a status, or a status and headers; ``hang`` never answers, ``close`` closes.
    """

    def __init__(self, judge: Callable[[str, dict[str, str], bytes], Answer], path: str) -> None:
        self._judge = judge
        self.received = Received()
        self.script: list[Any] = []
        self._changed = Condition()
        self.ending = Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def __enter__(self) -> Receiver:
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, number: int, timeout: float = 20.0) -> list[Any]:
        """Return what was taken as soon as there are so many; fail after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.received.taken) >= number, timeout):
                raise AssertionError(f"{number} did not arrive within {timeout} s: {self.received}")
            return list(self.received.taken)

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """Return how to answer a request: status, headers, text."""
        with self._changed:
            answer = self._answer(path, headers, body)
            self.received.statuses.append(answer[0])
            self._changed.notify_all()
            return answer

    def _answer(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if self.script:
            scripted = self.script.pop(0)
            return (scripted, {}, "") if isinstance(scripted, (int, str)) else scripted  # type: ignore[return-value]
        try:
            answer = self._judge(path, headers, body)
        except BadRequest as error:
            self.received.problems.append(str(error))
            return 400, {}, str(error)
        if answer[0] < 300:
            self.received.taken.append(json.loads(body))
            self.received.headers.append(headers)
            self.received.bodies.append(body)
        return answer


@contextmanager
def slack() -> Iterator[Receiver]:
    """An incoming webhook: "ok", 400 invalid_payload or invalid_blocks, 404 no_service."""
    with Receiver(_slack, SLACK_PATH) as running:
        yield running


@contextmanager
def pagerduty() -> Iterator[Receiver]:
    """The Events API v2: 202, or 400 with the errors."""
    with Receiver(_pagerduty, "/v2/enqueue") as running:
        yield running


@contextmanager
def webhook() -> Iterator[Receiver]:
    """Somebody's own webhook, which takes everything."""
    with Receiver(lambda path, headers, body: (204, {}, ""), "/hooks/Zm9yZ2U") as running:
        yield running


def _slack(path: str, headers: dict[str, str], body: bytes) -> Answer:
    if path != SLACK_PATH:
        return 404, {}, "no_service"
    try:
        message = json.loads(body)
    except ValueError:
        raise BadRequest("invalid_payload") from None
    if not message.get("text") or len(message["text"]) > 40_000:
        raise BadRequest("no_text")
    check_blocks(message["blocks"])
    return 200, {"Content-Type": "text/html"}, "ok"


_LIMITS = {"header": 150, "section": 3000}


def check_blocks(blocks: Sequence[Any]) -> None:
    """Raise BadRequest for blocks that Slack would not take."""
    if not 0 < len(blocks) <= 50:
        raise BadRequest(f"invalid_blocks: {len(blocks)} blocks")
    texts = [text for block in blocks for text in _texts_of(block)]
    if sum(map(len, texts)) > 13_000:
        raise BadRequest("msg_blocks_too_long")


def _texts_of(block: Any) -> Iterator[str]:
    kind = block["type"]
    if kind == "header":
        yield _text(block["text"], 150, ("plain_text",))
    elif kind == "section":
        if "text" in block:
            yield _text(block["text"], 3000, ("plain_text", "mrkdwn"))
        fields = block.get("fields", [])
        if len(fields) > 10 or ("text" not in block and not fields):
            raise BadRequest("invalid_blocks: section")
        for one in fields:
            yield _text(one, 2000, ("plain_text", "mrkdwn"))
    elif kind == "context":
        if not 0 < len(block["elements"]) <= 10:
            raise BadRequest("invalid_blocks: context")
        for one in block["elements"]:
            yield _text(one, 2000, ("plain_text", "mrkdwn"))
    else:
        raise BadRequest(f"invalid_blocks: {kind}")


def _text(text: Any, longest: int, kinds: Sequence[str]) -> str:
    if text["type"] not in kinds or not 0 < len(text["text"]) <= longest:
        raise BadRequest(f"invalid_blocks: {len(text['text'])} characters of {text['type']}")
    allowed = {"type", "text", "verbatim"} if text["type"] == "mrkdwn" else {"type", "text", "emoji"}
    if set(text) - allowed:
        raise BadRequest(f"invalid_blocks: {sorted(text)}")
    return str(text["text"])


def _pagerduty(path: str, headers: dict[str, str], body: bytes) -> Answer:
    errors = list(event_errors(json.loads(body), len(body)))
    if path != "/v2/enqueue" or errors:
        text = json.dumps({"status": "invalid event", "message": "Event object is invalid", "errors": errors})
        raise BadRequest(text)
    key = json.loads(body)["dedup_key"]
    return 202, {}, json.dumps({"status": "success", "message": "Event processed", "dedup_key": key})


def event_errors(event: Any, size: int) -> Iterator[str]:
    """Yield what PagerDuty would not take of an event."""
    if size > 512 * 1024:
        yield "Event is too large"
    if len(event.get("routing_key", "")) != 32:
        yield "Length of 'routing_key' is incorrect (should be 32 characters)"
    if event.get("event_action") not in ("trigger", "acknowledge", "resolve"):
        yield "'event_action' is invalid"
    if not 0 < len(event.get("dedup_key", "")) <= 255:
        yield "'dedup_key' is missing or too long"
    if event.get("event_action") == "trigger":
        payload = event.get("payload", {})
        if not 0 < len(payload.get("summary", "")) <= 1024:
            yield "'payload.summary' is missing or too long"
        if not payload.get("source"):
            yield "'payload.source' is missing or blank"
        if payload.get("severity") not in ("critical", "error", "warning", "info"):
            yield "'payload.severity' is invalid"


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, extra, text = receiver.answer(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            if status == "hang":  # type: ignore[comparison-overlap]
                receiver.ending.wait(60)
            if isinstance(status, str):
                self.close_connection = True
                return
            try:
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())
            except OSError:  # the client has given up on us
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
