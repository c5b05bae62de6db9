"""Both pipelines, set up in this process with their instrumentations switched on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

RESOURCE = {"service.name": "case"}
HOOKED = "x-hooked"


def request_hook(span: Any, environ: Mapping[str, Any]) -> None:
    """A hook that says what it saw, and raises where a case asks for it."""
    span.set_attribute("hook.request", environ.get("PATH_INFO", ""))
    if "raising" in environ.get("QUERY_STRING", ""):
        raise RuntimeError("request hook")


def response_hook(span: Any, status: str, headers: Any) -> None:
    """The same on the way back."""
    if span is not None:  # upstream's has none where its own hook did not run
        span.set_attribute("hook.response", status)


def client_request_hook(span: Any, request: Any) -> None:
    """The same for outgoing requests."""
    span.set_attribute("hook.request", request.method)


def client_response_hook(span: Any, request: Any, response: Any) -> None:
    """The same for their answers."""
    span.set_attribute("hook.response", response.status_code)


FLASK_HOOKS = {"request_hook": request_hook, "response_hook": response_hook}
REQUESTS_HOOKS = {"request_hook": client_request_hook, "response_hook": client_response_hook}


def environment() -> dict[str, str]:
    """Return the variables that both pipelines run with."""
    return {
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http,database",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        "OTEL_PYTHON_FLASK_EXCLUDED_URLS": "health.*",
        "OTEL_PYTHON_REQUESTS_EXCLUDED_URLS": "excluded",
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST": "X-Captured,X-Secret.*",
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE": "x-answer.*",
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST": "X-Captured,X-Secret.*",
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE": "x-answer.*",
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS": "x-secret.*",
    }


@dataclass(frozen=True)
class Setting:
    """What a pipeline's instrumentations are told: by variables, and by options, which are given by library."""

    environ: Mapping[str, str] = field(default_factory=environment)
    options: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {"flask": FLASK_HOOKS, "requests": REQUESTS_HOOKS}
    )


def upstream(url: str, setting: Setting | None = None) -> Callable[[], None]:
    """Set up upstream's SDK and instrumentations; return how to flush."""
    setting = setting or Setting()
    os.environ.update(setting.environ)
    from opentelemetry import _logs, metrics, trace
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.instrumentation.logging import LoggingInstrumentor
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource(RESOURCE)
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces"), schedule_delay_millis=60000))
    trace.set_tracer_provider(tracers)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{url}/v1/metrics"), 1e9)
    meters = MeterProvider([reader], resource)
    metrics.set_meter_provider(meters)
    loggers = LoggerProvider(resource)
    loggers.add_log_record_processor(
        BatchLogRecordProcessor(OTLPLogExporter(f"{url}/v1/logs"), schedule_delay_millis=60000)
    )
    _logs.set_logger_provider(loggers)
    FlaskInstrumentor().instrument(**setting.options.get("flask", {}))
    RequestsInstrumentor().instrument(**setting.options.get("requests", {}))
    SQLite3Instrumentor().instrument()
    LoggingInstrumentor().instrument(**setting.options.get("logging", {}))

    def flush() -> None:
        for provider in (tracers, meters, loggers):
            provider.force_flush()

    return flush


def lean(url: str, setting: Setting | None = None) -> Callable[[], None]:
    """Set up the lean core and its instruments; return how to flush."""
    setting = setting or Setting()
    from opentelemetry import _logs, metrics, trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.sampling import DEFAULT_ON

    from otel_forge import guard, redaction
    from otel_forge.delivery.accounts import Accounts
    from otel_forge.instruments import INSTRUMENTS, build_instrument
    from otel_forge.instruments.core import Core
    from otel_forge.redaction.rules import Rules
    from otel_forge.sdk.lean import build_lean
    from otel_forge.settings import Settings

    redaction.install(redaction.Policy(Rules(enabled=False)))  # upstream redacts nothing; see tests/redaction
    guard.set_strict(False)  # hooks raise on purpose
    os.environ.update(setting.environ)
    settings = Settings.from_env(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_BSP_SCHEDULE_DELAY": "60000",
            "OTEL_BLRP_SCHEDULE_DELAY": "60000",
            "OTEL_METRIC_EXPORT_INTERVAL": "1000000",
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
            "OTEL_FORGE_SPOOL_DIR": "none",
            "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "false",
        }
    )
    built = build_lean(settings, Resource(RESOURCE), Accounts(), sampler=DEFAULT_ON)
    trace.set_tracer_provider(built.tracer_provider)
    metrics.set_meter_provider(built.meter_provider)
    _logs.set_logger_provider(built.logger_provider)
    core = Core(built.tracer_provider, built.logger_provider, built.bound)
    for name in INSTRUMENTS:
        build_instrument(name, **setting.options.get(name, {})).instrument(core)
    return lambda: _flushed(built.force_flush(20))


def _flushed(complete: bool) -> None:
    assert complete, "the lean pipeline did not deliver everything"


PIPELINES: dict[str, Callable[..., Callable[[], None]]] = {"upstream": upstream, "lean": lean}
