"""The HTTP session of the exporters: says why a request failed, and is never shared across a fork."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from otel_forge.fork import on_fork_in_child


class ExportSession(requests.Session):
    """A session that tells the reason of each failure in words and starts afresh in a forked child.

    A keep-alive connection that parent and child both write to corrupts the requests of both
    (open-telemetry/opentelemetry-python#4994), so the child gets new connection pools.
    """

    def __init__(self, on_failure: Callable[[str], None]) -> None:
        super().__init__()
        self.failure = ""
        self._on_failure = on_failure
        on_fork_in_child(self._forget_connections)

    def _forget_connections(self) -> None:
        self.mount("https://", HTTPAdapter())
        self.mount("http://", HTTPAdapter())

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """Send as `requests` does, with redirects off (a redirect of a POST would turn it into a GET)."""
        kwargs["allow_redirects"] = False
        try:
            response = super().request(method, url, *args, **kwargs)
        except requests.RequestException as error:
            self._note(_in_words(error))
            raise
        self._note("" if response.status_code < 300 else f"HTTP {response.status_code} {response.reason}".strip())
        return response

    def _note(self, failure: str) -> None:
        self.failure = failure
        if failure:
            self._on_failure(failure)


def _in_words(error: requests.RequestException) -> str:
    """Return what went wrong in a few words, without addresses of objects and nested exception names."""
    text = str(error)
    known = {
        "Connection refused": "connection refused",
        "Name or service not known": "unknown host",
        "nodename nor servname": "unknown host",
        "Temporary failure in name resolution": "name resolution failed",
        "timed out": "timed out",
        "CERTIFICATE_VERIFY_FAILED": "certificate not trusted",
        "WRONG_VERSION_NUMBER": "the other side does not speak TLS",
        "Connection reset": "connection reset",
        "BadStatusLine": "no HTTP answer; port 4317 speaks gRPC, 4318 HTTP (OTEL_EXPORTER_OTLP_PROTOCOL)",
        "Remote end closed": "connection closed by the other side",
        "No route to host": "no route to host",
        "Network is unreachable": "network unreachable",
    }
    return next((words for sign, words in known.items() if sign in text), type(error).__name__)
