"""Samplers, id generators, exporters and processors of others do the same in both pipelines, switched on by name."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.equivalence.services import PIPELINES, ROOT
from tests.instruments.seen import seen
from tests.otlp_receiver import OtlpReceiver
from tests.programs import Programs

PACKAGE = '''
    """What somebody else offers: a sampler, an id generator, an exporter for each signal, and two processors."""

    import json
    import os

    from opentelemetry.sdk._logs import LogRecordProcessor
    from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
    from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
    from opentelemetry.trace import TraceState


    def write(*facts):
        with open(os.environ["LEDGER"], "a") as ledger:
            ledger.write(json.dumps(facts, default=dict) + "\\n")


    class Dice(Sampler):
        def __init__(self, dropped):
            self.dropped = dropped

        def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, state=None):
            decision = Decision.DROP if self.dropped in name else Decision.RECORD_AND_SAMPLE
            decision = Decision.RECORD_ONLY if name == "only recorded" else decision
            found = {**(attributes or {}), "dice": f"{kind.name}, {len(links)} links"}
            return SamplingResult(decision, found, TraceState([("dice", "1")]))

        def get_description(self):
            return f"Dice({self.dropped})"


    class Counting(IdGenerator):
        count = 0

        def generate_span_id(self):
            Counting.count += 1
            return Counting.count

        def generate_trace_id(self):
            return 0xABC << 64 | self.generate_span_id()


    class Spans(SpanExporter):
        def export(self, spans):
            for span in spans:
                write("span", json.loads(span.to_json()) | {"start_time": 0, "end_time": 0, "resource": 0, "events":
                      [[event.name, dict(event.attributes)] for event in span.events]})
            return SpanExportResult.SUCCESS


    class Logs(LogRecordExporter):
        def export(self, batch):
            for item in batch:
                record = item.log_record
                write("log", record.body, record.severity_text, dict(record.attributes or {}), record.trace_id,
                      record.span_id, record.trace_flags, item.instrumentation_scope.name)
            return LogRecordExportResult.SUCCESS

        def force_flush(self, timeout_millis=0):
            return True

        def shutdown(self):
            write("logs end")


    class Metrics(MetricExporter):
        def export(self, metrics_data, timeout_millis=0, **kwargs):
            for of_resource in metrics_data.resource_metrics:
                for of_scope in of_resource.scope_metrics:
                    for metric in of_scope.metrics:
                        if of_scope.scope.name == "program":
                            write("metric", metric.name, [[dict(point.attributes), getattr(point, "value", None)]
                                                          for point in metric.data.data_points])
            return MetricExportResult.SUCCESS

        def force_flush(self, timeout_millis=0):
            return True

        def shutdown(self, timeout_millis=0, **kwargs):
            write("metrics end")


    class SpanWatcher(SpanProcessor):
        def on_start(self, span, parent_context=None):
            span.set_attribute("watched", parent_context is not None)

        def on_end(self, span):
            write("ended", span.name, span.context.trace_flags.sampled, dict(span.attributes))


    class LogWatcher(LogRecordProcessor):
        def on_emit(self, log_record):
            write("emitted", log_record.log_record.body, log_record.log_record.trace_id)

        def shutdown(self):
            pass

        def force_flush(self, timeout_millis=0):
            return True
'''

ENTRY_POINTS = """
    [opentelemetry_traces_sampler]
    dice = somebody_else:Dice
    [opentelemetry_id_generator]
    counting = somebody_else:Counting
    [opentelemetry_traces_exporter]
    ledger = somebody_else:Spans
    [opentelemetry_logs_exporter]
    ledger = somebody_else:Logs
    [opentelemetry_metrics_exporter]
    ledger = somebody_else:Metrics
"""

PROGRAM = """
    import logging

    from opentelemetry import _logs, metrics, trace
    from opentelemetry.trace import Link, SpanContext, SpanKind

    from somebody_else import LogWatcher, SpanWatcher

    _logs.get_logger_provider().add_log_record_processor(LogWatcher())
    trace.get_tracer_provider().add_span_processor(SpanWatcher())
    logging.basicConfig(level=logging.INFO)
    tracer, meter = trace.get_tracer("program"), metrics.get_meter("program")
    links = [Link(SpanContext(1, 2, True), {"a": 1})]
    with tracer.start_as_current_span("root", kind=SpanKind.CONSUMER, links=links, attributes={"key": "value"}) as root:
        root.add_event("event", {"list": [1, 2]})
        logging.warning("inside", extra={"number": 7})
        with tracer.start_as_current_span("dropped"), tracer.start_as_current_span("below what was dropped"):
            logging.info("in a span that was dropped")
        with tracer.start_as_current_span("only recorded"):
            pass
    try:
        with tracer.start_as_current_span("fails"):
            raise ValueError("no luck")
    except ValueError:
        logging.exception("failed")
    meter.create_counter("counted").add(3, {"key": "value"})
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the components of others wrote down and what arrived over OTLP, by pipeline."""
    with ThreadPoolExecutor(len(PIPELINES)) as pool:
        found = pool.map(_run, PIPELINES, [tmp_path_factory.mktemp(pipeline) for pipeline in PIPELINES])
    return dict(zip(PIPELINES, found, strict=True))


def _run(pipeline: str, folder: Path) -> dict[str, Any]:
    with Programs(folder) as programs, OtlpReceiver() as receiver:
        (folder / "somebody_else-1.dist-info").mkdir()
        programs.write("somebody_else-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: somebody-else\nVersion: 1\n")
        programs.write("somebody_else-1.dist-info/entry_points.txt", ENTRY_POINTS)
        programs.write("somebody_else.py", PACKAGE)
        programs.write("program.py", PROGRAM)
        done = programs.instrumented(
            "python", "program.py",
            OTEL_FORGE_PIPELINE=pipeline, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            PYTHONPATH=f"{ROOT}{os.pathsep}{folder}",
            LEDGER=str(folder / "ledger"), OTEL_TRACES_SAMPLER="dice", OTEL_TRACES_SAMPLER_ARG="dropped",
            OTEL_PYTHON_ID_GENERATOR="counting", OTEL_TRACES_EXPORTER="otlp,ledger", OTEL_LOGS_EXPORTER="otlp,ledger",
            OTEL_METRICS_EXPORTER="otlp,ledger",
        )  # fmt: skip
        assert done.wait() == 0, done.err
        assert done.notices()[1:] == [], "nothing failed, and nothing was lost"
        lines = [json.loads(line) for line in (folder / "ledger").read_text().splitlines()]
        return {
            "written": sorted(lines, key=json.dumps),
            "otlp": json.loads(
                json.dumps(seen(receiver.received, lambda name: name == "counted")).replace(str(folder), "")
            ),
        }


def test_what_others_are_given_is_equal(results: dict[str, dict[str, Any]]) -> None:
    """Spans, log records and metrics as exporters and processors of others see them."""
    assert _without_frames(results["lean"]["written"]) == _without_frames(results["upstream"]["written"])


def test_what_is_sent_besides_is_equal(results: dict[str, dict[str, Any]]) -> None:
    """OTLP goes on beside exporters of others, with what samplers and processors changed."""
    assert results["lean"]["otlp"] == results["upstream"]["otlp"]


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_component_had_its_say(results: dict[str, dict[str, Any]], pipeline: str) -> None:
    """Decisions, ids, changes and exports of others are there to be seen."""
    found = results[pipeline]
    kinds = {line[0] for line in found["written"]}
    assert kinds == {"span", "log", "metric", "ended", "emitted", "logs end", "metrics end"}
    assert {span["name"] for span in found["otlp"]["spans"]} == {"fails", "root"}
    assert {span["trace_state"] for span in found["otlp"]["spans"]} == {"dice=1"}
    assert all(span["attributes"]["watched"] is not None for span in found["otlp"]["spans"])
    spans = [line[1] for line in found["written"] if line[0] == "span"]
    assert all(span["context"]["trace_id"].startswith("0x" + "0" * 13 + "abc") for span in spans)


def _without_frames(lines: list[Any]) -> Any:
    """Leave out how a stack trace looks; the differential tests compare it."""
    return json.loads(json.dumps(lines), object_hook=lambda found: {**found, "exception.stacktrace": 0})
