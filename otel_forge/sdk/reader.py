"""The metric reader of the lean pipeline: upstream's metrics and the bound cells' in one collection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Metric,
    MetricReader,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.metrics.view import Aggregation, ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource

from otel_forge.sdk.bound import BoundMetrics

_CUMULATIVE, _DELTA = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA


class LeanMetricReader(MetricReader):
    """Collects when told to; what was collected goes to the caller, or to `deliver` when upstream asks for it."""

    def __init__(
        self,
        bound: BoundMetrics,
        resource: Callable[[], Resource],
        *,
        temporality: str = "cumulative",
        histogram_aggregation: str = "explicit_bucket_histogram",
        flush: Callable[[float], bool] = lambda seconds: True,
    ) -> None:
        super().__init__(
            preferred_temporality=preferred_temporality(temporality),
            preferred_aggregation=preferred_aggregation(histogram_aggregation),
        )
        self._bound = bound
        self._resource = resource
        self._flush = flush
        self._received: MetricsData | None = None
        self._lock = Lock()

    def gather(self, timeout: float) -> MetricsData:
        """Return all metrics of this moment; callbacks of the application may take `timeout` seconds in all."""
        with self._lock:
            self._received = None
            self.collect(timeout_millis=timeout * 1000)
            received, self._received = self._received, None
        return merged(received, self._bound.collect(), self._resource())

    def renew(self) -> None:
        """Give up a lock that a forked child may have inherited taken."""
        self._lock = Lock()

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        self._received = metrics_data

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Collect and deliver within the time; return whether everything was taken."""
        return self._flush(timeout_millis / 1000)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Do nothing: the pipeline behind is closed by whoever built it."""


def merged(data: MetricsData | None, extra: Iterable[tuple[Any, Metric]], resource: Resource) -> MetricsData:
    """Return `data` with the `extra` metrics in the scopes where they belong."""
    found = data.resource_metrics[0] if data is not None and data.resource_metrics else None
    groups: dict[Any, tuple[str, list[Metric]]] = {}
    for of_scope in found.scope_metrics if found else ():
        groups[of_scope.scope] = (of_scope.schema_url, list(of_scope.metrics))
    for scope, metric in extra:
        groups.setdefault(scope, (scope.schema_url or "", []))[1].append(metric)
    scopes = [ScopeMetrics(scope, metrics, schema_url) for scope, (schema_url, metrics) in groups.items()]
    if not scopes:
        return MetricsData([])
    return MetricsData([ResourceMetrics(resource, scopes, resource.schema_url or "")])


def preferred_temporality(preference: str) -> dict[type, AggregationTemporality]:
    """Return the temporality of each kind of instrument (specification: OTLP metric exporter)."""
    sometimes = _DELTA if preference in ("delta", "lowmemory") else _CUMULATIVE
    return {
        Counter: sometimes,
        Histogram: sometimes,
        ObservableCounter: _DELTA if preference == "delta" else _CUMULATIVE,
        UpDownCounter: _CUMULATIVE,
        ObservableUpDownCounter: _CUMULATIVE,
        ObservableGauge: _CUMULATIVE,
    }


def preferred_aggregation(histogram: str) -> dict[type, Aggregation]:
    """Return the aggregation of histograms where it is not the default."""
    if histogram == "base2_exponential_bucket_histogram":
        return {Histogram: ExponentialBucketHistogramAggregation()}
    return {}
