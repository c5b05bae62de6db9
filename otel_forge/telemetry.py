"""The composition root: builds all of telemetry from the settings, and alone writes global state."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from opentelemetry import _logs, metrics, propagate, trace

from otel_forge import redaction
from otel_forge.delivery.accounts import Accounts
from otel_forge.delivery.exit import Exit
from otel_forge.delivery.outage import Outage
from otel_forge.guard import guard
from otel_forge.import_hooks import when_imported
from otel_forge.metrics.redactions import count_redactions
from otel_forge.notices import Rationed, notice
from otel_forge.otlp.exporters import SCRAPE, with_known_exporters
from otel_forge.pipelines import Pipeline, build_pipeline
from otel_forge.propagation import build_propagator
from otel_forge.resource import ServiceName, build_resource, service_name
from otel_forge.settings import Settings, Signal
from otel_forge.version import VERSION

_NOISY_LOGGERS = (
    "opentelemetry.exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.metrics._internal.export",
)
_IS_IT_UP = " Is it up? otel-forge up"
_SHARE_OF_SENTRY = 0.75
"""How much of the exit's budget Sentry may take: closing it needs a moment more than it is told."""
_SET_PROVIDER: Mapping[Signal, Callable[[Any], None]] = {
    "metrics": metrics.set_meter_provider,
    "traces": trace.set_tracer_provider,
    "logs": _logs.set_logger_provider,
}


def configure(settings: Settings, *, argv: Sequence[str], folder: Path, announce: bool = True) -> Pipeline:
    """Turn telemetry on as `settings` say, and return the pipeline that was built.

    `argv` (``sys.orig_argv``) and `folder` serve to guess a service name; `announce` is False in a process whose
    parent said the line already. Upstream constructors read the environment too: call it where the variables of
    ``settings.rejected`` are hidden from them (see `otel_forge.environment`).
    """
    for problem in settings.problems:
        notice(problem)
    redaction.install_from(settings.redaction)
    with guard("setting the propagators"):
        propagate.set_global_textmap(build_propagator(settings.propagators, notice))
    if settings.watch.folder is not None:
        _tell_monitor(settings.watch.folder)
    service = service_name(settings, argv, folder)
    if settings.disabled or (settings.config_file and _configure_from_file(settings)):
        _show_logs(settings, service)
        return Pipeline()
    settings = with_known_exporters(settings, notice)
    accounts = _keep(Accounts())
    resource = build_resource(settings, service, VERSION)
    pipeline = build_pipeline(
        settings,
        resource,
        accounts,
        Outage(accounts, Rationed(), hint=lambda address: _IS_IT_UP if settings.is_of_stack(address) else ""),
        notice,
    )
    for signal, provider in pipeline.providers.items():
        _SET_PROVIDER[signal](provider)
    if "metrics" in pipeline.providers:
        with guard("counting redactions"):
            count_redactions(pipeline.providers["metrics"])
        _measure(settings, pipeline.providers["metrics"])
    if pipeline.core is None and settings.exporters["logs"]:
        _bridge_logging(settings)
    _silence_upstream()
    closers: dict[str, Callable[[], object]] = {**pipeline.closers, **_start_error_tracking(settings)}
    if "logs" in closers:
        closers["logs"] = _after_last_words(closers["logs"])
    leave = Exit(closers, accounts, settings.exit_timeout, pipeline.failure, place=pipeline.place)
    leave.install(sigterm=settings.sigterm_flush)
    _show_logs(settings, service)  # after the exit: what it has to say at the end is still sent
    if announce and settings.startup_line:
        notice(_startup_line(settings, service, pipeline))
    return pipeline


def _tell_monitor(folder: Path) -> None:
    """Tell the monitor that owns `folder` (``otel-forge watch``) how this process does, once it serves."""
    with guard("starting the heartbeat"):
        from otel_forge.health import heartbeat

        heartbeat.install(folder)


def _measure(settings: Settings, meter_provider: Any) -> None:
    """Measure the runtime, unless that is turned off or nobody would see it."""
    if settings.runtime_metrics and settings.exporters["metrics"]:
        with guard("measuring the runtime"):
            from otel_forge.metrics.runtime import watch_runtime

            watch_runtime(meter_provider)


def _show_logs(settings: Settings, service: ServiceName) -> None:
    """Set up log views, flood control and run-time levels, each where the settings ask for it."""
    from otel_forge.logs import upkeep

    upkeep.install(settings, service.name)
    if settings.request_log.enabled:
        when_imported("flask", lambda module: _log_requests(settings))
    if settings.log_files.folder:
        from otel_forge.logs import configuration
        from otel_forge.logs.files import recording

        with guard("setting up log files"):
            recording.start(settings, service.name, configuration.build_json_view(settings.log_views, service.name))


def _log_requests(settings: Settings) -> None:
    """Log the requests of all Flask apps, where the settings ask for it; `flask` has just been imported."""
    with guard("starting the request log"):
        from otel_forge.web.request_log import RequestLog

        RequestLog(settings=settings.request_log).install()


def _after_last_words(close: Callable[[], object]) -> Callable[[], object]:
    """Return what closes the pipeline of log records once flood control has said what it held back."""
    from otel_forge.logs import flood

    def close_logs() -> None:
        flood.say_what_is_left()
        close()

    return close_logs


def _start_error_tracking(settings: Settings) -> Mapping[str, Callable[[], object]]:
    """Let Sentry see errors where that is configured, and join the application's; return how to close it at exit.

    What the application does not use is not imported.
    """
    when_imported("otel_forge.metrics.performance", lambda module: module.configure(settings))
    when_imported("otel_forge.health.pipeline", lambda module: module.watch(lambda: current_accounts().read()))
    when_imported("otel_forge.metrics.registry", lambda module: module.configure(settings))
    if not settings.sentry.is_on:
        when_imported("sentry_sdk.scope", _join_sentry)
        return {}
    from otel_forge.errortracking import sentry

    with guard("starting Sentry"):
        sentry.start(settings.sentry)
    timeout = settings.exit_timeout * _SHARE_OF_SENTRY
    return {"errors": lambda: sentry.close(timeout)}


def _join_sentry(module: ModuleType) -> None:
    """Watch for the clients that the application makes; `module` is ``sentry_sdk.scope``, just imported."""
    with guard("joining the application's Sentry"):
        from otel_forge.errortracking import sentry

        sentry.join(module)


_accounts = Accounts()


def _keep(accounts: Accounts) -> Accounts:
    """Make these the accounts that the process shows."""
    global _accounts
    _accounts = accounts
    return accounts


def current_accounts() -> Accounts:
    """Return the accounts of the telemetry that is on; empty ones if it is not, or is set up from a file."""
    return _accounts


def _bridge_logging(settings: Settings) -> None:
    """Offer records of the logging module to the global logger provider, as upstream's instrumentation would."""
    from otel_forge.logs.bridge import LogBridge

    if settings.log_bridge:
        provider = _logs.get_logger_provider()
        LogBridge(
            provider,
            level=settings.log_level,
            code_attributes=settings.log_code_attributes,
            unpropagated=settings.log_unpropagated,
        ).install()


def _configure_from_file(settings: Settings) -> bool:
    """Set telemetry up from a declarative configuration file; return False, with a line, if that cannot be done."""
    try:
        from opentelemetry.configuration import configure_sdk, load_config_file
    except ImportError:
        notice(
            f"OTEL_CONFIG_FILE={settings.config_file!r} needs a package that is not installed: "
            "pip install 'otel-forge[file-configuration]'. Using OTEL_* settings instead."
        )
        return False
    try:
        configure_sdk(load_config_file(settings.config_file))
    except Exception as error:  # noqa: BLE001 - any fault of the file is the user's to see, in one line
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        notice(f"OTEL_CONFIG_FILE={settings.config_file!r} cannot be used: {reason}. Using OTEL_* settings instead.")
        return False
    _bridge_logging(settings)
    _arrange_exit_of_file_providers(settings)
    if settings.startup_line:
        notice(f"telemetry is set up from {settings.config_file}. To look at it: otel-forge up")
    return True


def _arrange_exit_of_file_providers(settings: Settings) -> None:
    """Close the providers that the file made within our exit budget instead of each in its own 30 s."""
    providers: Mapping[Signal, object] = {
        "traces": trace.get_tracer_provider(),
        "metrics": metrics.get_meter_provider(),
        "logs": _logs.get_logger_provider(),
    }
    closers: dict[str, Callable[[], object]] = dict(_start_error_tracking(settings))
    for signal, provider in providers.items():
        shutdown = getattr(provider, "shutdown", None)
        if shutdown is not None:
            atexit.unregister(shutdown)
            closers[signal] = shutdown
    Exit(closers, Accounts(), settings.exit_timeout).install(sigterm=settings.sigterm_flush)


def _silence_upstream() -> None:
    """Keep upstream's line for every failed request off the terminal: `Outage` says it, with numbers, once a minute."""
    for name in _NOISY_LOGGERS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.CRITICAL + 1)


def _startup_line(settings: Settings, service: ServiceName, pipeline: Pipeline) -> str:
    hint = " (name guessed; set OTEL_SERVICE_NAME)" if service.guessed else ""
    by_address: dict[str, list[str]] = {}
    for signal, address in pipeline.routes:
        by_address.setdefault(address, []).append(signal)
    if SCRAPE in settings.exporters["metrics"]:
        scrape = f"http://{settings.scrape_host}:{settings.scrape_port}/metrics and up"
        by_address.setdefault(scrape, []).append("metrics")
    if not by_address:
        return f"all exporters are off for service {service.name!r}{hint}: nothing leaves this process."
    routes = "; ".join(f"{', '.join(signals)} -> {address}" for address, signals in by_address.items())
    return f"service {service.name!r}{hint}: {routes}.{_where_to_look(settings)}"


def _where_to_look(settings: Settings) -> str:
    """Return the hint to our own back end, for those whose telemetry goes there."""
    goes_there = any(settings.is_of_stack(otlp.endpoint) for otlp in settings.otlp.values())
    return " To look at it: otel-forge up" if goes_there else ""
