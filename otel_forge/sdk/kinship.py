"""Lean providers count as upstream's, for the many programs that ask before they add a processor.

``isinstance(trace.get_tracer_provider(), opentelemetry.sdk.trace.TracerProvider)`` is how Sentry's OTLP integration and
many applications find out whether somebody has set up telemetry. Told no, they make a provider of their own, which the
API then refuses, and their processor hears nothing. The lean providers have upstream's public methods and attributes
(`resource`, `sampler`, `id_generator`; processors, flushing, shutting down), and none of its private ones. The meter
provider is of upstream's class anyway.
"""

from __future__ import annotations

from types import ModuleType

from otel_forge.import_hooks import when_imported
from otel_forge.sdk.logger import LeanLoggerProvider
from otel_forge.sdk.tracer import LeanTracerProvider


def count_as_upstream() -> None:
    """Register the lean providers with upstream's classes, as soon as those have been imported."""
    when_imported("opentelemetry.sdk.trace", _register_tracer_provider)
    when_imported("opentelemetry.sdk._logs", _register_logger_provider)


def _register_tracer_provider(module: ModuleType) -> None:
    module.TracerProvider.register(LeanTracerProvider)


def _register_logger_provider(module: ModuleType) -> None:
    module.LoggerProvider.register(LeanLoggerProvider)
