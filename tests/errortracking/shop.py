"""A Flask app that fails in many ways, run as a program: ``python shop.py PATH...`` asks each path and prints answers.

With OWN_SENTRY set it initialises sentry-sdk by itself, as an application would that knows nothing of otel-forge.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import requests
from flask import Flask, jsonify
from flask.typing import ResponseReturnValue

from otel_forge.errortracking import add_filter, capture_error
from otel_forge.metrics.performance import track_performance
from otel_forge.web.boundary import ErrorBoundary

PASSWORD = "correct-horse-battery"
app = Flask("shop")
logger = logging.getLogger("shop")


class Echo(BaseHTTPRequestHandler):
    """Answers with the names of the headers that it got."""

    def do_GET(self) -> None:
        body = json.dumps(sorted(name.lower() for name in self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def own_sentry() -> None:
    import sentry_sdk

    def before_send(event: Any, hint: Any) -> Any:
        event["tags"] = {**event.get("tags", {}), "own": "yes", "note": f"password={PASSWORD}"}
        return event

    sentry_sdk.init(dsn=os.environ["OWN_SENTRY"], before_send=before_send, release="own@1")


@app.get("/captured")
def captured() -> ResponseReturnValue:
    try:
        raise ValueError("bad asset")
    except ValueError as error:
        first = capture_error(error, component="AssetService", asset_id="7")
        return jsonify(event_id=first, again=capture_error(error))


@app.get("/reraised")
def reraised() -> ResponseReturnValue:
    try:
        raise ValueError("bad asset, again")
    except ValueError as error:
        capture_error(error, component="AssetService")
        raise


@app.get("/unhandled")
def unhandled() -> ResponseReturnValue:
    raise LookupError("nobody handles this")


@app.get("/logged")
def logged() -> ResponseReturnValue:
    logger.error("stock of %s is wrong", "asset 7")
    return "ok"


@app.get("/own-loggers")
def own_loggers() -> ResponseReturnValue:
    for name in ("opentelemetry", "opentelemetry.exporter.otlp", "otel_forge", "otel_forge.delivery"):
        logging.getLogger(name).error("export failed")
    return "ok"


@app.get("/network")
def network() -> ResponseReturnValue:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    try:
        requests.get(url, timeout=1)
    except requests.RequestException as error:
        return jsonify(event_id=capture_error(error, component="Upstream"))
    return "somebody listened", 500


@app.get("/outgoing")
def outgoing() -> ResponseReturnValue:
    server = HTTPServer(("127.0.0.1", 0), Echo)
    thread = Thread(target=server.handle_request)
    thread.start()
    try:
        return jsonify(headers=requests.get(f"http://127.0.0.1:{server.server_port}", timeout=5).json())
    finally:
        thread.join()
        server.server_close()


@app.get("/secrets")
def secrets() -> ResponseReturnValue:
    password, settings = PASSWORD, {"api_key": PASSWORD}
    logger.info("connecting with password=%s", password)
    with track_performance("connect"):
        pass
    try:
        raise RuntimeError(f"cannot connect to postgresql://shop:{PASSWORD}@db/shop")
    except RuntimeError as error:
        return jsonify(event_id=capture_error(error, token=PASSWORD, settings=settings, user_password=PASSWORD))


def dropping(event: Any, hint: Any) -> Any:
    """A filter of the application's own."""
    return None if "nobody handles" in json.dumps(event, default=str) else event


def main() -> None:
    ErrorBoundary(app)
    if "FILTER" in os.environ:
        add_filter(dropping)
    if "OWN_SENTRY" in os.environ:
        own_sentry()
    client = app.test_client()
    for path in sys.argv[1:]:
        answer = client.get(path, headers={"Cookie": f"session={PASSWORD}", "Authorization": f"Bearer {PASSWORD}"})
        print(json.dumps({"path": path, "status": answer.status_code, "json": answer.get_json(silent=True)}))
    print("done")
    if "WAIT" in os.environ:
        signal.pause()


if __name__ == "__main__":
    main()
