"""Errors: captured once, on the span, in the log and in Sentry, under one trace id.

`capture_error` works without Sentry and without telemetry; each place that is switched on gets its part.
"""

from otel_forge.errortracking.capture import capture_error
from otel_forge.errortracking.events import add_filter

__all__ = ["add_filter", "capture_error"]
