"""The metrics about telemetry itself: standard names, correct values, from a real pipeline to a real receiver."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_ON, Decision, Sampler, SamplingResult
from opentelemetry.semconv._incubating.attributes.otel_attributes import OtelComponentTypeValues
from opentelemetry.semconv._incubating.metrics import otel_metrics
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otel_forge.delivery.accounts import Accounts
from otel_forge.delivery.answers import Outcome, Verdict
from otel_forge.delivery.timing import TimedSender, error_type
from otel_forge.sdk.lean import Lean, build_lean
from otel_forge.settings import Settings
from tests.delivery.scripted import eventually
from tests.otlp_receiver import OtlpReceiver, free_port

Build = Callable[..., tuple[Lean, Accounts]]
SLOW = {
    "OTEL_BSP_SCHEDULE_DELAY": "60000",
    "OTEL_BLRP_SCHEDULE_DELAY": "60000",
    "OTEL_METRIC_EXPORT_INTERVAL": "1000000",
}


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Builds lean pipelines that send only when told to, and closes them."""
    built: list[Lean] = []

    def build_one(url: str, sampler: Sampler = DEFAULT_ON, **environ: str) -> Any:
        own = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_FORGE_SPOOL_DIR": str(tmp_path), **SLOW}
        accounts = Accounts()
        resource = Resource({"service.name": "lean"})
        built.append(build_lean(Settings.from_env({**own, **environ}), resource, accounts, sampler=sampler))
        return built[-1], accounts

    yield build_one
    for lean in built:
        lean.shutdown(1)


def points(receiver: OtlpReceiver, name: str, *, without: tuple[str, ...] = ()) -> dict[Any, float]:
    """Return the newest values of a metric by those attributes that tell its points apart."""
    dull = {"otel.component.name", "otel.component.type", "server.address", "server.port", *without}
    data = receiver.received.metrics()[name]
    return {
        tuple(attribute.value.string_value for attribute in point.attributes if attribute.key not in dull): (
            point.count if data.WhichOneof("data") == "histogram" else point.as_int or point.as_double
        )
        for point in getattr(data, str(data.WhichOneof("data"))).data_points
    }


def test_the_standard_metrics_have_their_names_kinds_and_units(receiver: OtlpReceiver, build: Build) -> None:
    """As the installed conventions define them; all those that apply are there."""
    lean, _ = build(receiver.url)
    lean.tracer_provider.get_tracer("t").start_span("s").end()
    assert lean.force_flush(10)
    assert lean.force_flush(10)  # the durations of the first
    sent = {name: metric for name, metric in receiver.received.metrics().items() if name.startswith("otel.sdk.")}
    made: dict[str, tuple[str, str]] = {}

    class Meter:
        def create_counter(self, name: str, description: str, unit: str) -> None:
            made[name] = ("counter", unit)

        def create_up_down_counter(self, name: str, description: str, unit: str) -> None:
            made[name] = ("level", unit)

        def create_histogram(self, name: str, description: str, unit: str) -> None:
            made[name] = ("histogram", unit)

    for name in dir(otel_metrics):
        if name.startswith("create_otel_sdk_") and not name.endswith("_count") and "ended" not in name:
            getattr(otel_metrics, name)(Meter())
    kinds = {
        name: ("histogram" if metric.HasField("histogram") else "counter" if metric.sum.is_monotonic else "level")
        for name, metric in sent.items()
    }
    assert {name: (kinds[name], metric.unit) for name, metric in sent.items()} == made


def test_every_component_type_is_a_known_one(receiver: OtlpReceiver, build: Build) -> None:
    """So that dashboards made for other SDKs work."""
    lean, _ = build(receiver.url)
    lean.force_flush(10)
    lean.force_flush(10)
    known = {value.value for value in OtelComponentTypeValues}
    seen = {
        attribute.value.string_value
        for metric in receiver.received.metrics().values()
        for point in getattr(metric, str(metric.WhichOneof("data"))).data_points
        for attribute in point.attributes
        if attribute.key == "otel.component.type"
    }
    assert seen <= known
    assert len(seen) == 6


@pytest.mark.gate
def test_failures_are_not_counted_as_exported(receiver: OtlpReceiver, build: Build) -> None:
    """What waits is in flight; what the back end has taken is exported, once."""
    lean, accounts = build(receiver.url, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"http://127.0.0.1:{free_port()}/v1/traces")
    tracer = lean.tracer_provider.get_tracer("t")
    for _ in range(3):
        tracer.start_span("s").end()
    assert not lean.force_flush(1)
    assert accounts.of("traces").held == 3
    lean.force_flush(1)
    assert points(receiver, "otel.sdk.exporter.span.exported") == {(): 0}
    assert points(receiver, "otel.sdk.exporter.span.inflight") == {(): 3}
    assert points(receiver, "otel.sdk.processor.span.processed") == {(): 3}
    durations = points(receiver, "otel.sdk.exporter.operation.duration", without=("http.response.status_code",))
    assert ("connection_refused",) in durations


@pytest.mark.gate
def test_what_is_dropped_is_counted_by_reason(receiver: OtlpReceiver, build: Build) -> None:
    """For want of room, and after the end; where the conventions have a word, it is theirs."""
    lean, accounts = build(receiver.url, OTEL_BSP_MAX_QUEUE_SIZE="10", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="10")
    tracer, logger = lean.tracer_provider.get_tracer("t"), lean.logger_provider.get_logger("l")
    lean.pipelines["traces"].close(5)
    for _ in range(4):
        tracer.start_span("late").end()
    logger.emit(body="hello")
    assert lean.force_flush(10) is False
    lean.pipelines["metrics"].flush(10)
    assert points(receiver, "otel.sdk.processor.span.processed") == {(): 0, ("already_shutdown",): 4}
    assert points(receiver, "otel_forge.dropped") == {("traces", "after_shutdown"): 4}
    assert points(receiver, "otel.sdk.log.created") == {(): 1}
    assert points(receiver, "otel.sdk.exporter.log.exported") == {(): 1}
    assert accounts.of("traces").dropped == {"after_shutdown": 4}


def test_spans_started_and_live(receiver: OtlpReceiver, build: Build) -> None:
    """By the sampler's word and where the parent is."""
    lean, _ = build(receiver.url)
    tracer = lean.tracer_provider.get_tracer("t")
    remote = set_span_in_context(NonRecordingSpan(SpanContext(1, 2, True, TraceFlags(1))))
    unsampled = set_span_in_context(NonRecordingSpan(SpanContext(1, 2, True, TraceFlags(0))))
    with tracer.start_as_current_span("root"):
        tracer.start_span("child").end()
    tracer.start_span("of another service", remote).end()
    tracer.start_span("of another service", unsampled).end()
    open_span = tracer.start_span("still open")
    assert lean.force_flush(10)
    sampled = "RECORD_AND_SAMPLE"
    assert points(receiver, "otel.sdk.span.started") == {
        ("none", sampled): 2,
        ("local", sampled): 1,
        ("remote", sampled): 1,
        ("remote", "DROP"): 1,
    }
    assert points(receiver, "otel.sdk.span.live") == {(sampled,): 1}
    open_span.end()
    assert lean.force_flush(10)
    assert points(receiver, "otel.sdk.span.live") == {(sampled,): 0}


def test_spans_that_are_dropped_by_the_sampler_are_started_all_the_same(receiver: OtlpReceiver, build: Build) -> None:
    """As the conventions demand."""
    lean, _ = build(receiver.url, ALWAYS_OFF)
    lean.tracer_provider.get_tracer("t").start_span("s").end()
    assert lean.force_flush(10)
    assert points(receiver, "otel.sdk.span.started") == {("none", "DROP"): 1}


class RecordOnly(Sampler):
    """Has spans recorded that are not sampled."""

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self) -> str:
        return "record only"


def test_spans_that_are_only_recorded(receiver: OtlpReceiver, build: Build) -> None:
    """They live, and are never exported."""
    lean, _ = build(receiver.url, RecordOnly())
    tracer = lean.tracer_provider.get_tracer("t")
    tracer.start_span("s").end()
    tracer.start_span("open")
    assert lean.force_flush(10)
    assert points(receiver, "otel.sdk.span.live") == {("RECORD_AND_SAMPLE",): 0, ("RECORD_ONLY",): 1}


def test_queue_and_capacity(receiver: OtlpReceiver, build: Build) -> None:
    """In records, of each signal."""
    lean, _ = build(receiver.url, OTEL_BSP_MAX_QUEUE_SIZE="1000")
    lean.force_flush(10)
    assert points(receiver, "otel.sdk.processor.span.queue.capacity") == {(): 1000}
    assert points(receiver, "otel.sdk.processor.log.queue.capacity") == {(): 2048}
    assert points(receiver, "otel.sdk.processor.span.queue.size") == {(): 0}


def test_the_spool_is_measured(receiver: OtlpReceiver, build: Build) -> None:
    """Items, bytes and age of what waits on disk."""
    lean, accounts = build(receiver.url, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"http://127.0.0.1:{free_port()}/v1/traces")
    lean.tracer_provider.get_tracer("t").start_span("s").end()

    def is_seen_on_disk() -> bool:
        lean.force_flush(1)  # the span can't be delivered; the metrics of this moment are
        return points(receiver, "otel_forge.spool.items").get(("traces",)) == 1

    eventually(is_seen_on_disk)
    assert accounts.of("traces").on_disk == 1
    assert points(receiver, "otel_forge.spool.size")[("traces",)] == accounts.of("traces").in_bytes.on_disk > 0
    assert points(receiver, "otel_forge.spool.age")[("traces",)] > 0
    assert points(receiver, "otel_forge.spool.age")[("logs",)] == 0


def test_a_forked_child_counts_from_zero(receiver: OtlpReceiver, build: Build) -> None:
    """Spans of the parent are the parent's."""
    lean, _ = build(receiver.url)
    tracer = lean.tracer_provider.get_tracer("t")
    for _ in range(5):
        tracer.start_span("of the parent").end()
    child = os.fork()
    if child == 0:
        tracer.start_span("of the child").end()
        os._exit(0 if lean.force_flush(10) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert points(receiver, "otel.sdk.span.started") == {("none", "RECORD_AND_SAMPLE"): 1}
    assert points(receiver, "otel.sdk.processor.span.processed")[()] <= 1


def test_they_can_be_turned_off(receiver: OtlpReceiver, build: Build) -> None:
    """By upstream's own variable."""
    lean, _ = build(receiver.url, OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED="false")
    lean.meter_provider.get_meter("m").create_counter("users").add(1)
    assert lean.force_flush(10)
    assert set(receiver.received.metrics()) == {"users"}


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome(Verdict.DELIVERED, status=200), ""),
        (Outcome(Verdict.DELIVERED, "quota", 200, rejected=1), "rejected"),
        (Outcome(Verdict.LATER, "HTTP 503 Service Unavailable", 503), "503"),
        (Outcome(Verdict.LATER, "gRPC UNAVAILABLE: try again"), "UNAVAILABLE"),
        (Outcome(Verdict.LATER, "timed out"), "timed_out"),
        (Outcome(Verdict.LATER, "something with 10.1.2.3 in it"), "_OTHER"),
    ],
)
def test_causes_of_failure_are_few_words(outcome: Outcome, expected: str) -> None:
    """No text of a server becomes a label."""
    assert error_type(outcome) == expected


def test_a_request_is_timed_whatever_comes_of_it() -> None:
    """With all that the sender is told passed on."""
    told: list[tuple[float, Outcome]] = []
    clock = iter([1.0, 3.5])

    class Sending:
        address = "http://x"

        def send(self, body: bytes, timeout: float | None = None, **how: Any) -> Outcome:
            return Outcome(Verdict.LATER, f"{body!r} {timeout} {how}")

        def close(self) -> None:
            told.clear()

    sender = TimedSender(Sending(), lambda seconds, outcome: told.append((seconds, outcome)), lambda: next(clock))
    outcome = sender.send(b"x", 2.0, ids=["a"])
    assert outcome == Outcome(Verdict.LATER, "b'x' 2.0 {'ids': ['a']}")
    assert told == [(2.5, outcome)]
    sender.close()
    assert told == []


def described(receiver: OtlpReceiver) -> dict[str, Any]:
    """Return of each metric but the durations all that is not a number or a time, and when the newest was made."""
    found = {}
    for name, metric in receiver.received.metrics().items():
        kind = metric.WhichOneof("data")
        if kind == "histogram":
            continue
        data = getattr(metric, str(kind))
        sum_of = (data.aggregation_temporality, data.is_monotonic) if kind == "sum" else None
        sets = sorted(str(list(point.attributes)) for point in data.data_points)
        times = {point.time_unix_nano for point in data.data_points}
        found[name] = (metric.unit, metric.description, kind, sum_of, sets), times
    return found


def test_they_are_the_same_when_somebody_else_reads_as_well(receiver: OtlpReceiver, build: Build) -> None:
    """Written directly, or collected as instruments from the moment that another reader is added."""
    lean, _ = build(receiver.url)
    lean.tracer_provider.get_tracer("t").start_span("s").end()
    assert lean.force_flush(10)
    directly = described(receiver)
    other = InMemoryMetricReader()
    lean.meter_provider.add_metric_reader(other)
    assert lean.force_flush(10)
    as_instruments = described(receiver)
    assert {name: told for name, (told, _) in directly.items()} == {
        name: told for name, (told, _) in as_instruments.items()
    }
    assert all(directly[name][1].isdisjoint(as_instruments[name][1]) for name in directly)
    data: Any = other.get_metrics_data()
    seen = {
        metric.name
        for of_resource in data.resource_metrics
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
    }
    assert set(directly) <= seen | {"otel_forge.dropped"}
