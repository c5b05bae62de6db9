"""The log bridge: every record reaches telemetry, and logging itself does not change."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from otel_forge.logs.bridge import LogBridge


@pytest.fixture
def bridged() -> Iterator[InMemoryLogRecordExporter]:
    """A bridge into memory."""
    exporter, remove = bridge_to_memory("notset")
    yield exporter
    remove()


def bridge_to_memory(level: str, **options: bool):  # type: ignore[no-untyped-def]
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    return exporter, LogBridge(provider, level=level, **options).install()


def bodies(exporter: InMemoryLogRecordExporter) -> list[object]:
    return [finished.log_record.body for finished in exporter.get_finished_logs()]


def test_records_become_telemetry_without_a_root_handler(bridged: InMemoryLogRecordExporter) -> None:
    """The handler lists stay as they are."""
    before = list(logging.getLogger().handlers)
    logging.getLogger("shop.till").error("sold %s for %d", "bread", 3)
    assert bodies(bridged) == ["sold bread for 3"]
    assert logging.getLogger().handlers == before


def test_arguments_that_do_not_fit_keep_the_template(
    bridged: InMemoryLogRecordExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong call is worth a record too, and must not raise: logging reports it to its own handlers."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler()])  # pytest's own would raise
    logging.getLogger("shop.wrong").error("total %d", "twelve")
    assert bodies(bridged) == ["total %d"]


def test_what_does_not_reach_the_root_logger_stays_out(bridged: InMemoryLogRecordExporter) -> None:
    """As upstream, `propagate=False` keeps a logger's records to itself."""
    logger = logging.getLogger("private")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    logger.error("secret")
    logging.getLogger("private.child").error("secret")
    assert bodies(bridged) == []


def test_records_of_telemetry_itself_never_feed_back(bridged: InMemoryLogRecordExporter) -> None:
    """Neither the SDK's own loggers nor what is logged while sending becomes telemetry."""
    logging.getLogger("opentelemetry.sdk.trace").error("own trouble")
    with suppress_instrumentation():
        logging.getLogger("urllib3.connectionpool").error("Starting new connection")
    assert bodies(bridged) == []


def test_a_level_keeps_lower_records_out() -> None:
    """OTEL_PYTHON_LOG_HANDLER_LEVEL=error."""
    exporter, remove = bridge_to_memory("error")
    try:
        logging.getLogger("shop").warning("low")
        logging.getLogger("shop").error("high")
    finally:
        remove()
    assert bodies(exporter) == ["high"]


def test_loggers_that_do_not_propagate_can_be_included() -> None:
    """OTEL_FORGE_LOGS_UNPROPAGATED=true."""
    exporter, remove = bridge_to_memory("notset", unpropagated=True)
    private = logging.getLogger("private.bridge")
    private.propagate = False
    private.addHandler(logging.NullHandler())
    try:
        private.error("secret")
    finally:
        remove()
    assert bodies(exporter) == ["secret"]


def test_upstreams_own_handler_is_not_doubled(bridged: InMemoryLogRecordExporter) -> None:
    """Where somebody installed upstream's handler on the root logger, the bridge stands down."""
    theirs = LoggingHandler(logger_provider=LoggerProvider(shutdown_on_exit=False))
    logging.getLogger().addHandler(theirs)
    try:
        logging.getLogger("shop").error("once")
    finally:
        logging.getLogger().removeHandler(theirs)
    assert bodies(bridged) == []


def test_the_caller_of_a_log_call_is_still_found(
    bridged: InMemoryLogRecordExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """File, line and function of a record are the application's, not the bridge's."""
    logging.getLogger("shop").error("here")
    assert caplog.records[0].funcName == "test_the_caller_of_a_log_call_is_still_found"


def test_removing_the_bridge_restores_logging(bridged: InMemoryLogRecordExporter) -> None:
    """Installing returns the way back."""
    exporter, remove = bridge_to_memory("notset")
    remove()
    logging.getLogger("shop").error("after")
    assert bodies(exporter) == []
