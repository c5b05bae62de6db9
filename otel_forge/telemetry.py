"""The composition root: builds all of telemetry from the settings, and alone writes global state.

`configure` reads like a table of contents. Each signal is built by itself: one that cannot be built is
said in one line and costs the other two nothing.
"""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry import _logs, metrics, propagate, trace
from opentelemetry.sdk.resources import Resource

from otel_forge.delivery.accounts import Accounts
from otel_forge.delivery.exit import Exit
from otel_forge.delivery.outage import Outage
from otel_forge.guard import guard
from otel_forge.logs.bridge import LogBridge
from otel_forge.metrics.scrape import build_scrape_reader
from otel_forge.notices import Rationed, notice
from otel_forge.otlp.exporters import SCRAPE, Exporter, build_exporters
from otel_forge.propagation import build_propagator
from otel_forge.resource import ServiceName, build_resource, service_name
from otel_forge.sdk.sampling import build_id_generator, build_sampler
from otel_forge.sdk.upstream import build_logger_provider, build_meter_provider, build_tracer_provider, keep_accounts
from otel_forge.settings import SIGNALS, Settings, Signal
from otel_forge.version import VERSION

_NOISY_LOGGERS = (
    "opentelemetry.exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.metrics._internal.export",
)


@dataclass
class Telemetry:
    """What `configure` built: the accounts, the exporters and how to close each signal."""

    accounts: Accounts = field(default_factory=Accounts)
    exporters: dict[Signal, list[Exporter]] = field(default_factory=dict)
    closers: dict[Signal, Callable[[], None]] = field(default_factory=dict)
    service: ServiceName = ServiceName("", guessed=True)
    exit: Exit | None = None

    def failure(self, signal: Signal) -> str:
        """Return why the last request of `signal` failed; empty if it did not."""
        return next((exporter.failure() for exporter in self.exporters.get(signal, []) if exporter.is_remote), "")


def configure(settings: Settings, *, argv: Sequence[str], folder: Path, announce: bool = True) -> Telemetry:
    """Turn telemetry on as `settings` say, and return what was built.

    `argv` (``sys.orig_argv``) and `folder` serve to guess a service name; `announce` is False in a process whose
    parent said the line already. Upstream constructors read the environment too: call it where the variables of
    ``settings.rejected`` are hidden from them (see `otel_forge.environment`).
    """
    telemetry = Telemetry(service=service_name(settings, argv, folder))
    for problem in settings.problems:
        notice(problem)
    with guard("setting the propagators"):
        propagate.set_global_textmap(build_propagator(settings.propagators, notice))
    if settings.disabled:
        return telemetry
    if settings.config_file and _configure_from_file(settings, telemetry):
        return telemetry
    _build_signals(settings, telemetry)
    _silence_upstream()
    _arrange_exit(settings, telemetry)
    if announce and settings.startup_line:
        notice(_startup_line(settings, telemetry))
    return telemetry


def _build_signals(settings: Settings, telemetry: Telemetry) -> None:
    resource = build_resource(settings, telemetry.service, VERSION)
    outage = Outage(telemetry.accounts, Rationed())
    build: dict[Signal, Callable[[Settings, Resource, Telemetry], Callable[[], Any]]] = {
        "metrics": _metrics,  # first: processors of the other signals may record into it
        "traces": _traces,
        "logs": _logs_signal,
    }
    for signal, build_signal in build.items():
        with guard(f"starting {signal}"):
            exporters = build_exporters(settings, signal, notice, outage.noticed)
            for exporter in exporters:
                if exporter.is_remote:
                    keep_accounts(exporter, signal, telemetry.accounts, outage)
            telemetry.exporters[signal] = exporters
            telemetry.closers[signal] = build_signal(settings, resource, telemetry)
    telemetry.exit = Exit(telemetry.closers, telemetry.accounts, settings.exit_timeout, telemetry.failure)


def _traces(settings: Settings, resource: Resource, telemetry: Telemetry) -> Callable[[], Any]:
    provider = build_tracer_provider(
        settings,
        resource,
        telemetry.exporters["traces"],
        telemetry.accounts,
        sampler=build_sampler(settings, notice),
        id_generator=build_id_generator(settings, notice),
    )
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _metrics(settings: Settings, resource: Resource, telemetry: Telemetry) -> Callable[[], Any]:
    wants_scrape = SCRAPE in settings.exporters["metrics"]
    scrape = build_scrape_reader(settings.scrape_host, settings.scrape_port, notice) if wants_scrape else None
    provider = build_meter_provider(settings, resource, telemetry.exporters["metrics"], [scrape] if scrape else [])
    metrics.set_meter_provider(provider)
    return provider.shutdown


def _logs_signal(settings: Settings, resource: Resource, telemetry: Telemetry) -> Callable[[], Any]:
    provider = build_logger_provider(settings, resource, telemetry.exporters["logs"], telemetry.accounts)
    _logs.set_logger_provider(provider)
    if telemetry.exporters["logs"]:
        _bridge_logging(settings, provider)
    return provider.shutdown


def _bridge_logging(settings: Settings, provider: _logs.LoggerProvider) -> None:
    if settings.log_bridge:
        LogBridge(provider, level=settings.log_level, code_attributes=settings.log_code_attributes).install()


def _configure_from_file(settings: Settings, telemetry: Telemetry) -> bool:
    """Set telemetry up from a declarative configuration file; return False, with a line, if that cannot be done."""
    try:
        from opentelemetry.configuration import configure_sdk, load_config_file
    except ImportError:
        notice(
            f"OTEL_CONFIG_FILE={settings.config_file!r} needs a package that is not installed: "
            "pip install 'otel-forge[file-configuration]'. Using the OTEL_* settings instead."
        )
        return False
    try:
        configure_sdk(load_config_file(settings.config_file))
    except Exception as error:  # noqa: BLE001 - any fault of the file is the user's to see, in one line
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        notice(
            f"OTEL_CONFIG_FILE={settings.config_file!r} cannot be used: {first_line}. Using OTEL_* settings instead."
        )
        return False
    _bridge_logging(settings, _logs.get_logger_provider())
    _arrange_exit_of_file_providers(settings, telemetry)
    if settings.startup_line:
        notice(f"telemetry is set up from {settings.config_file}. To look at it: otel-forge up")
    return True


def _arrange_exit_of_file_providers(settings: Settings, telemetry: Telemetry) -> None:
    """Close the providers that the file made within our exit budget instead of each in its own 30 s."""
    providers: Mapping[Signal, object] = {
        "traces": trace.get_tracer_provider(),
        "metrics": metrics.get_meter_provider(),
        "logs": _logs.get_logger_provider(),
    }
    for signal, provider in providers.items():
        shutdown = getattr(provider, "shutdown", None)
        if shutdown is not None:
            atexit.unregister(shutdown)
            telemetry.closers[signal] = shutdown
    telemetry.exit = Exit(telemetry.closers, telemetry.accounts, settings.exit_timeout)
    _arrange_exit(settings, telemetry)


def _arrange_exit(settings: Settings, telemetry: Telemetry) -> None:
    if telemetry.exit is not None:
        telemetry.exit.install(sigterm=settings.sigterm_flush)


def _silence_upstream() -> None:
    """Keep upstream's line for every failed request off the terminal: `Outage` says it, with numbers, once a minute."""
    for name in _NOISY_LOGGERS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.CRITICAL + 1)


def _startup_line(settings: Settings, telemetry: Telemetry) -> str:
    hint = " (name guessed; set OTEL_SERVICE_NAME)" if telemetry.service.guessed else ""
    by_address: dict[str, list[str]] = {}
    for signal in SIGNALS:
        for exporter in telemetry.exporters.get(signal, []):
            by_address.setdefault(exporter.address if exporter.is_remote else "the console", []).append(signal)
    if SCRAPE in settings.exporters["metrics"]:
        by_address.setdefault(f"http://{settings.scrape_host}:{settings.scrape_port}/metrics and up", []).append(
            "metrics"
        )
    if not by_address:
        return f"all exporters are off for service {telemetry.service.name!r}{hint}: nothing leaves this process."
    routes = "; ".join(f"{', '.join(signals)} -> {address}" for address, signals in by_address.items())
    return f"service {telemetry.service.name!r}{hint}: {routes}. To look at it: otel-forge up"
