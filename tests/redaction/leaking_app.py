"""A Flask app that puts the corpus' secrets wherever an app can, and the requests that make it do so."""

from __future__ import annotations

import logging
import sqlite3
from typing import Any
from urllib.parse import quote

import requests
from flask import Flask, request
from opentelemetry import metrics, trace
from opentelemetry._logs import get_logger_provider
from opentelemetry.trace import Link, Status, StatusCode

from tests.corpus import Secret, secrets

app = Flask("leaking")
log = logging.getLogger("leaking")
log.setLevel(logging.DEBUG)
tracer = trace.get_tracer("leaking")
meter = metrics.get_meter("leaking")
counter = meter.create_counter("leaks")
histogram = meter.create_histogram("leak.sizes")
corpus = secrets()


@app.post("/leak/<int:number>")
def leak(number: int) -> str:
    """Leak one secret in every way but by raising."""
    secret = corpus[number]
    key, value, text = secret.key or "note", secret.value, secret.text
    log.info("form %s json %s", request.form, request.get_json(silent=True))
    log.info("headers %s", dict(request.headers))
    log.info(text)
    log.warning("arguments: %s %r", text, {key: value}, extra={key.replace("-", "_").replace(".", "_"): value})
    span = trace.get_current_span()
    span.set_attribute(key, value)
    span.set_attribute("note", text)
    span.set_attribute("notes", [text, "harmless"])
    span.add_event(text, {key: value, "note": text})
    span.set_status(Status(StatusCode.ERROR, text))
    with tracer.start_as_current_span(f"call {text}", links=[Link(span.get_span_context(), {key: value, "n": text})]):
        counter.add(1, {key: value, "number": number})
        histogram.record(number, {"note": text, "number": number})
    _query(secret)
    try:
        raise ValueError(text)
    except ValueError as error:
        log.exception("caught")
        span.record_exception(error)
    if number % 20 == 0:
        _call(key, value)
    return "ok"


def _query(secret: Secret) -> None:
    """Run statements with the secret as a literal and as a parameter."""
    with sqlite3.connect(":memory:") as connection:
        literal = secret.value.replace("'", "''")
        connection.execute(f"SELECT '{literal}' /* harmless */")
        connection.execute("SELECT ?", (secret.value,))
    connection.close()


def _call(key: str, value: str) -> None:
    """Call a server that is not there with the secret in the URL."""
    try:
        requests.get(f"http://user:{quote(value, safe='')}@127.0.0.1:9/path?{key}={quote(value)}", timeout=1)
    except requests.RequestException as error:
        log.error("could not call: %s", error)


@app.get("/raise/<int:number>")
def fail(number: int) -> str:
    """Raise an exception that tells the secret."""
    raise ValueError(corpus[number].text)


def main() -> None:
    """Send a request of each kind for each secret."""
    client = app.test_client()
    for number, secret in enumerate(corpus):
        key = secret.key or "note"
        one_line = secret.value.replace("\n", " ")
        note = secret.text.replace("\n", " ")
        headers: dict[str, Any] = {"Authorization": f"Bearer x{number}", "X-Note": note}
        if secret.key and "." not in key:
            headers[key.replace("_", "-")] = one_line
        url = f"/leak/{number}?{key}={quote(secret.value, safe='')}&plain={number}"
        client.post(url, headers=headers, data={key: secret.value})
        client.post(url, headers=headers, json={key: secret.value, "nested": {"list": [{key: secret.value}]}})
        client.get(f"/raise/{number}?{key}={quote(secret.value)}")
    provider: Any = trace.get_tracer_provider()
    provider.force_flush(20_000)  # so that what was redacted in spans is counted in the last metrics
    provider = get_logger_provider()
    provider.force_flush(20_000)


if __name__ == "__main__":
    main()
