"""The upstream pipeline: providers of the OpenTelemetry SDK, built from their public constructors.

Nothing here reads the environment, touches a global or starts before it is asked to; every processor
keeps the accounts of what passed through it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.sdk._logs import LoggerProvider, LogRecordLimits, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    ExemplarFilter,
    MeterProvider,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics.export import MetricReader, MetricsData, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Sampler

from otel_forge.delivery.accounts import Accounts
from otel_forge.delivery.outage import Outage
from otel_forge.otlp.exporters import Exporter
from otel_forge.settings import BatchSettings, Limits, Settings, Signal

_EXEMPLAR_FILTERS: dict[str, Callable[[], ExemplarFilter]] = {
    "trace_based": TraceBasedExemplarFilter,
    "always_on": AlwaysOnExemplarFilter,
    "always_off": AlwaysOffExemplarFilter,
}


class CountingSpanProcessor(BatchSpanProcessor):
    """A batch processor that counts the spans it is given."""

    def __init__(self, exporter: Exporter, batch: BatchSettings, accounts: Accounts) -> None:
        super().__init__(
            exporter.implementation,
            max_queue_size=batch.max_queue_size,
            schedule_delay_millis=batch.schedule_delay,
            max_export_batch_size=batch.max_export_batch_size,
            export_timeout_millis=batch.export_timeout,
        )
        self._count = accounts.created if exporter.is_remote else _count_nothing

    def on_end(self, span: ReadableSpan) -> None:
        """Count a sampled span and queue it."""
        if span.context and span.context.trace_flags.sampled:
            self._count("traces")
        super().on_end(span)


class CountingLogRecordProcessor(BatchLogRecordProcessor):
    """A batch processor that counts the log records it is given."""

    def __init__(self, exporter: Exporter, batch: BatchSettings, accounts: Accounts) -> None:
        super().__init__(
            exporter.implementation,
            max_queue_size=batch.max_queue_size,
            schedule_delay_millis=batch.schedule_delay,
            max_export_batch_size=batch.max_export_batch_size,
            export_timeout_millis=batch.export_timeout,
        )
        self._count = accounts.created if exporter.is_remote else _count_nothing

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Count a log record and queue it."""
        self._count("logs")
        super().on_emit(log_record)


def _count_nothing(signal: Signal, items: int = 1) -> None:
    """Count nothing: what is printed on the console can't be lost on the way."""


def build_tracer_provider(
    settings: Settings,
    resource: Resource,
    exporters: Sequence[Exporter],
    accounts: Accounts,
    *,
    sampler: Sampler,
    id_generator: IdGenerator,
) -> TracerProvider:
    """Return a tracer provider that sends to `exporters`; it starts a thread for each and no exit hook."""
    provider = TracerProvider(
        sampler=sampler,
        resource=resource,
        shutdown_on_exit=False,
        id_generator=id_generator,
        span_limits=_span_limits(settings.limits),
    )
    for exporter in exporters:
        provider.add_span_processor(CountingSpanProcessor(exporter, settings.spans, accounts))
    return provider


def build_logger_provider(
    settings: Settings, resource: Resource, exporters: Sequence[Exporter], accounts: Accounts
) -> LoggerProvider:
    """Return a logger provider that sends to `exporters`; it starts a thread for each and no exit hook."""
    limits = LogRecordLimits(
        max_log_record_attributes=settings.limits.log_attributes,
        max_log_record_attribute_length=_or_unset(settings.limits.log_attribute_length),
    )
    provider = LoggerProvider(resource=resource, shutdown_on_exit=False, log_record_limits=limits)
    for exporter in exporters:
        provider.add_log_record_processor(CountingLogRecordProcessor(exporter, settings.log_records, accounts))
    return provider


def build_meter_provider(
    settings: Settings, resource: Resource, exporters: Sequence[Exporter], readers: Sequence[MetricReader]
) -> MeterProvider:
    """Return a meter provider that sends to `exporters` at the settings' interval and serves `readers`."""
    periodic = [
        PeriodicExportingMetricReader(
            exporter.implementation,
            export_interval_millis=settings.metric_interval,
            export_timeout_millis=settings.metric_timeout,
        )
        for exporter in exporters
    ]
    return MeterProvider(
        metric_readers=[*periodic, *readers],
        resource=resource,
        exemplar_filter=_EXEMPLAR_FILTERS[settings.exemplar_filter](),
        shutdown_on_exit=False,
    )


def keep_accounts(
    exporter: Exporter, signal: Signal, accounts: Accounts, outage: Outage, *, cumulative: bool = True
) -> None:
    """Make `exporter` book every send: what arrived as delivered, the rest as failed and told to `outage`.

    Metrics of `cumulative` temporality are sent again as a whole next time, so a failed send of them loses nothing:
    its points wait until the next one.
    """
    export: Callable[..., Any] = exporter.implementation.export
    points = _Points(accounts, cumulative) if signal == "metrics" else None

    def booked(batch: Any, *args: Any, **kwargs: Any) -> Any:
        items = _count(batch)
        if points:
            points.collected(items)
        try:
            result = export(batch, *args, **kwargs)
        except Exception as error:
            fail(items)
            outage.noticed(exporter.address, type(error).__name__)
            raise
        if result.name == "SUCCESS":
            accounts.delivered(signal, items)
            if points:
                points.waiting = 0
        else:
            fail(items)
            outage.noticed(exporter.address, exporter.failure())
        return result

    def fail(items: int) -> None:
        if not (points and cumulative):
            accounts.failed(signal, items)

    exporter.implementation.export = booked


class _Points:
    """Metric points on their way; of cumulative ones those that failed before are part of those collected now."""

    def __init__(self, accounts: Accounts, cumulative: bool) -> None:
        self._accounts = accounts
        self._cumulative = cumulative
        self.waiting = 0

    def collected(self, items: int) -> None:
        self._accounts.created("metrics", items - self.waiting)
        self.waiting = items if self._cumulative else 0


def _count(batch: Any) -> int:
    """Return the items of a batch: spans or log records of a sequence, data points of metrics."""
    if not isinstance(batch, MetricsData):
        return len(batch)
    return sum(
        len(metric.data.data_points)
        for of_resource in batch.resource_metrics
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
    )


def _span_limits(limits: Limits) -> SpanLimits:
    return SpanLimits(
        max_attributes=limits.span_attributes,
        max_events=limits.events,
        max_links=limits.links,
        max_span_attributes=limits.span_attributes,
        max_event_attributes=limits.event_attributes,
        max_link_attributes=limits.link_attributes,
        max_attribute_length=_or_unset(limits.span_attribute_length),
        max_span_attribute_length=_or_unset(limits.span_attribute_length),
    )


def _or_unset(limit: int | None) -> int:
    return SpanLimits.UNSET if limit is None else limit
