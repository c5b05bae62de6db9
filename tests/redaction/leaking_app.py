"""A Flask app that puts the corpus' secrets wherever an app can, and the requests that make it do so.

It serves on a port of its own and asks itself over HTTP, as anybody would. What its users got, and what a scrape of its
metrics gave, is written into the folder ``SINKS``. ``EACH`` says how many secrets of each class there are, and
``UNREACHABLE`` that nobody takes telemetry, so that waiting for it is no use.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import sys
from http.client import HTTPConnection
from json import dumps
from pathlib import Path
from threading import Thread
from types import FunctionType
from typing import Any
from urllib.parse import quote, urlencode

import requests
from flask import Flask, request
from opentelemetry import metrics, trace
from opentelemetry._logs import get_logger_provider
from opentelemetry.trace import Link, Status, StatusCode
from werkzeug.serving import WSGIRequestHandler, make_server

from otel_forge import ErrorBoundary, capture_error
from tests.corpus import Secret, secrets

SENTINEL = "harmless"
"""What reaches every sink of the app's own words."""

SERIES = 5
BUCKETS = 20
"""With `SERIES` as the limit each counter has a series for each of its secrets. The histograms have none, others came
first: what is recorded there has its attributes only in exemplars, of which each bucket has one."""

app = Flask("leaking")
log = logging.getLogger("leaking")
log.setLevel(logging.DEBUG)
tracer = trace.get_tracer("leaking")
meter = metrics.get_meter("leaking")
corpus = secrets(int(os.environ.get("EACH", "21")))
counters = [meter.create_counter(f"leaks.{part}") for part in range(len(corpus) // SERIES + 1)]
sizes = [
    meter.create_histogram(f"sizes.{part}", explicit_bucket_boundaries_advisory=[size + 0.5 for size in range(BUCKETS)])
    for part in range(len(corpus) // BUCKETS + 1)
]


@app.post("/form/<int:number>")
def form(number: int) -> str:
    """Log what came."""
    log.info("form %s json %s", request.form, request.get_json(silent=True))
    log.info("headers %s", dict(request.headers))
    return "ok"


@app.post("/leak/<int:number>")
def leak(number: int) -> str:
    """Leak one secret in every way but by raising."""
    form(number)
    secret = corpus[number]
    key, value, text = secret.key or "note", secret.value, secret.text
    log.info(text)
    log.warning("arguments: %s %r", text, {key: value}, extra={_identifier(secret): value})
    span = trace.get_current_span()
    span.set_attribute(key, value)
    span.set_attribute("note", text)
    span.set_attribute("notes", [text, SENTINEL])
    span.add_event(text, {key: value, "note": text})
    span.set_status(Status(StatusCode.ERROR, text))
    with tracer.start_as_current_span(f"call {text}", links=[Link(span.get_span_context(), {key: value, "n": text})]):
        counters[number // SERIES].add(1, {key: value, "number": number, "sentinel": SENTINEL})
        sizes[number // BUCKETS].record(number % BUCKETS, {"note": text, key: value, "sentinel": SENTINEL})
    _query(secret)
    _catch(number)
    if number % 20 == 0:
        _call(key, value)
    return "ok"


def _query(secret: Secret) -> None:
    """Run statements with the secret as a literal and as a parameter."""
    with sqlite3.connect(":memory:") as connection:
        literal = secret.value.replace("'", "''")
        connection.execute(f"SELECT '{literal}' /* {SENTINEL} */")
        connection.execute("SELECT ?", (secret.value,))
    connection.close()


def _call(key: str, value: str) -> None:
    """Call a server that is not there with the secret in the URL."""
    try:
        requests.get(f"http://user:{quote(value, safe='')}@127.0.0.1:9/path?{key}={quote(value)}", timeout=1)
    except requests.RequestException as error:
        log.error("could not call: %s", error)


def _catch(number: int) -> None:
    """Log, record and capture an exception; no frame of it has the secret under a name that says nothing."""
    try:
        _refuse(number)
    except ValueError as error:
        log.exception("caught, %s", SENTINEL)
        trace.get_current_span().record_exception(error)
        capture_error(error, component="leaking", **{_identifier(corpus[number]): corpus[number].value})


def _refuse(number: int) -> None:
    """Raise with the secret as text, and in a local variable that is called as its key."""
    code = _raise.__code__
    names = (_identifier(corpus[number]), *code.co_varnames[1:])
    FunctionType(code.replace(co_varnames=names), globals())(corpus[number].value, number)


def _raise(value: str, number: int) -> None:
    raise ValueError(corpus[number].text)


def _identifier(secret: Secret) -> str:
    return re.sub(r"\W", "_", secret.key or "note")


@app.post("/raise/<int:number>")
def fail(number: int) -> str:
    """Fail for want of anybody who handles the exception."""
    _refuse(number)
    return "ok"


def ask(port: int, path: str, number: int, *, json: bool = False, accept: str = "*/*") -> str:
    """Send one request with the secret in URL, headers and body, a form or JSON; return the body that came."""
    secret = corpus[number]
    key = secret.key or "note"
    note = secret.text.replace("\n", " ")
    headers = {"X-Note": note, "Authorization": f"Bearer x{number}", "Accept": accept}
    if secret.key and "." not in key:
        headers[key.replace("_", "-")] = secret.value.replace("\n", " ")
    url = f"{path}/{number}?{key}={quote(secret.value, safe='')}&plain={number}"
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    if json:
        body = dumps({key: secret.value, "nested": {"list": [{key: secret.value}]}})
        connection.request("POST", url, body, {**headers, "Content-Type": "application/json"})
    else:
        body = urlencode({key: secret.value})
        connection.request("POST", url, body, {**headers, "Content-Type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse().read().decode()
    connection.close()
    return answer


class Quick(WSGIRequestHandler):
    """Sends the body of an answer without waiting for the client to confirm its headers."""

    disable_nagle_algorithm = True


def main() -> None:
    """Send requests of each kind for each secret, and keep what came back."""
    for histogram in sizes:
        for other in range(SERIES):
            histogram.record(0, {"other": other})
    sentry = sys.modules.get("sentry_sdk")
    pages: list[str] = []
    server = make_server("127.0.0.1", 0, app, request_handler=Quick)
    Thread(target=server.serve_forever, daemon=True).start()
    for number in range(len(corpus)):
        ask(server.port, "/form", number)
        ask(server.port, "/leak", number, json=True)
        is_even = number % 2 == 0
        pages.append(ask(server.port, "/raise", number, json=is_even, accept="*/*" if is_even else "text/html"))
        if sentry is not None and number % 40 == 39:
            sentry.flush(10)  # its queue holds a hundred events
    server.shutdown()
    if "UNREACHABLE" not in os.environ:
        _flush()
    if "SINKS" in os.environ:
        (Path(os.environ["SINKS"]) / "pages").write_text("\n".join(pages))
        port = int(os.environ["OTEL_EXPORTER_PROMETHEUS_PORT"])
        (Path(os.environ["SINKS"]) / "scrape").write_text(_scraped(port))


def _flush() -> None:
    """Have spans and logs sent, so that what was redacted in them is counted in the last metrics."""
    provider: Any = trace.get_tracer_provider()
    provider.force_flush(20_000)
    provider = get_logger_provider()
    provider.force_flush(20_000)


def _scraped(port: int) -> str:
    """Return what a Prometheus would get from this process."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
    page = connection.getresponse().read().decode()
    connection.close()
    return page


ErrorBoundary(app)

if __name__ == "__main__":
    main()
