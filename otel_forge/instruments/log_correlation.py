"""Trace ids in text logs: fields on every record that a format can name, as upstream's instrumentation adds them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource

DEFAULT_FORMAT = (
    "%(asctime)s %(levelname)s [%(name)s] [%(filename)s:%(lineno)d] [trace_id=%(otelTraceID)s span_id=%(otelSpanID)s "
    "resource.service.name=%(otelServiceName)s trace_sampled=%(otelTraceSampled)s] - %(message)s"
)
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Correlation:
    """Adds trace ids to records, and calls a hook, by way of logging's record factory; off unless asked for."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        set_logging_format: bool | None = None,
        inject_trace_context: bool = False,
        logging_format: str | None = None,
        log_level: int | None = None,
        log_hook: Callable[..., Any] | None = None,
    ) -> None:
        from_environ = environ.get("OTEL_PYTHON_LOG_CORRELATION", "false").lower() == "true"
        self._sets_format = from_environ if set_logging_format is None else set_logging_format
        self._injects = self._sets_format or inject_trace_context
        self._format = logging_format or environ.get("OTEL_PYTHON_LOG_FORMAT") or DEFAULT_FORMAT
        self._log_level = log_level or _LEVELS.get(environ.get("OTEL_PYTHON_LOG_LEVEL", ""), logging.INFO)
        self._hook = log_hook if callable(log_hook) else None
        self._before: Any = None
        self._service = ""

    def install(self, resource: Resource) -> None:
        """Change the record factory, and the format of text logs, where that is asked for."""
        if self._sets_format:
            logging.basicConfig(format=self._format, level=self._log_level)
        if self._before is not None or not (self._injects or self._hook):
            return
        self._service = str(resource.attributes.get("service.name") or "")
        self._before = logging.getLogRecordFactory()
        logging.setLogRecordFactory(self._make)

    def remove(self) -> None:
        """Put the record factory back."""
        if self._before is not None:
            logging.setLogRecordFactory(self._before)
            self._before = None

    def _make(self, *arguments: Any, **named: Any) -> logging.LogRecord:
        record: Any = self._before(*arguments, **named)
        if self._injects:
            record.otelSpanID = record.otelTraceID = "0"
            record.otelTraceSampled = False
            record.otelServiceName = self._service
        span = trace.get_current_span()
        context = span.get_span_context()
        if span is trace.INVALID_SPAN or context == trace.INVALID_SPAN_CONTEXT:
            return record  # type: ignore[no-any-return]
        if self._injects:
            record.otelSpanID = format(context.span_id, "016x")
            record.otelTraceID = format(context.trace_id, "032x")
            record.otelTraceSampled = context.trace_flags.sampled
        self._call_hook(span, record)
        return record  # type: ignore[no-any-return]

    def _call_hook(self, span: Any, record: logging.LogRecord) -> None:
        if self._hook is not None:
            with contextlib.suppress(Exception):  # upstream says nothing, and logging from here could recurse
                self._hook(span, record)
