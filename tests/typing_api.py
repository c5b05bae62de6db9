"""Code as a user would write it: checked by mypy, never run."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import otel_forge
from otel_forge import bind_context, carry, clear_context, configure_logging, get_logger, log_context, unbind_context
from otel_forge.logs.logger import ForgeLogger


def logging_with_fields(error: Exception) -> None:
    """Every way of calling a logger."""
    configure_logging()
    configure_logging(level="debug", view="json", replace=True)
    configure_logging(level=logging.DEBUG, view="console")
    logger: ForgeLogger = get_logger("AssetService")
    logger.info("Loading asset", asset_id="123")
    logger.warning("Slow: %s in %.1f s", "asset", 1.5, asset_id="123", parts=[1, 2])
    logger.error("Failed to load asset", exc_info=error, asset_id="123")
    logger.exception("Failed", asset_id="123")
    logger.log(25, "custom", stacklevel=2, stack_info=True, extra={"x": 1})
    bound: ForgeLogger = logger.bind(asset_id="123").unbind("asset_id")
    standard: logging.Logger = bound.logger
    standard.info("the same logger")
    logger.info("one", exc_info="text")  # type: ignore[arg-type]
    logger.info()  # type: ignore[call-arg]
    configure_logging(view="xml")  # type: ignore[arg-type]


def context_fields() -> int:
    """Fields of a request, and work that is done for it elsewhere."""
    with log_context(request_id="r1"):
        bind_context(user="ann")
        unbind_context("user")
    clear_context()
    with ThreadPoolExecutor() as pool:
        return pool.submit(carry(_count), "words").result()


@carry
def _count(words: str) -> int:
    return len(words)


version: str = otel_forge.__version__
