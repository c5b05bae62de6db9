"""What an instrument needs of telemetry: where its spans, log records and measurements go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan

from otel_forge.sdk.bound import DEFAULT_BOUNDS
from otel_forge.sdk.current import SPAN_KEY
from otel_forge.sdk.logger import LeanLoggerProvider
from otel_forge.sdk.span import make_span_context
from otel_forge.sdk.tracer import LeanTracer, LeanTracerProvider
from otel_forge.version import VERSION


class HistogramCell(Protocol):
    """A histogram with its attributes; the ids name the span that an exemplar points to."""

    def record(
        self, value: float, trace_id: int = 0, span_id: int = 0, trace_flags: int = 0, time: int = 0
    ) -> None: ...


class SumCell(Protocol):
    """An up-down counter with its attributes."""

    def add(self, amount: int | float) -> None: ...


class BoundHistogram(Protocol):
    """A histogram that can be bound; the same attributes give a cell of the same series."""

    def bind(self, attributes: Mapping[str, Any]) -> HistogramCell: ...


class BoundCounter(Protocol):
    """An up-down counter that can be bound; the same attributes give a cell of the same series."""

    def bind(self, attributes: Mapping[str, Any]) -> SumCell: ...


class Metrics(Protocol):
    """Makes instruments that can be bound: `otel_forge.sdk.bound.BoundMetrics`, or `MeterMetrics`."""

    def histogram(
        self, name: str, unit: str, description: str, scope: Any, bounds: Sequence[float] = DEFAULT_BOUNDS
    ) -> BoundHistogram: ...
    def up_down_counter(self, name: str, unit: str, description: str, scope: Any) -> BoundCounter: ...


@dataclass(frozen=True)
class Core:
    """The lean core as instruments see it; `logger_provider` is None where log records go nowhere."""

    tracer_provider: LeanTracerProvider
    logger_provider: LeanLoggerProvider | None
    metrics: Metrics

    def tracer(self, library: str, schema_url: str) -> LeanTracer:
        """Return the tracer of the instrument for `library`."""
        return self.tracer_provider.get_tracer(scope_name(library), VERSION, schema_url)


def scope_name(library: str) -> str:
    """Return the name under which the instrument for `library` speaks."""
    return f"otel_forge.instruments.{library}"


def scope(library: str, schema_url: str) -> InstrumentationScope:
    """Return the scope of the measurements of the instrument for `library`."""
    return InstrumentationScope(scope_name(library), VERSION, schema_url)


class MeterMetrics:
    """Instruments of a meter provider in the shape of bound ones.

    For readers that collect from the provider alone (a Prometheus scrape endpoint, an exporter of others): slower,
    and seen by all of them.
    """

    def __init__(self, provider: MeterProvider) -> None:
        self._provider = provider

    def histogram(
        self, name: str, unit: str, description: str, scope: Any, bounds: Sequence[float] = DEFAULT_BOUNDS
    ) -> _MeterHistogram:
        """Return a histogram of the provider."""
        meter = self._provider.get_meter(scope.name, scope.version, scope.schema_url)
        return _MeterHistogram(
            meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=list(bounds))
        )

    def up_down_counter(self, name: str, unit: str, description: str, scope: Any) -> _MeterCounter:
        """Return an up-down counter of the provider."""
        meter = self._provider.get_meter(scope.name, scope.version, scope.schema_url)
        return _MeterCounter(meter.create_up_down_counter(name, unit, description))


class _MeterHistogram:
    def __init__(self, histogram: Any, attributes: Mapping[str, Any] | None = None) -> None:
        self._histogram = histogram
        self._attributes = attributes

    def bind(self, attributes: Mapping[str, Any]) -> _MeterHistogram:
        return _MeterHistogram(self._histogram, dict(attributes))

    def record(self, value: float, trace_id: int = 0, span_id: int = 0, trace_flags: int = 0, time: int = 0) -> None:
        span = NonRecordingSpan(make_span_context(trace_id, span_id, False, trace_flags, None)) if trace_id else None
        self._histogram.record(value, self._attributes, context=Context({SPAN_KEY: span} if span else {}))


class _MeterCounter:
    def __init__(self, counter: Any, attributes: Mapping[str, Any] | None = None) -> None:
        self._counter = counter
        self._attributes = attributes

    def bind(self, attributes: Mapping[str, Any]) -> _MeterCounter:
        return _MeterCounter(self._counter, dict(attributes))

    def add(self, amount: int | float) -> None:
        self._counter.add(amount, self._attributes)
