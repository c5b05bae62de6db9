"""What the request log adds to a request, in CPU time: `python -m tests.web.measure_request_log`.

Apps take turns, a round each, in one process with the lean pipeline on, whose instruments see them all: bare, with the
request log whose events go to telemetry, with a limiter, and that one watched. CPU time is that of the whole
process, so the delivery thread is in it; what is sent is received in a process of its own.
"""

from __future__ import annotations

import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.test import EnvironBuilder

ROUNDS, REQUESTS = 40, 500
_SINK = """
import sys
from tests.otlp_receiver import OtlpReceiver
with OtlpReceiver() as receiver:
    receiver.keep = lambda path, body: None
    print(receiver.url, flush=True)
    sys.stdin.read()
"""


def main() -> None:
    """Print the medians."""
    sink = subprocess.Popen([sys.executable, "-c", _SINK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert sink.stdout is not None
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.stdout.readline().strip(),
        "OTEL_FORGE_STARTUP_LINE": "false",
        "OTEL_FORGE_SPOOL_DIR": "none",
        "OTEL_BLRP_MAX_QUEUE_SIZE": "100000",
        "OTEL_BSP_MAX_QUEUE_SIZE": "100000",
    }
    os.environ.update(environ)
    flush = _configure()
    calls = {name: _calling(build()) for name, build in _apps().items()}
    costs: dict[str, list[float]] = {name: [] for name in calls}
    for round_number in range(ROUNDS + 2):
        for name, call in calls.items():
            started = time.process_time()
            for _ in range(REQUESTS):
                call()
            flush()
            if round_number >= 2:
                costs[name].append((time.process_time() - started) / REQUESTS * 1e6)
    bare = statistics.median(costs["bare"])
    for name, values in costs.items():
        added = statistics.median(value - other for value, other in zip(values, costs["bare"], strict=True))
        print(f"{name:32s} {statistics.median(values):7.1f} us   added {added:6.1f} us   ({added / bare:5.1%})")
    sink.terminate()


def _configure() -> Callable[[], object]:
    from otel_forge import telemetry
    from otel_forge.instruments import build_instrument
    from otel_forge.settings import Settings

    pipeline = telemetry.configure(Settings.from_env(os.environ), argv=["measure"], folder=Path.cwd(), announce=False)
    assert pipeline.core is not None
    for name in ("flask", "logging"):
        build_instrument(name).instrument(pipeline.core)
    providers: list[Any] = [pipeline.providers["traces"], pipeline.providers["logs"]]
    return lambda: [provider.force_flush() for provider in providers]


def _apps() -> dict[str, Callable[[], Flask]]:
    from otel_forge.web.rate_limits import RateLimits
    from otel_forge.web.request_log import RequestLog
    from otel_forge.web.serving import serve  # noqa: F401 - imported before anything is measured

    logging.getLogger("flask-limiter").setLevel(logging.ERROR)

    def build(*, log: bool = False, limiter: bool = False, watched: bool = False) -> Flask:
        app = Flask("measured")
        app.add_url_rule("/assets/<int:id>", view_func=lambda id: "wood")
        if limiter:
            from flask_limiter import Limiter

            limits = Limiter(lambda: "me", app=app, default_limits=["1000000 per hour"], storage_uri="memory://")
            if watched:
                RateLimits(app, limits)
        if log:
            RequestLog(app)
        return app

    return {
        "bare": build,
        "request log": lambda: build(log=True),
        "limiter": lambda: build(limiter=True),
        "limiter, watched": lambda: build(limiter=True, watched=True),
        "limiter, watched, request log": lambda: build(limiter=True, watched=True, log=True),
    }


def _calling(app: Flask) -> Callable[[], None]:
    builder = EnvironBuilder("/assets/7", environ_base={"REMOTE_ADDR": "203.0.113.7", "HTTP_USER_AGENT": "curl/8.16.0"})
    environ = builder.get_environ()

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        """Take them."""

    def call() -> None:
        for _ in app(dict(environ), start_response):  # type: ignore[arg-type]
            pass

    return call


if __name__ == "__main__":
    main()
