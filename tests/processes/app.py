"""A web application whose requests are numbered, for every kind of server."""

from __future__ import annotations

import logging
import os
import sys
import time

from flask import Flask
from opentelemetry import metrics, trace

from tests.numbered import NUMBER

logging.getLogger().addHandler(logging.StreamHandler(sys.stderr))
app = Flask("numbered")
tracer, log, meter = trace.get_tracer("numbered"), logging.getLogger("numbered"), metrics.get_meter("numbered")
requests = meter.create_counter("test.requests")
meter.create_counter("test.imports").add(1)
print("the application is imported", file=sys.stderr, flush=True)


@app.get("/number/<int:number>")
def numbered(number: int) -> str:
    """Make a span, a log record and a count with that number; answer with the process id."""
    with tracer.start_as_current_span("numbered", attributes={NUMBER: number}):
        log.warning("number %d", number, extra={NUMBER: number})
    requests.add(1)
    return str(os.getpid())


@app.get("/hang")
def hang() -> str:
    """Take longer than any server allows."""
    time.sleep(60)
    return "too late"
