"""Code as a user would write it: checked by mypy, never run."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

from flask import Flask

import otel_forge
from otel_forge import (
    alerts,
    bind_context,
    carry,
    clear_context,
    configure_logging,
    get_logger,
    health,
    log_context,
    metrics,
    unbind_context,
)
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


def checking_health() -> bool:
    """Every way of registering a check."""
    health.check("imageServer", health.http("http://127.0.0.1:1/health", timeout=5), timeout=5, required=False)
    health.check("meshy", health.configured("MESHY_API_KEY", None), fall=1, rise=1, interval=60)
    health.check("disk", health.disk("/", warn=0.7, fail=0.9), required=False)

    @health.check("queue", component_type="datastore")
    def queue() -> health.Result:
        return health.Result("warn", "long", observed=17, unit="jobs")

    @health.check("loop")
    async def loop() -> None:
        """Look."""

    health.check("queue", timeout="1 s")  # type: ignore[call-overload]
    health.drain("a release")
    return queue().status == "pass" and health.is_ready()


def measuring() -> None:
    """Every way of recording a metric."""
    metrics.record("asset_load_time", 1234, "ms", asset_type="weapon")
    metrics.record("asset_load_time", 1.5, unit="s", tags={"asset.type": "weapon"}, size=3)
    metrics.record("queue", 3, "{job}", kind="gauge")
    metrics.record("queue", 3, kind="timer")  # type: ignore[arg-type]
    metrics.record("queue", "three")  # type: ignore[arg-type]
    loaded: metrics.Counter = metrics.counter("assets.loaded", "{asset}", "Assets that were loaded.")
    loaded.add(1, asset_type="weapon", cached=True)
    metrics.up_down_counter("assets.in_work").add(-1)
    metrics.histogram("assets.load_time", "ms", boundaries=[1, 2.5]).record(1.5)
    metrics.gauge("assets.quality", "percent").set(97)
    metrics.gauge("assets.quality").add(97)  # type: ignore[attr-defined]
    metrics.observe("jobs.waiting", lambda: 3, "{job}")
    metrics.observe("jobs.by_kind", lambda: [(3, {"kind": "render"})], kind="up_down_counter", tags={"host": "a"})


def web_parts(app: Flask) -> None:
    """The Flask extension and its parts."""
    limits = otel_forge.RateLimits(app, headers="always")
    limits.observe(limit=100, remaining=3, reset=42.5, window=900, decision="near_limit", key="ann")
    limits.observe(decision="perhaps")  # type: ignore[arg-type]
    otel_forge.Forge(request_log=otel_forge.RequestLog(incoming=True), health=False, rate_limits=limits).init_app(app)


def alerting() -> bool:
    """Every way of writing a rule, and of telling people."""
    alerts.add(*alerts.handbook_rules(), alerts.high_error_rate(threshold=0.01, severity="critical"), replace=True)

    async def is_long() -> alerts.Finding:
        return alerts.Finding(True, "12 wait", 12, {"oldest": "3 min"})

    async def restart(alert: alerts.Alert) -> None:
        logging.getLogger("shop").warning("%s", alert.name)

    alerts.add(alerts.AlertRule("Queue", is_long, "high", restart, 60, links={"Runbook": "https://example.com"}))
    alerts.add(alerts.AlertRule("Text", lambda: "yes"))  # type: ignore[arg-type, return-value]
    alerts.remove("Queue")
    alerts.start()
    return alerts.notify(alerts.Alert("Import", "low"), wait=1.0) and alerts.stop() and len(alerts.rules()) > 2


version: str = otel_forge.__version__
