"""logging: every record becomes telemetry once, and logging itself does not change."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk._logs import LoggerProvider

from otel_forge.instruments.logging import level_number, severity_number
from otel_forge.otlp.encode_logs import LogEncoder
from otel_forge.sdk.current import SUPPRESSED, attach, context_with, current_context
from otel_forge.settings import Settings
from tests.instruments.conftest import Kept, Start

LOG = logging.getLogger("shop")


def without_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take pytest's handlers away: they format every message too, and raise where an argument does not fit."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler()])


@pytest.fixture(autouse=True)
def _all_levels() -> Iterator[None]:
    LOG.setLevel(logging.DEBUG)
    yield
    LOG.setLevel(logging.NOTSET)


def bodies(kept: Kept) -> list[Any]:
    return [record.body for record in kept.logs]


def test_a_message_is_formatted_once_and_its_template_kept(
    start: Start, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arguments are formatted here and now, whatever they are."""
    without_handlers(monkeypatch)
    start("logging")
    formatted: list[int] = []

    class Price:
        def __str__(self) -> str:
            formatted.append(1)
            return "3.50"

    LOG.info("sold %s for %s", "bread", Price())
    [record] = kept.logs
    assert record.body == "sold bread for 3.50" and formatted == [1]
    assert record.attributes == {"log.record.template": "sold %s for %s"}


def test_wrong_arguments_do_not_raise(start: Start, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """The template is worth a record; logging reports the mistake to its own handlers."""
    without_handlers(monkeypatch)
    start("logging")

    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError

    LOG.info("%d", "x")
    LOG.info("%s", Unprintable())
    LOG.info(Unprintable())
    assert bodies(kept)[:2] == ["%d", "%s"]
    encoder = LogEncoder(Settings.from_env({}).limits)
    assert all(encoder.encode(record) for record in kept.logs) and encoder.report.lost == 0


def test_exceptions_keep_their_full_name_and_chain(start: Start, kept: Kept) -> None:
    """The stack trace is formatted later, on the delivery thread."""
    start("logging")
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise LookupFailedError("outer", 1) from error
    except LookupFailedError:
        LOG.exception("failed")
    [record] = kept.logs
    assert not isinstance(record.attributes["exception.stacktrace"], str)
    record.settle()
    assert record.attributes["exception.type"].endswith("test_logging.LookupFailedError")
    assert record.attributes["exception.message"] == "('outer', 1)"
    assert "KeyError: 'inner'" in record.attributes["exception.stacktrace"]


class LookupFailedError(Exception):
    """An error with two arguments."""


def test_extras_become_attributes_even_after_a_formatter_has_left_its_own(start: Start, kept: Kept) -> None:
    """``asctime`` and ``message`` are a formatter's, not the application's."""
    start("logging")
    record = LOG.makeRecord("shop", logging.INFO, "f.py", 1, "text", (), None, extra={"order": 7})
    logging.Formatter("%(asctime)s %(message)s").format(record)
    LOG.handle(record)
    assert kept.logs[0].attributes == {"order": 7}


def test_event_names_are_promoted(start: Start, kept: Kept) -> None:
    """``otel.event.name`` wins over the deprecated name; neither stays an attribute."""
    start("logging")
    LOG.info("", extra={"otel.event.name": "sold", "event.name": "old"})
    LOG.info("", extra={"event.name": "old"})
    assert [(record.event_name, record.attributes) for record in kept.logs] == [("sold", {}), ("old", {})]


def test_code_attributes_on_request(start: Start, kept: Kept) -> None:
    """OTEL_PYTHON_LOG_CODE_ATTRIBUTES=true."""
    start("logging", environ={"OTEL_PYTHON_LOG_CODE_ATTRIBUTES": "true"})
    LOG.info("here")
    assert kept.logs[0].attributes["code.function.name"] == "test_code_attributes_on_request"
    assert kept.logs[0].attributes["code.file.path"] == __file__


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ["low", "high"]),
        ({"OTEL_PYTHON_LOG_HANDLER_LEVEL": "error"}, ["high"]),
        ({"OTEL_PYTHON_LOG_HANDLER_LEVEL": "odd"}, ["low", "high"]),
        ({"OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION": "false"}, []),
        (
            {
                "OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION": "false",
                "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true",
            },
            ["low", "high"],
        ),
    ],
)
def test_variables_of_upstream_hold(start: Start, kept: Kept, environ: dict[str, str], expected: list[str]) -> None:
    """Level and switch."""
    start("logging", environ=environ)
    LOG.info("low")
    LOG.error("high")
    assert bodies(kept) == expected


def test_records_carry_the_current_span(start: Start, kept: Kept) -> None:
    """Ours, one of others, or none."""
    core = kept.core()
    start("logging", core)
    with core.tracer_provider.get_tracer("case").start_as_current_span("around") as span:
        LOG.info("ours")
    context = trace.SpanContext(5, 6, is_remote=True, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(context)):
        LOG.info("others")
    LOG.info("none")
    ids = span.get_span_context()
    assert [(record.trace_id, record.span_id) for record in kept.logs] == [(ids.trace_id, ids.span_id), (5, 6), (0, 0)]


def test_telemetry_never_feeds_on_itself(start: Start, kept: Kept) -> None:
    """Own loggers, suppressed instrumentation, and the delivery threads stay out."""
    start("logging")
    logging.getLogger("opentelemetry.sdk").error("own")
    logging.getLogger("otel_forge.delivery").error("own")
    with suppress_instrumentation():
        LOG.error("suppressed")
    before = current_context()
    attach(context_with(SUPPRESSED, before))
    LOG.error("delivery thread")
    attach(before)
    assert bodies(kept) == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"include_unpropagated": True}, ["secret", "child"]),
        ({"environ": {"OTEL_FORGE_LOGS_UNPROPAGATED": "true"}}, ["secret", "child"]),
    ],
)
def test_loggers_that_do_not_propagate_can_be_included(
    start: Start, kept: Kept, options: dict[str, Any], expected: list[str]
) -> None:
    """By default what does not reach the root logger stays out, as with upstream."""
    start("logging", **options)
    private = logging.getLogger("private")
    private.propagate = False
    private.addHandler(logging.NullHandler())
    private.error("secret")
    logging.getLogger("private.child").error("child")
    assert bodies(kept) == expected


def test_upstreams_own_handler_is_not_doubled(start: Start, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody installed it on the root logger, this instrument stands down."""
    start("logging")
    theirs = LoggingHandler(logger_provider=LoggerProvider(shutdown_on_exit=False))
    monkeypatch.setattr(logging.getLogger(), "handlers", [theirs])
    LOG.error("once")
    assert bodies(kept) == []


def test_the_caller_is_still_found(start: Start, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, line and function are the application's; handlers are untouched."""
    start("logging")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(funcName)s %(message)s"))
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    LOG.error("here", stack_info=True)
    assert stream.getvalue().startswith("test_the_caller_is_still_found here")
    assert "instruments/logging.py" not in stream.getvalue()


def test_trace_ids_in_text_logs_on_request(start: Start, kept: Kept) -> None:
    """``inject_trace_context`` and ``log_hook``, by the record factory; off again afterwards."""
    core = kept.core()
    factory = logging.getLogRecordFactory()

    def hook(span: Any, record: Any) -> None:
        record.hooked = span.name
        raise RuntimeError("hook")

    instrument = start("logging", core, inject_trace_context=True, log_hook=hook)
    with core.tracer_provider.get_tracer("case").start_as_current_span("around") as span:
        LOG.info("inside")
    LOG.info("outside")
    inside, outside = (record.attributes for record in kept.logs)
    assert inside["otelTraceID"] == f"{span.get_span_context().trace_id:032x}" and inside["otelTraceSampled"]
    assert (inside["hooked"], inside["otelServiceName"]) == ("around", "case")
    assert (outside["otelTraceID"], outside["otelSpanID"]) == ("0", "0")
    instrument.uninstrument()
    assert logging.getLogRecordFactory() is factory


def test_taking_the_instrument_off_restores_logging(start: Start, kept: Kept) -> None:
    """The very function is back."""
    before = logging.Logger.callHandlers
    start("logging").uninstrument()
    assert logging.Logger.callHandlers is before


def test_levels_and_severities() -> None:
    """Between the named levels severity goes up by one for each number, and stays at the fourth."""
    levels = (5, 10, 11, 13, 19, 20, 30, 40, 50, 53, 99)
    assert [severity_number(level) for level in levels] == [0, 5, 6, 8, 8, 9, 13, 17, 21, 24, 24]
    assert [level_number(level) for level in ("warn", "WARNING", "error", "", "odd", 25)] == [30, 30, 40, 0, 0, 25]
