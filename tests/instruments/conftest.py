"""A core that keeps everything in lists, and instruments that are taken off again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from otel_forge.instruments import Instrument, build_instrument
from otel_forge.instruments.core import Core
from otel_forge.sdk.bound import BoundMetrics
from otel_forge.sdk.logger import LeanLoggerProvider
from otel_forge.sdk.tracer import LeanTracerProvider


@dataclass
class Kept:
    """What was recorded."""

    spans: list[Any] = field(default_factory=list)
    logs: list[Any] = field(default_factory=list)
    bound: BoundMetrics = field(default_factory=BoundMetrics)

    def core(self, **options: Any) -> Core:
        """Return a core that records here; `options` are the tracer provider's."""
        resource = Resource({"service.name": "case"})
        return Core(
            LeanTracerProvider(self.spans.append, resource, **options),
            LeanLoggerProvider(self.logs.append, resource),
            self.bound,
        )

    @property
    def names(self) -> list[str]:
        """Names of the spans in order of their end."""
        return [span.name for span in self.spans]

    def points(self, name: str) -> list[Any]:
        """Return the points of the metric `name`."""
        return [point for _, metric in self.bound.collect() if metric.name == name for point in metric.data.data_points]


def attributes(span: Any) -> dict[str, Any]:
    """Return all attributes of a span, shared ones included."""
    return {**(span.fixed.mapping if span.fixed else {}), **span.attributes}


@pytest.fixture
def kept() -> Kept:
    """Lists for what is recorded."""
    return Kept()


Start = Callable[..., Instrument]


@pytest.fixture
def start(kept: Kept) -> Iterator[Start]:
    """Starts an instrument by name, with its options, recording in `kept`; all are taken off after the test."""
    started: list[Instrument] = []

    def begin(name: str, core: Core | None = None, **options: Any) -> Instrument:
        instrument = build_instrument(name, **options)
        instrument.instrument(core or kept.core())
        started.append(instrument)
        return instrument

    yield begin
    for instrument in reversed(started):
        instrument.uninstrument()
