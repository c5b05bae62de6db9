"""What the tests of application metrics share: a registry of their own, and what arrives of what is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric

from otel_forge.metrics import observed, recording, refusals, registry
from otel_forge.sdk.meter import LeanMeterProvider
from otel_forge.sdk.streams import MetricStorage
from tests.sdk.pairs import RESOURCE
from tests.stack_config.conftest import bundle, engine, free_ports, start

__all__ = ["bundle", "engine", "free_ports", "start"]


class Recorded:
    """What is recorded, by either pipeline."""

    def __init__(self, provider: Any, collect: Callable[[], list[Metric]]) -> None:
        self.provider = provider
        self.meter = provider.get_meter("recorded")
        self._collect = collect

    def metrics(self) -> dict[str, Any]:
        """Collect, and return metrics by name."""
        return {metric.name: metric for metric in self._collect()}

    def points(self, name: str) -> list[Any]:
        """Collect, and return the points of a metric."""
        return list(self.metrics()[name].data.data_points)

    def values(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Collect, and return attributes and value of each point, or its sum."""
        return [
            (dict(point.attributes), getattr(point, "value", getattr(point, "sum", None)))
            for point in self.points(name)
        ]

    def refused(self) -> dict[str, int]:
        """Return how many measurements were refused, by reason."""
        return {attributes["reason"]: value for attributes, value in self.values(refusals.REFUSED)}


def lean(**options: Any) -> Recorded:
    """Return a lean provider and what it collects."""
    storage = MetricStorage(**options)
    return Recorded(LeanMeterProvider(storage, RESOURCE), lambda: [metric for _, metric in storage.collect()])


def upstream() -> Recorded:
    """Return a provider of the SDK and what it collects."""
    reader = InMemoryMetricReader()

    def collect() -> list[Metric]:
        data = reader.get_metrics_data()
        return [m for r in (data.resource_metrics if data else ()) for s in r.scope_metrics for m in s.metrics]

    return Recorded(MeterProvider([reader], shutdown_on_exit=False), collect)


Begin = Callable[[Recorded], Recorded]


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Makes all that is recorded in a test go to one provider, as if the process had begun with it."""
    begun: list[Recorded] = []

    def at(recorded: Recorded) -> Recorded:
        begun.append(recorded)
        refused = recorded.meter.create_counter(refusals.REFUSED)
        for place, name, value in (
            (registry, "meter", recorded.meter),
            (registry, "_metrics", {}),
            (registry, "_noted", set()),
            (registry, "_cap", None),
            (recording, "_known", {}),
            (observed, "_functions", {}),
            (refusals, "_counter", refused),
            (refusals, "_said", set()),
        ):
            monkeypatch.setattr(place, name, value)
        return recorded

    yield at
    for recorded in begun:
        recorded.provider.shutdown()


@pytest.fixture
def recorded(begin: Begin) -> Recorded:
    """What is recorded by the lean pipeline."""
    return begin(lean())
