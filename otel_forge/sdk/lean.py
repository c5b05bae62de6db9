"""The lean pipeline, put together from the settings: providers in front, delivery behind.

`build_lean` touches no globals and starts no thread but the one that collects metrics. Exporters that are
not OTLP over HTTP are upstream's or somebody else's; they are served by processors and readers of upstream.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource

from otel_forge.delivery.accounts import Accounts
from otel_forge.delivery.batch import Batch, Fragment
from otel_forge.delivery.courier import Courier
from otel_forge.delivery.fork import on_fork_in_child
from otel_forge.delivery.metrics import MetricPipeline, points_of
from otel_forge.delivery.pipeline import NOT_ENCODABLE, Pipeline
from otel_forge.delivery.sender import Sender
from otel_forge.guard import guard
from otel_forge.otlp.encode_logs import LogEncoder
from otel_forge.otlp.encode_metrics import MetricEncoder
from otel_forge.otlp.encode_spans import SpanEncoder
from otel_forge.otlp.envelope import EncodedResource, assemble
from otel_forge.otlp.report import EncodingReport
from otel_forge.sdk.bound import BoundMetrics
from otel_forge.sdk.current import suppress_in_this_thread
from otel_forge.sdk.ids import PrivateIds
from otel_forge.sdk.kinship import count_as_upstream
from otel_forge.sdk.limits import RecordLimits
from otel_forge.sdk.logger import LeanLoggerProvider
from otel_forge.sdk.meter import LeanMeterProvider
from otel_forge.sdk.reader import LeanMetricReader
from otel_forge.sdk.tracer import LeanTracerProvider
from otel_forge.settings import SIGNALS, Settings, Signal

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.metrics.view import View
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import Sampler

    from otel_forge.otlp.exporters import Exporter

_OURS = {"otlp", "otlp_proto_http"}
CLOSING_SHARE = 0.9
"""Of the time for exit: a pipeline that gives up then is still in time to say why."""

_INSTANCE, _PID = "service.instance.id", "process.pid"

Noticed = Callable[[str, str], object]  # address, reason


def others(settings: Settings, signal: Signal) -> tuple[str, ...]:
    """Return the exporters of `signal` that the lean pipeline does not replace: all but OTLP over HTTP."""
    grpc = settings.otlp[signal].protocol == "grpc"
    return tuple(
        name for name in settings.exporters[signal] if name.lower() not in _OURS or (name.lower() == "otlp" and grpc)
    )


def is_sent_by_us(settings: Settings, signal: Signal) -> bool:
    """Return whether `signal` goes out through the lean pipeline."""
    return len(others(settings, signal)) < len(settings.exporters[signal])


class Identity:
    """Who is speaking, as an object and as bytes; another one in a forked child."""

    def __init__(self, resource: Resource, *, keep_instance: bool, report: EncodingReport) -> None:
        self.resource = resource
        self._keep_instance = keep_instance
        self._report = report
        self._encoded: EncodedResource | None = None

    @property
    def encoded(self) -> EncodedResource:
        """The resource as bytes, made when first needed, on a delivery thread."""
        encoded = self._encoded
        if encoded is None:
            encoded = self._encoded = EncodedResource(self.resource, self._report)
        return encoded

    def become_child(self) -> None:
        """Take an instance id and process id of its own, where the parent has some; the user's own id stays."""
        changed: dict[str, Any] = {}
        if _INSTANCE in self.resource.attributes and not self._keep_instance:
            import uuid  # slow to import, and only a forked child needs it

            changed[_INSTANCE] = str(uuid.uuid4())
        if _PID in self.resource.attributes:
            changed[_PID] = os.getpid()
        if changed:
            self.resource = Resource({**self.resource.attributes, **changed}, self.resource.schema_url)
            self._encoded = None


@dataclass
class Lean:
    """What `build_lean` built."""

    tracer_provider: LeanTracerProvider
    meter_provider: LeanMeterProvider
    logger_provider: LeanLoggerProvider
    bound: BoundMetrics
    identity: Identity
    report: EncodingReport
    reader: LeanMetricReader | None = None
    pipelines: dict[Signal, Pipeline | MetricPipeline] = field(default_factory=dict)
    couriers: dict[Signal, Courier] = field(default_factory=dict)
    exit_timeout: float = 1.5

    @property
    def overflowed(self) -> Mapping[str, int]:
        """For each metric over its cardinality limit, how many measurements went to the series that is shared."""
        return self.bound.overflowed()

    def failure(self, signal: Signal) -> str:
        """Return why the last request of `signal` failed; empty if it did not."""
        return self.couriers[signal].failure if signal in self.couriers else ""

    @property
    def closers(self) -> Mapping[Signal, Callable[[], object]]:
        """How each signal is closed at exit: what is left is sent within the exit timeout."""
        return {
            "traces": self.tracer_provider.shutdown,
            "metrics": self._close_metrics,
            "logs": self.logger_provider.shutdown,
        }

    def _close_metrics(self) -> None:
        pipeline = self.pipelines.get("metrics")
        if pipeline is not None:
            pipeline.close(self.exit_timeout)
        self.meter_provider.shutdown(timeout_millis=self.exit_timeout * 1000)

    def force_flush(self, timeout: float) -> bool:
        """Deliver everything within `timeout` seconds, all signals at once; return whether all of it was taken."""
        millis = int(timeout * 1000)
        pipeline = self.pipelines.get("metrics")
        return _all_at_once(
            [
                lambda: self.tracer_provider.force_flush(millis),
                lambda: self.logger_provider.force_flush(millis),
                lambda: pipeline is None or pipeline.flush(timeout),
            ],
            timeout,
        )

    def shutdown(self, timeout: float) -> bool:
        """Deliver what is left within `timeout` seconds, all at once, and stop; return whether all of it was taken."""
        deadline = time.monotonic() + timeout
        done = _all_at_once([partial(pipeline.close, timeout) for pipeline in self.pipelines.values()], timeout)
        _all_at_once([partial(_done, close) for close in self.closers.values()], deadline - time.monotonic())
        return done

    def become_child(self) -> None:
        """Speak as a process of its own after a fork, and count its own metrics from zero."""
        with guard("settling in after a fork"):
            self.identity.become_child()
            self.tracer_provider.replace_resource(self.identity.resource)
            self.logger_provider.replace_resource(self.identity.resource)
            if self.reader is not None:
                self.reader.renew()


def build_lean(
    settings: Settings,
    resource: Resource,
    accounts: Accounts,
    noticed: Noticed = lambda address, reason: None,
    *,
    sampler: Sampler,
    id_generator: IdGenerator | None = None,
    other_exporters: Mapping[Signal, Sequence[Exporter]] | None = None,
    readers: Sequence[MetricReader] = (),
    views: Sequence[View] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Lean:
    """Return providers whose records go out as `settings` say; `noticed` is told of each request that fails.

    `other_exporters` are built by the caller for the names in `others`; without an `id_generator`, ids are random.
    `views` are upstream's, and apply to the application's instruments and to ours.
    """
    report = EncodingReport()
    identity = Identity(resource, keep_instance=_INSTANCE in settings.resource_attributes, report=report)
    build = _Builder(settings, accounts, noticed, identity, report, clock)
    couriers = {signal: build.courier(signal) for signal in SIGNALS if is_sent_by_us(settings, signal)}
    bound = BoundMetrics(
        temporality=settings.temporality,
        histogram_aggregation=settings.histogram_aggregation,
        exemplars=settings.exemplar_filter,  # type: ignore[arg-type]
        limit=settings.cardinality_limit,
        views=views,
    )
    lean = Lean(
        build.tracer_provider(couriers.get("traces"), sampler, id_generator),
        build.meter_provider(couriers.get("metrics"), bound, [*readers, *_periodic(settings, other_exporters)]),
        build.logger_provider(couriers.get("logs")),
        bound,
        identity,
        report,
        build.reader,
        build.pipelines,
        couriers,
        settings.exit_timeout * CLOSING_SHARE,
    )
    if other_exporters and any(other_exporters.values()):
        _add_others(lean, settings, other_exporters, accounts)
    on_fork_in_child(lean.become_child)
    count_as_upstream()
    return lean


class _Builder:
    """The parts that the signals have in common."""

    def __init__(
        self,
        settings: Settings,
        accounts: Accounts,
        noticed: Noticed,
        identity: Identity,
        report: EncodingReport,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._accounts = accounts
        self._noticed = noticed
        self._identity = identity
        self._report = report
        self._clock = clock
        self.reader: LeanMetricReader | None = None
        self.pipelines: dict[Signal, Pipeline | MetricPipeline] = {}

    def courier(self, signal: Signal) -> Courier:
        sender = Sender(self._settings.otlp[signal], clock=self._clock)
        return Courier(
            signal,
            sender,
            self._assemble,
            self._accounts,
            lambda reason: self._noticed(sender.address, reason),
            clock=self._clock,
        )

    def _assemble(self, batch: Batch) -> bytes:
        return assemble(self._identity.encoded, batch.by_scope())

    def tracer_provider(
        self, courier: Courier | None, sampler: Sampler, id_generator: IdGenerator | None
    ) -> LeanTracerProvider:
        settings = self._settings
        pipeline = self._records("traces", SpanEncoder(settings.limits, self._report).encode, courier)
        return LeanTracerProvider(
            _discard if pipeline is None else pipeline.append,
            self._identity.resource,
            sampler=sampler,
            id_generator=id_generator or PrivateIds(),
            limits=RecordLimits.of_spans(settings.limits),
            **_ways_out(pipeline, settings.exit_timeout * CLOSING_SHARE),
        )

    def logger_provider(self, courier: Courier | None) -> LeanLoggerProvider:
        settings = self._settings
        pipeline = self._records("logs", LogEncoder(settings.limits, self._report).encode, courier)
        return LeanLoggerProvider(
            None if pipeline is None else pipeline.append,
            self._identity.resource,
            limits=RecordLimits.of_log_records(settings.limits),
            **_ways_out(pipeline, settings.exit_timeout * CLOSING_SHARE),
        )

    def _records(self, signal: Signal, encode: Callable[[Any], bytes], courier: Courier | None) -> Pipeline | None:
        if courier is None:
            return None
        batch = self._settings.spans if signal == "traces" else self._settings.log_records
        pipeline = Pipeline(
            signal,
            encode,
            courier,
            self._accounts,
            batch,
            prepare_thread=suppress_in_this_thread,
            clock=self._clock,
        )
        self.pipelines[signal] = pipeline
        return pipeline

    def meter_provider(
        self, courier: Courier | None, bound: BoundMetrics, readers: Sequence[MetricReader]
    ) -> LeanMeterProvider:
        if courier is None:
            bound.close()
            return LeanMeterProvider(bound, self._identity.resource, readers=readers)
        pipeline = self._metrics(courier)
        self.reader = LeanMetricReader(bound, lambda: self._identity.resource)
        pipeline.start()
        return LeanMeterProvider(bound, self._identity.resource, readers=readers, flush=pipeline.flush)

    def _metrics(self, courier: Courier) -> MetricPipeline:
        settings = self._settings
        pipeline = MetricPipeline(
            self._collect,
            courier,
            self._accounts,
            interval=settings.metric_interval / 1000,
            collect_timeout=settings.metric_timeout / 1000,
            prepare_thread=suppress_in_this_thread,
            clock=self._clock,
        )
        self.pipelines["metrics"] = pipeline
        return pipeline

    def _collect(self, timeout: float) -> Sequence[Fragment]:
        """Return the metrics of this moment, encoded; what cannot be encoded is counted."""
        fragments: list[Fragment] = []
        if self.reader is None:
            return fragments
        with guard("collecting metrics"):
            encoder = MetricEncoder(self._report)
            for of_resource in self.reader.gather(timeout).resource_metrics:
                for of_scope in of_resource.scope_metrics:
                    for metric in of_scope.metrics:
                        fragments += self._fragments(encoder, of_scope.scope, metric)
        return fragments

    def _fragments(self, encoder: MetricEncoder, scope: Any, metric: Any) -> list[Fragment]:
        lost_before = encoder.lost
        encoded = encoder.encode(metric)
        points = points_of(metric)
        lost = points if not encoded else min(encoder.lost - lost_before, points)
        if lost:
            self._accounts.created("metrics", lost)
            self._accounts.dropped("metrics", NOT_ENCODABLE, lost)
        counts = [points - lost] + [0] * (len(encoded) - 1)
        return [(scope, data, items) for data, items in zip(encoded, counts, strict=False)]


def _ways_out(pipeline: Pipeline | None, exit_timeout: float) -> dict[str, Any]:
    if pipeline is None:
        return {}
    return {"flush": pipeline.flush, "close": lambda: pipeline.close(exit_timeout)}


def _discard(span: object) -> None:
    """Take a span of which nobody wants to know."""


def _periodic(settings: Settings, exporters: Mapping[Signal, Sequence[Exporter]] | None) -> list[MetricReader]:
    """Return upstream's readers for metric exporters that are not ours; only a provider made with them closes them."""
    others = (exporters or {}).get("metrics", ())
    if not others:
        return []
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    return [
        PeriodicExportingMetricReader(
            exporter.implementation,
            export_interval_millis=settings.metric_interval,
            export_timeout_millis=settings.metric_timeout,
        )
        for exporter in others
    ]


def _add_others(
    lean: Lean, settings: Settings, exporters: Mapping[Signal, Sequence[Exporter]], accounts: Accounts
) -> None:
    """Serve exporters of spans and log records that are not ours by upstream's processors."""
    from otel_forge.sdk.upstream import CountingLogRecordProcessor, CountingSpanProcessor

    for exporter in exporters.get("traces", ()):
        lean.tracer_provider.add_span_processor(CountingSpanProcessor(exporter, settings.spans, accounts))
    for exporter in exporters.get("logs", ()):
        lean.logger_provider.add_log_record_processor(
            CountingLogRecordProcessor(exporter, settings.log_records, accounts)
        )


def _done(close: Callable[[], object]) -> bool:
    close()
    return True


def _all_at_once(actions: Sequence[Callable[[], bool]], timeout: float) -> bool:
    """Run `actions` in threads; return whether all of them returned True within `timeout` seconds."""
    results: list[bool] = []
    threads = [Thread(target=lambda action=action: results.append(action()), daemon=True) for action in actions]
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
    return len(results) == len(actions) and all(results)


def without_ours(settings: Settings) -> Settings:
    """Return `settings` with only those exporters left that the caller of `build_lean` has to build."""
    return replace(settings, exporters={signal: others(settings, signal) for signal in SIGNALS})
