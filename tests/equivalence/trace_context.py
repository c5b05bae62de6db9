"""Every case of W3C Trace Context through one pipeline: a served Flask app that calls another service.

``python -m tests.equivalence.trace_context upstream|lean FILE`` writes, as JSON, what went out and was recorded.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.equivalence.trace_context_cases import CASES
from tests.instruments import telemetry
from tests.otlp_receiver import OtlpReceiver, Received

SERVER, CLIENT = 2, 3


class Headers(BaseHTTPRequestHandler):
    """Answers with the headers of trace context that it got, as JSON."""

    def do_GET(self) -> None:
        body = json.dumps([self.headers.get_all("traceparent", []), self.headers.get_all("tracestate", [])]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main(pipeline: str, path: Path) -> None:
    """Send the headers of each case through a server of `pipeline` and write what became of them."""
    with OtlpReceiver() as receiver:
        flush = telemetry.PIPELINES[pipeline](receiver.url)
        port = _serve_app(_serve_headers())
        results = {}
        for case in CASES:
            receiver.received = Received()
            parents, states = json.loads(_get(port, case.headers))
            flush()
            results[case.name] = {"traceparent": parents, "tracestate": states, "spans": _recorded(receiver.received)}
        path.write_text(json.dumps(results, indent=1))
    os._exit(0)  # the pipelines' ways to exit are not under test here


def _serve_headers() -> int:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Headers)
    Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def _serve_app(upstream_port: int) -> int:
    """Serve a Flask app whose one page passes on what the other service answers."""
    import flask
    import requests
    from werkzeug.serving import make_server

    app = flask.Flask("trace-context")
    app.add_url_rule("/", view_func=lambda: requests.get(f"http://127.0.0.1:{upstream_port}/", timeout=10).text)
    server = make_server("127.0.0.1", 0, app)
    Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def _get(port: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    """Send `headers` as they are, repeated ones repeated."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("GET", "/")
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    with connection.getresponse() as response:
        body = response.read()
    connection.close()
    return body


def _recorded(received: Received) -> list[dict[str, Any]]:
    """Return what the server span and the client span say of the trace they are in."""
    return [
        {
            "kind": span.kind,
            "trace": span.trace_id.hex(),
            "span": span.span_id.hex(),
            "parent": span.parent_span_id.hex(),
            "state": span.trace_state,
            "flags": span.flags,
        }
        for span in sorted(received.spans(), key=lambda span: int(span.kind))
    ]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
