"""Fields in telemetry: attributes of the log record, in both pipelines the same."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from otel_forge.logs import flood
from otel_forge.logs.bridge import LogBridge
from otel_forge.logs.context import log_context
from otel_forge.logs.flood import FloodControl
from otel_forge.logs.logger import get_logger
from tests.instruments.conftest import Kept
from tests.logs.recording import recording

Bodies = list[tuple[Any, dict[str, Any]]]


def by_lean(job: Callable[[], None]) -> Bodies:
    """Return body and attributes of what `job` logs, by the lean instrument."""
    kept = Kept()
    with recording(kept):
        job()
    return [(record.body, dict(record.attributes)) for record in kept.logs]


def by_upstream(job: Callable[[], None]) -> Bodies:
    """The same by upstream's translation."""
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    remove = LogBridge(provider).install()
    try:
        job()
    finally:
        remove()
    return [(done.log_record.body, dict(done.log_record.attributes or {})) for done in exporter.get_finished_logs()]


@pytest.mark.parametrize("pipeline", [by_lean, by_upstream])
def test_fields_are_attributes(pipeline: Callable[[Callable[[], None]], Bodies]) -> None:
    """Those of the call, bound ones and those of the context; a name that a record has itself is no trouble."""

    def job() -> None:
        with log_context(request_id="r1", till=0):
            get_logger("shop.otlp", till=7).warning("sold", name="x", parts={"a": 1})
            logging.getLogger("shop.otlp").warning("plain")

    assert pipeline(job) == [
        ("sold", {"request_id": "r1", "till": 7, "name": "x", "parts": {"a": 1}}),
        ("plain", {"request_id": "r1", "till": 0}),
    ]


@pytest.mark.parametrize("pipeline", [by_lean, by_upstream])
def test_flood_control_holds_for_telemetry(pipeline: Callable[[Callable[[], None]], Bodies]) -> None:
    """What is held back is said by one record."""

    def job() -> None:
        flood.set_current(FloodControl(1, 60))
        for number in range(4):
            logging.getLogger("shop.otlp").warning("n %d", number)
        flood.say_what_is_left()
        flood.set_current(None)

    first, summary = pipeline(job)
    assert first[0] == "n 0"
    assert summary == ("n %d … 3 more of this in 0 s", {"template": "n %d", "suppressed": 3})
