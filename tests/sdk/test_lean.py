"""The lean pipeline as a whole, against a receiver that decodes what arrives."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import DEFAULT_ON

from otel_forge.delivery.accounts import Accounts
from otel_forge.otlp.exporters import CONSOLE, Exporter
from otel_forge.sdk import lean as lean_module
from otel_forge.sdk.lean import Lean, build_lean, is_sent_by_us, others
from otel_forge.settings import Settings
from tests.otlp_receiver import OtlpReceiver, refused_url

Build = Callable[..., tuple[Lean, Accounts, list[tuple[str, str]]]]


def apart(folder: Path) -> dict[str, str]:
    """Return settings under which only the test's own metrics arrive, and nothing is left for other tests."""
    return {"OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "false", "OTEL_FORGE_SPOOL_DIR": str(folder)}


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Builds lean pipelines and closes them."""
    built: list[Lean] = []

    def build_one(url: str, resource: Resource | None = None, **environ: str) -> Any:
        settings = Settings.from_env({"OTEL_EXPORTER_OTLP_ENDPOINT": url, **apart(tmp_path), **environ})
        accounts, failures = Accounts(), list[tuple[str, str]]()
        lean = build_lean(
            settings,
            resource or Resource({"service.name": "lean"}),
            accounts,
            lambda address, reason: failures.append((address, reason)),
            sampler=DEFAULT_ON,
        )
        built.append(lean)
        return lean, accounts, failures

    yield build_one
    for lean in built:
        lean.shutdown(1)


def use(lean: Lean) -> None:
    """Make one of everything."""
    tracer = lean.tracer_provider.get_tracer("t", "1")
    with tracer.start_as_current_span("request") as span:
        lean.logger_provider.get_logger("l").emit(body="hello")
        lean.meter_provider.get_meter("m").create_counter("users").add(1)
        context = span.get_span_context()
        histogram = lean.bound.histogram("duration", "s", "", tracer.instrumentation_scope)
        histogram.bind({"route": "/"}).record(0.1, context.trace_id, context.span_id, context.trace_flags)


def test_all_signals_arrive_and_the_accounts_say_so(receiver: OtlpReceiver, build: Build) -> None:
    """Flushing is true when the back end has everything."""
    lean, accounts, failures = build(receiver.url)
    use(lean)
    assert lean.force_flush(10)
    received = receiver.received
    assert [span.name for span in received.spans()] == ["request"]
    assert [record.body.string_value for record in received.logs()] == ["hello"]
    assert set(received.metrics()) == {"users", "duration"}
    span = received.spans()[0]
    assert received.logs()[0].trace_id == span.trace_id
    assert received.metrics()["duration"].histogram.data_points[0].exemplars[0].span_id == span.span_id
    assert {signal: (a.created, a.delivered, a.held, a.lost) for signal, a in accounts.read().items()} == {
        "traces": (1, 1, 0, 0),
        "metrics": (2, 2, 0, 0),
        "logs": (1, 1, 0, 0),
    }
    assert not failures


def test_flush_and_shutdown_are_honest_and_bounded_with_nobody_there(build: Build) -> None:
    """False, quickly; what could not be sent is held, and the reason is known."""
    url = refused_url()
    lean, accounts, failures = build(url)
    use(lean)
    assert not lean.force_flush(5)
    assert not lean.shutdown(5)
    assert accounts.read()["traces"].held == 1
    assert failures[0] == (url, "connection refused")
    assert lean.failure("traces") == "connection refused"


def test_a_forked_child_is_a_process_of_its_own(receiver: OtlpReceiver, build: Build) -> None:
    """Another instance id, its own records only, metrics from zero: those of the application as well."""
    resource = Resource({"service.name": "lean", "service.instance.id": "parent"})
    lean, _, _ = build(receiver.url, resource)
    counter = lean.meter_provider.get_meter("m").create_counter("users")
    counter.add(100)
    tracer = lean.tracer_provider.get_tracer("t")
    tracer.start_span("of the parent").end()
    child = os.fork()
    if child == 0:
        counter.add(1)
        tracer.start_span("of the child").end()
        os._exit(0 if lean.force_flush(10) else 1)
    assert os.waitpid(child, 0)[1] == 0
    points = receiver.received.metrics()["users"].sum.data_points
    assert [point.as_int for point in points] == [1]
    assert [span.name for span in receiver.received.spans()] == ["of the child"]
    assert receiver.received.resources()[0]["service.instance.id"] != "parent"
    assert lean.force_flush(10)
    assert {span.name for span in receiver.received.spans()} == {"of the child", "of the parent"}


def test_the_instance_id_of_the_user_stays_in_a_child(receiver: OtlpReceiver, build: Build) -> None:
    """Unlike with upstream, which replaces it by a random one."""
    resource = Resource({"service.name": "lean", "service.instance.id": "pod-7"})
    lean, _, _ = build(receiver.url, resource, OTEL_RESOURCE_ATTRIBUTES="service.instance.id=pod-7")
    child = os.fork()
    if child == 0:
        lean.tracer_provider.get_tracer("t").start_span("of the child").end()
        os._exit(0 if lean.force_flush(10) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert receiver.received.resources()[0]["service.instance.id"] == "pod-7"


def test_spans_of_32_threads_arrive_once_each(receiver: OtlpReceiver, build: Build) -> None:
    """R1: nothing is lost below the size of the queue, nothing arrives twice."""
    lean, accounts, _ = build(receiver.url, OTEL_BSP_MAX_QUEUE_SIZE="100000")
    tracer = lean.tracer_provider.get_tracer("t")

    def work() -> None:
        for _ in range(100):
            with tracer.start_as_current_span("parent"):
                tracer.start_span("child", attributes={"a": 1}).end()

    threads = [Thread(target=work) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lean.force_flush(20)
    spans = receiver.received.spans()
    assert len(spans) == len({span.span_id for span in spans}) == 6400 == accounts.read()["traces"].delivered
    parents = {span.span_id: span.trace_id for span in spans if span.name == "parent"}
    assert all(parents[span.parent_span_id] == span.trace_id for span in spans if span.name == "child")


def test_a_span_that_two_threads_end_arrives_once(receiver: OtlpReceiver, build: Build) -> None:
    """Whoever comes first."""
    lean, accounts, _ = build(receiver.url)
    tracer = lean.tracer_provider.get_tracer("t")
    for _ in range(50):
        span = tracer.start_span("contested")
        threads = [Thread(target=span.end) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert lean.force_flush(10)
    assert len(receiver.received.spans()) == accounts.read()["traces"].created == 50


def test_which_exporters_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTLP is, over gRPC as well where grpcio is installed; console and names of plugins are somebody else's."""
    settings = Settings.from_env(
        {
            "OTEL_TRACES_EXPORTER": "otlp,console",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc",
        }
    )
    assert (is_sent_by_us(settings, "traces"), others(settings, "traces")) == (True, ("console",))
    assert (is_sent_by_us(settings, "metrics"), others(settings, "metrics")) == (True, ())
    assert (is_sent_by_us(settings, "logs"), others(settings, "logs")) == (False, ())
    monkeypatch.setattr(lean_module, "find_spec", lambda name: None)
    assert (is_sent_by_us(settings, "metrics"), others(settings, "metrics")) == (False, ("otlp",))


@pytest.mark.parametrize(
    ("names", "theirs"),
    [
        ("otlp,otlp_proto_http", ()),
        ("otlp_proto_http,otlp_proto_grpc", ("otlp_proto_grpc",)),
        ("otlp_proto_grpc,otlp", ("otlp",)),
    ],
)
def test_of_several_ways_to_speak_otlp_the_first_is_ours(names: str, theirs: tuple[str, ...]) -> None:
    """And nothing is sent twice the same way."""
    assert others(Settings.from_env({"OTEL_TRACES_EXPORTER": names}), "traces") == theirs


def test_exporters_of_others_are_served() -> None:
    """Here upstream's console exporter, through upstream's processor."""
    settings = Settings.from_env({f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")})
    out = io.StringIO()
    console = Exporter(CONSOLE, ConsoleSpanExporter(out=out), "console", lambda: "")
    lean = build_lean(
        settings,
        Resource({"service.name": "lean"}),
        Accounts(),
        sampler=DEFAULT_ON,
        other_exporters={"traces": [console]},
    )
    lean.tracer_provider.get_tracer("t").start_span("printed").end()
    assert lean.force_flush(10)
    assert '"name": "printed"' in out.getvalue()
    assert lean.shutdown(10)


@pytest.mark.gate
def test_the_cardinality_limit_is_a_setting(receiver: OtlpReceiver, build: Build) -> None:
    """P5: so many series of an application's metric arrive, and one for the rest, which are counted."""
    lean, _, _ = build(receiver.url, OTEL_FORGE_METRIC_CARDINALITY_LIMIT="3")
    counter = lean.meter_provider.get_meter("m").create_counter("users")
    for number in range(10):
        counter.add(1, {"user": number})
    assert lean.force_flush(10)
    *kept, shared = receiver.received.metrics()["users"].sum.data_points
    assert [point.attributes[0].value.int_value for point in kept] == [0, 1, 2]
    assert (shared.attributes[0].key, shared.attributes[0].value.bool_value) == ("otel.metric.overflow", True)
    assert shared.as_int == 7
    assert lean.overflowed == {"users": 7}


def test_views_apply_to_the_application_and_to_our_instruments(receiver: OtlpReceiver, tmp_path: Path) -> None:
    """Upstream's views, given when the pipeline is built."""
    settings = Settings.from_env({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, **apart(tmp_path)})
    views = [View(instrument_name="users", name="people"), View(instrument_name="dur*", attribute_keys=set())]
    lean = build_lean(settings, Resource({}), Accounts(), sampler=DEFAULT_ON, views=views)
    try:
        use(lean)
        assert lean.force_flush(10)
        metrics = receiver.received.metrics()
        assert set(metrics) == {"people", "duration"}
        assert not metrics["duration"].histogram.data_points[0].attributes
    finally:
        lean.shutdown(1)


def test_providers_count_as_those_of_the_sdk(receiver: OtlpReceiver, build: Build) -> None:
    """Programs ask, as Sentry's OTLP integration does, before they add a processor of their own."""
    lean, _, _ = build(receiver.url)
    exporter = InMemorySpanExporter()
    if isinstance(lean.tracer_provider, TracerProvider):
        lean.tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    lean.tracer_provider.get_tracer("t").start_span("seen").end()
    assert [span.name for span in exporter.get_finished_spans()] == ["seen"]
    assert isinstance(lean.logger_provider, LoggerProvider)
    assert isinstance(lean.meter_provider, MeterProvider)


def test_classes_of_the_sdk_that_are_imported_later_count_too() -> None:
    """The lean pipeline itself needs no logs of the SDK."""
    program = (
        "import sys; from otel_forge.sdk.kinship import count_as_upstream; count_as_upstream();"
        "from otel_forge.sdk.logger import LeanLoggerProvider; assert 'opentelemetry.sdk._logs' not in sys.modules;"
        "from opentelemetry.sdk._logs import LoggerProvider; assert issubclass(LeanLoggerProvider, LoggerProvider)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
