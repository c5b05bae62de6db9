"""What encoding one server span or one log record to OTLP bytes costs, with the pipeline's own encoder."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

from benchmarks.subject.flushing import pipeline

_BATCH = 512
_NOW = 1_700_000_000_000_000_000

Encoder = tuple[Callable[[Any], bytes], Any]
"""What turns a batch into a request's bytes, and a batch of `_BATCH` records."""


def available() -> list[str]:
    """Return which encoders can be measured here."""
    return list(_encoders())


def measure(name: str, count: int) -> tuple[float, float]:
    """Return microseconds of this thread for one record, twice: encoding has no other side."""
    encode, batch = _encoders()[name]()
    rounds = max(1, count // len(batch))
    encode(batch)
    started = time.thread_time()
    for _ in range(rounds):
        encode(batch)
    each = (time.thread_time() - started) / rounds / len(batch) * 1e6
    return each, each


def _encoders() -> dict[str, Callable[[], Encoder]]:
    if pipeline().startswith("otel_forge.") and find_spec("otel_forge.otlp.encode_spans"):
        return {"encode span": _lean_spans, "encode log": _lean_logs}
    if pipeline().startswith("opentelemetry.sdk") and find_spec("opentelemetry.exporter.otlp.proto.common"):
        return {"encode span": _upstream_spans, "encode log": _upstream_logs}
    return {}


def _upstream_spans() -> Encoder:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    spans = [span._readable_span() for span in _ended_spans()]
    return (lambda batch: encode_spans(batch).SerializeToString()), spans


def _upstream_logs() -> Encoder:
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

    kept = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    logger = provider.get_logger("units")
    for number in range(_BATCH):
        logger.emit(
            LogRecord(
                timestamp=_NOW + number,
                severity_number=SeverityNumber.INFO,
                severity_text="INFO",
                body=f"asset {number} was read",
                attributes={"code.function.name": "asset"},
            )
        )
    return (lambda batch: encode_logs(batch).SerializeToString()), list(kept.get_finished_logs())


def _lean_spans() -> Encoder:
    from opentelemetry.sdk.resources import Resource

    from otel_forge.otlp.encode_spans import encode_spans
    from otel_forge.otlp.envelope import EncodedResource
    from otel_forge.settings import Settings

    resource, limits = EncodedResource(Resource.create({})), Settings.from_env({}).limits
    return (lambda batch: encode_spans(batch, resource, limits)), _ended_spans()


def _lean_logs() -> Encoder:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from otel_forge.otlp.encode_logs import encode_logs
    from otel_forge.otlp.envelope import EncodedResource
    from otel_forge.settings import Settings

    resource, limits = EncodedResource(Resource.create({})), Settings.from_env({}).limits
    scope = InstrumentationScope("units")
    records = [_log_record(scope, number) for number in range(_BATCH)]
    return (lambda batch: encode_logs(batch, resource, limits)), records


def _log_record(scope: Any, number: int) -> Any:
    """Return what a lean encoder reads of a log record, whatever class makes it."""
    return SimpleNamespace(
        timestamp=_NOW + number,
        observed_timestamp=_NOW + number,
        severity_number=9,
        severity_text="INFO",
        body=f"asset {number} was read",
        attributes={"code.function.name": "asset"},
        dropped_attributes=0,
        event_name=None,
        trace_id=1 << 127,
        span_id=1 << 63,
        trace_flags=1,
        scope=scope,
    )


def _ended_spans() -> list[Any]:
    """Return server spans as the pipeline in use makes them."""
    from opentelemetry import trace

    from benchmarks.subject.units import SERVER_ATTRIBUTES

    tracer = trace.get_tracer("units")
    spans = [tracer.start_span("GET /api/assets/<id>", attributes=SERVER_ATTRIBUTES) for _ in range(_BATCH)]
    for span in spans:
        span.end()
    return spans
