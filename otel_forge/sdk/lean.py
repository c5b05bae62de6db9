"""The lean pipeline, put together from the settings: providers in front, delivery behind.

`build_lean` touches no globals and starts no thread but the one that collects metrics. Exporters that are
not OTLP over HTTP are upstream's or somebody else's; they are served by processors and readers of upstream.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource

from otel_forge.delivery.accounts import Accounts
from otel_forge.delivery.batch import Fragment, Packer
from otel_forge.delivery.courier import Courier
from otel_forge.delivery.grpc import GrpcSender
from otel_forge.delivery.metrics import MetricPipeline, points_of
from otel_forge.delivery.outbox import Outbox
from otel_forge.delivery.parallel import all_at_once
from otel_forge.delivery.patience import SLICE
from otel_forge.delivery.pipeline import Pipeline
from otel_forge.delivery.sender import Sender
from otel_forge.delivery.spool import Quota, Slot, Spool, SpoolDirectory
from otel_forge.delivery.status import StatusFile, described
from otel_forge.delivery.timing import TimedSender
from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard
from otel_forge.notices import Once, notice
from otel_forge.otlp.encode_logs import LogEncoder
from otel_forge.otlp.encode_metrics import MetricEncoder
from otel_forge.otlp.encode_spans import SpanEncoder
from otel_forge.otlp.envelope import EncodedResource, assemble_fragments
from otel_forge.otlp.report import EncodingReport
from otel_forge.resource import generated_instance_id
from otel_forge.sdk.bound import BoundMetrics
from otel_forge.sdk.current import suppress_in_this_thread
from otel_forge.sdk.ids import PrivateIds
from otel_forge.sdk.kinship import count_as_upstream
from otel_forge.sdk.limits import RecordLimits
from otel_forge.sdk.logger import LeanLoggerProvider
from otel_forge.sdk.meter import LeanMeterProvider
from otel_forge.sdk.reader import LeanMetricReader
from otel_forge.sdk.self_metrics import SCOPE, SelfMetrics
from otel_forge.sdk.started import StartedSpans
from otel_forge.sdk.tracer import LeanTracerProvider
from otel_forge.settings import SIGNALS, Settings, Signal
from otel_forge.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.metrics.view import View
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import Sampler

    from otel_forge.otlp.exporters import Exporter

_OURS = {"otlp", "otlp_proto_http", "otlp_proto_grpc"}
CLOSING_SHARE = 0.9
"""Of the time for exit: a pipeline that gives up then is still in time to say why."""

MOST_POINTS = 1 << 20
"""Metric points in one request; their number is bounded by its bytes."""

_INSTANCE, _PID = "service.instance.id", "process.pid"

Noticed = Callable[[str, str], object]  # address, reason
Over = Callable[[str, Mapping[Signal, int]], object]  # address, items that were kept and are delivered

_ERROR_STATUS, _ERROR_SEVERITY = 2, 17
_status, _severity = attrgetter("status_code"), attrgetter("severity_number")
_SLICE_WHEN_DURABLE = 0.01
"""Seconds at a time that a delivery thread waits for the back end, where request threads wait for it."""


def others(settings: Settings, signal: Signal) -> tuple[str, ...]:
    """Return the exporters of `signal` that the lean pipeline does not replace: all but OTLP, over gRPC if it is there.

    Where OTLP is to be spoken both ways, it replaces the first.
    """
    names = settings.exporters[signal]
    ours = [name for name in names if _is_ours(settings, signal, name)]
    first = bool(ours) and _is_over_grpc(settings, signal, ours[0])
    return tuple(name for name in names if name not in ours or _is_over_grpc(settings, signal, name) is not first)


def _is_ours(settings: Settings, signal: Signal, name: str) -> bool:
    return name.lower() in _OURS and (not _is_over_grpc(settings, signal, name) or find_spec("grpc") is not None)


def _is_over_grpc(settings: Settings, signal: Signal, name: str) -> bool:
    kind = name.lower()
    return kind == "otlp_proto_grpc" or (kind == "otlp" and settings.otlp[signal].protocol == "grpc")


def is_sent_by_us(settings: Settings, signal: Signal) -> bool:
    """Return whether `signal` goes out through the lean pipeline."""
    return len(others(settings, signal)) < len(settings.exporters[signal])


class Identity:
    """Who is speaking, as an object and as bytes; another one in a forked child.

    An instance id that the SDK made up gives way to that of the process's `slot`; any other stays.
    """

    def __init__(self, resource: Resource, slot: Slot, report: EncodingReport) -> None:
        self.resource = resource
        self._slot = slot
        self._has_slot = resource.attributes.get(_INSTANCE) == generated_instance_id()
        self._report = report
        self._encoded: EncodedResource | None = None
        if self._has_slot:
            self._change({_INSTANCE: slot.instance_id()})

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
        self._slot.become_child()
        if self._has_slot:
            changed[_INSTANCE] = self._slot.instance_id()
        if _PID in self.resource.attributes:
            changed[_PID] = os.getpid()
        if changed:
            self._change(changed)

    def leave(self) -> None:
        """Let another process have the instance id."""
        self._slot.leave()

    def _change(self, changed: Mapping[str, Any]) -> None:
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
    outboxes: dict[Signal, Outbox] = field(default_factory=dict)
    exit_timeout: float = 1.5

    @property
    def overflowed(self) -> Mapping[str, int]:
        """For each metric over its cardinality limit, how many measurements went to the series that is shared."""
        return self.bound.overflowed()

    def failure(self, signal: Signal) -> str:
        """Return why the last request of `signal` failed; empty if it did not."""
        return self.couriers[signal].failure if signal in self.couriers else ""

    @property
    def place(self) -> str:
        """The directory in which a closed pipeline has left what could not be delivered; empty if there is none."""
        return next((outbox.place for outbox in self.outboxes.values() if outbox.place), "")

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
        return all_at_once(
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
        done = all_at_once([partial(pipeline.close, timeout) for pipeline in self.pipelines.values()], timeout)
        all_at_once([partial(_done, close) for close in self.closers.values()], deadline - time.monotonic())
        self.identity.leave()
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
    over: Over = lambda address, replayed: None,
    say: Callable[[str], object] = notice,
    views: Sequence[View] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Lean:
    """Return providers whose records go out as `settings` say.

    `noticed` is told of each request that fails, `over` when all signals are delivered again; `say` what the user must
    know of the spool.

    `other_exporters` are built by the caller for the names in `others`; without an `id_generator`, ids are random.
    `views` are upstream's, and apply to the application's instruments and to ours.
    """
    report = EncodingReport()
    directory = _spool_directory(settings, resource)
    identity = Identity(resource, Slot(directory), report)
    build = _Builder(settings, accounts, noticed, over, Once(say), directory, identity, report, clock)
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
        build.outboxes,
        settings.exit_timeout * CLOSING_SHARE,
    )
    if settings.self_metrics:
        build.started = lambda: lean.tracer_provider.started_spans
        nobody_else = not (lean.meter_provider.has_other_readers or views or settings.temporality == "delta")
        meter = lean.meter_provider.get_meter(SCOPE, VERSION)
        build.self_metrics.observe(meter, directly=nobody_else)
        lean.meter_provider.joined = partial(build.self_metrics.hand_over, meter)
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
        over: Over,
        say: Callable[[str], object],
        directory: SpoolDirectory | None,
        identity: Identity,
        report: EncodingReport,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._accounts = accounts
        self._noticed = noticed
        self._over = over
        self._say = say
        self._identity = identity
        self._report = report
        self._clock = clock
        self._quota = Quota(settings.spool.max_size)
        self._directory = directory
        self._durable = settings.spool.fsync == "always" and self._directory is not None
        self._replayed: dict[Signal, int] = {}
        self.reader: LeanMetricReader | None = None
        self.pipelines: dict[Signal, Pipeline | MetricPipeline] = {}
        self.outboxes: dict[Signal, Outbox] = {}
        self.couriers: dict[Signal, Courier] = {}
        self._status = StatusFile(self._directory, self._describe, clock=clock)
        self.started: Callable[[], StartedSpans] = StartedSpans
        self.self_metrics = SelfMetrics(
            accounts,
            settings,
            [signal for signal in SIGNALS if is_sent_by_us(settings, signal)],
            lambda: self.started(),
            oldest=lambda signal: self.outboxes[signal].oldest,
            clock=clock,
        )

    def courier(self, signal: Signal) -> Courier:
        sender = self._sender(signal)
        outbox = self.outboxes[signal] = self._outbox(signal)
        courier = self.couriers[signal] = Courier(
            sender,
            outbox,
            lambda reason: self._noticed(sender.address, reason),
            lambda items: self._recovered(sender.address, signal, items),
            clock=self._clock,
        )
        return courier

    def _describe(self) -> Mapping[str, Any]:
        """Return what `otel-forge status` shows of this process besides its pid and the time."""
        return described(
            str(self._identity.resource.attributes.get("service.name", "")),
            {signal: (courier.address, courier.failure) for signal, courier in self.couriers.items()},
            self._accounts.read(),
            {signal: outbox.oldest for signal, outbox in self.outboxes.items()},
        )

    def _sender(self, signal: Signal) -> TimedSender:
        at_a_time = _SLICE_WHEN_DURABLE if self._durable else SLICE
        otlp = self._settings.otlp[signal]
        own = set(self._settings.exporters[signal]) - set(others(self._settings, signal))
        sender: Sender | GrpcSender
        if any(_is_over_grpc(self._settings, signal, name) for name in own):
            sender = GrpcSender(otlp, signal, at_a_time=at_a_time, clock=self._clock)
        else:
            sender = Sender(otlp, at_a_time=at_a_time, clock=self._clock)
        return TimedSender(sender, partial(self.self_metrics.requested, signal), self._clock)

    def _outbox(self, signal: Signal) -> Outbox:
        batches = {"traces": self._settings.spans, "logs": self._settings.log_records}
        return Outbox(
            signal,
            self._accounts,
            self._spool(signal),
            max_items=batches[signal].max_export_batch_size if signal in batches else MOST_POINTS,
            newest_first=self._settings.spool.newest_first,
            say=self._say,
            clock=self._clock,
        )

    def _spool(self, signal: Signal) -> Spool | None:
        if self._directory is None:
            return None
        spool = self._settings.spool
        return Spool(
            self._directory, signal, quota=self._quota, max_age=spool.max_age, fsync=spool.fsync, clock=self._clock
        )

    def _recovered(self, address: str, signal: Signal, items: int) -> None:
        """Say that all is well again once that holds for all signals."""
        self._replayed[signal] = self._replayed.get(signal, 0) + items
        if not any(courier.is_catching_up for courier in self.couriers.values()):
            replayed, self._replayed = self._replayed, {}
            self._over(address, replayed)

    def _packer(self, signal: Signal) -> Packer:
        return Packer(signal, lambda fragments: assemble_fragments(self._identity.encoded, fragments))

    def tracer_provider(
        self, courier: Courier | None, sampler: Sampler, id_generator: IdGenerator | None
    ) -> LeanTracerProvider:
        settings = self._settings
        encode = SpanEncoder(settings.limits, self._report).encode
        pipeline = self._records("traces", encode, _has_failed_spans, courier)
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
        encode = LogEncoder(settings.limits, self._report).encode
        pipeline = self._records("logs", encode, _has_error_records, courier)
        return LeanLoggerProvider(
            None if pipeline is None else pipeline.append,
            self._identity.resource,
            limits=RecordLimits.of_log_records(settings.limits),
            **_ways_out(pipeline, settings.exit_timeout * CLOSING_SHARE),
        )

    def _records(
        self,
        signal: Signal,
        encode: Callable[[Any], bytes],
        has_errors: Callable[[Iterable[Any]], bool],
        courier: Courier | None,
    ) -> Pipeline | None:
        if courier is None:
            return None
        batch = self._settings.spans if signal == "traces" else self._settings.log_records
        pipeline = Pipeline(
            signal,
            encode,
            self._packer(signal),
            self.outboxes[signal],
            courier,
            self._accounts,
            batch,
            has_errors=has_errors,
            durable=self._durable,
            told=partial(self._status.told, signal),
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
            self._packer("metrics"),
            self.outboxes["metrics"],
            courier,
            self._accounts,
            interval=settings.metric_interval / 1000,
            collect_timeout=settings.metric_timeout / 1000,
            durable=self._durable,
            told=partial(self._status.told, "metrics"),
            prepare_thread=suppress_in_this_thread,
            clock=self._clock,
        )
        self.pipelines["metrics"] = pipeline
        return pipeline

    def _collect(self, timeout: float) -> tuple[Sequence[Fragment], int]:
        """Return the metrics of this moment, encoded, and how many points could not be."""
        fragments: list[Fragment] = []
        lost = 0
        if self.reader is None:
            return fragments, lost
        with guard("collecting metrics"):
            encoder = MetricEncoder(self._report)
            with self.self_metrics.collecting():
                gathered = self.reader.gather(timeout)
                fragments += self.self_metrics.collect()
            for of_resource in gathered.resource_metrics:
                for of_scope in of_resource.scope_metrics:
                    for metric in of_scope.metrics:
                        encoded, missing = _fragments(encoder, of_scope.scope, metric)
                        fragments += encoded
                        lost += missing
        return fragments, lost


def _fragments(encoder: MetricEncoder, scope: Any, metric: Any) -> tuple[list[Fragment], int]:
    """Return a metric encoded, and how many of its points could not be."""
    lost_before = encoder.lost
    encoded = encoder.encode(metric)
    points = points_of(metric)
    lost = points if not encoded else min(encoder.lost - lost_before, points)
    counts = [points - lost] + [0] * (len(encoded) - 1)
    return [(scope, data, items) for data, items in zip(encoded, counts, strict=False)], lost


def _spool_directory(settings: Settings, resource: Resource) -> SpoolDirectory | None:
    """Return where this service keeps what can't be delivered; None where that is memory only."""
    if settings.spool.folder is None:
        return None
    return SpoolDirectory(settings.spool.folder, str(resource.attributes.get("service.name", "")))


def _has_failed_spans(spans: Iterable[Any]) -> bool:
    return _ERROR_STATUS in map(_status, spans)


def _has_error_records(records: Iterable[Any]) -> bool:
    return max(map(_severity, records), default=0) >= _ERROR_SEVERITY


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


def without_ours(settings: Settings) -> Settings:
    """Return `settings` with only those exporters left that the caller of `build_lean` has to build."""
    return replace(settings, exporters={signal: others(settings, signal) for signal in SIGNALS})
