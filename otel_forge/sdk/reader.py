"""The metric reader of the lean pipeline: what the storage holds, in the shape that encoders take."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

from opentelemetry.sdk.metrics.export import Metric, MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource

from otel_forge.sdk.streams import MetricStorage


class LeanMetricReader:
    """Collects when told to, one caller at a time."""

    def __init__(self, storage: MetricStorage, resource: Callable[[], Resource]) -> None:
        self._storage = storage
        self._resource = resource
        self._lock = Lock()

    def gather(self, timeout: float) -> MetricsData:
        """Return all metrics of this moment; callbacks of the application may take `timeout` seconds in all."""
        with self._lock:
            return grouped(self._storage.collect(timeout), self._resource())

    def renew(self) -> None:
        """Give up a lock that a forked child may have inherited taken."""
        self._lock = Lock()


def grouped(metrics: Iterable[tuple[Any, Metric]], resource: Resource) -> MetricsData:
    """Return `metrics`, each given with its scope, by scope."""
    groups: dict[Any, list[Metric]] = {}
    for scope, metric in metrics:
        groups.setdefault(scope, []).append(metric)
    scopes = [ScopeMetrics(scope, found, scope.schema_url or "") for scope, found in groups.items()]
    return MetricsData([ResourceMetrics(resource, scopes, resource.schema_url or "")] if scopes else [])
