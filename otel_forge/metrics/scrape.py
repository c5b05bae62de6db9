"""A scrape endpoint for Prometheus: ``OTEL_METRICS_EXPORTER=otlp,prometheus``.

Each process serves its own metrics at ``http://<host>:<port>/metrics``. The first takes the port of
``OTEL_EXPORTER_PROMETHEUS_PORT`` (9464), further workers of the same service the next free ones, and a
forked worker opens an endpoint of its own instead of sharing its parent's.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard
from otel_forge.redaction import policy

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader

PORTS_TRIED = 32
_PORT_IN_USE = {errno.EADDRINUSE, errno.EACCES}


def build_scrape_reader(host: str, port: int, complain: Callable[[str], None]) -> MetricReader | None:
    """Return a reader whose metrics are served from `host` at the first free port from `port` on.

    Without the package for it, that is said in one line and None returned.
    """
    from otel_forge.otlp.redacted_export import redacted_metrics

    try:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
    except ImportError:
        complain(
            "OTEL_METRICS_EXPORTER='prometheus' needs a package that is not installed: "
            "pip install 'otel-forge[prometheus]'."
        )
        return None
    _ScrapeEndpoint(host, port, complain).open()

    class RedactingReader(PrometheusMetricReader):
        """Upstream's reader, which is shown what the policy lets through."""

        def _receive_metrics(self, metrics_data: Any, timeout_millis: float = 10_000, **kwargs: Any) -> None:
            current = policy()
            if metrics_data is not None and current.enabled:
                metrics_data = redacted_metrics(metrics_data, current)
            super()._receive_metrics(metrics_data, timeout_millis, **kwargs)

    return RedactingReader()


class _ScrapeEndpoint:
    """One HTTP server for the metrics of this process, opened again in a forked child."""

    def __init__(self, host: str, port: int, complain: Callable[[str], None]) -> None:
        self._host = host
        self._port = port
        self._complain = complain
        self._close_inherited: Callable[[], None] = lambda: None
        on_fork_in_child(lambda: self._reopen())  # nobody else keeps this object

    def _reopen(self) -> None:
        with guard("opening the scrape endpoint of a forked worker"):
            self._close_inherited()
            self.open()

    def open(self) -> None:
        """Serve on the first free port; if none of them is free, say so."""
        from prometheus_client import start_http_server

        for port in range(self._port, self._port + PORTS_TRIED):
            try:
                server, _ = start_http_server(port, addr=self._host)
            except OSError as error:
                if error.errno in _PORT_IN_USE:
                    continue
                self._complain(
                    f"OTEL_EXPORTER_PROMETHEUS_HOST={self._host!r} cannot be listened on ({error.strerror})."
                )
                return
            self._close_inherited = server.server_close
            return
        last = self._port + PORTS_TRIED - 1
        self._complain(
            f"no port from {self._port} to {last} is free for the scrape endpoint (OTEL_EXPORTER_PROMETHEUS_PORT)."
        )
