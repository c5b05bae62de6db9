"""The same app with a line for each request: ours by our own request log, others' as people write it by hand."""

from __future__ import annotations

import logging
import time
from importlib.util import find_spec
from typing import Any

from flask import Flask, Response, g, request

_log = logging.getLogger("requests")


def add_request_log(app: Flask) -> Flask:
    """Log the requests of `app`, in the way of the product that is installed; not at all if none is."""
    if find_spec("otel_forge") is not None:
        from otel_forge import RequestLog

        RequestLog(app)
    elif find_spec("opentelemetry") is not None:
        _log_by_hand(app)
    return app


def _log_by_hand(app: Flask) -> None:
    @app.before_request
    def begin() -> None:
        g.begun = time.perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.perf_counter() - g.begun
        route = request.url_rule.rule if request.url_rule else "(no route)"
        fields: dict[str, Any] = {
            "http.request.method": request.method,
            "http.route": route,
            "http.response.status_code": response.status_code,
            "http.server.request.duration": round(seconds, 6),
            "http.response.body.size": response.calculate_content_length(),
            "client.address": request.remote_addr,
            "user_agent.original": request.user_agent.string,
        }
        _log.info("%s %s %d %.1f ms", request.method, route, response.status_code, seconds * 1000, extra=fields)
        return response
