"""The two pipelines behind ``OTEL_FORGE_PIPELINE``: ours, and the upstream SDK's as reference and way out.

Each is built from the settings without touching a global. In the upstream pipeline a signal that cannot be built is
said and costs the other two nothing; the signals of the lean one share their parts and come together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource

from otel_forge.delivery.accounts import Accounts
from otel_forge.delivery.outage import Outage
from otel_forge.guard import guard
from otel_forge.metrics.scrape import build_scrape_reader
from otel_forge.otlp.exporters import SCRAPE, Exporter, build_exporters, shown_address
from otel_forge.sdk.sampling import build_id_generator, build_sampler
from otel_forge.settings import SIGNALS, Settings, Signal

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader

    from otel_forge.instruments.core import Core

Complain = Callable[[str], None]
CONSOLE_ADDRESS = "the console"


@dataclass
class Pipeline:
    """What was built: a provider and a way to close it for each signal, and where each signal goes."""

    providers: dict[Signal, Any] = field(default_factory=dict)
    closers: dict[str, Callable[[], object]] = field(default_factory=dict)
    routes: list[tuple[Signal, str]] = field(default_factory=list)
    failure: Callable[[Signal], str] = lambda signal: ""
    place: Callable[[], str] = lambda: ""
    """Where a closed pipeline has left what could not be delivered."""
    core: Core | None = None
    """What the lean instruments record into; None where upstream's instrumentations serve."""


def build_pipeline(
    settings: Settings, resource: Resource, accounts: Accounts, outage: Outage, complain: Complain
) -> Pipeline:
    """Return the pipeline that the settings choose."""
    build = {"lean": _build_lean, "upstream": _build_upstream}[settings.pipeline]
    return build(settings, resource, accounts, outage, complain)


def _build_upstream(
    settings: Settings, resource: Resource, accounts: Accounts, outage: Outage, complain: Complain
) -> Pipeline:
    from otel_forge.sdk.upstream import (
        build_logger_provider,
        build_meter_provider,
        build_tracer_provider,
    )

    built = Pipeline()
    exporters = _exporters(settings, complain, outage)
    _keep_accounts(exporters, settings, accounts, outage)
    with guard("starting metrics"):  # first: the processors of the other signals may record into it
        readers = _scrape_readers(settings, complain)
        _add(built, "metrics", build_meter_provider(settings, resource, exporters["metrics"], readers))
    with guard("starting traces"):
        sampler, ids = build_sampler(settings, complain), build_id_generator(settings, complain)
        traces = build_tracer_provider(
            settings, resource, exporters["traces"], accounts, sampler=sampler, id_generator=ids
        )
        _add(built, "traces", traces)
    with guard("starting logs"):
        _add(built, "logs", build_logger_provider(settings, resource, exporters["logs"], accounts))
    built.routes = [(signal, _address(exporter)) for signal in SIGNALS for exporter in exporters[signal]]
    failures = dict(_remote(exporters))
    built.failure = lambda signal: failures[signal].failure() if signal in failures else ""
    return built


def _add(built: Pipeline, signal: Signal, provider: Any) -> None:
    built.providers[signal] = provider
    built.closers[signal] = provider.shutdown


def _build_lean(
    settings: Settings, resource: Resource, accounts: Accounts, outage: Outage, complain: Complain
) -> Pipeline:
    from otel_forge.instruments.core import Core, MeterMetrics
    from otel_forge.sdk.lean import build_lean, is_sent_by_us, without_ours

    exporters = _exporters(without_ours(settings), complain, outage)
    _keep_accounts(exporters, settings, accounts, outage)
    readers = _scrape_readers(settings, complain)
    own_ids = settings.id_generator.lower() == "random"
    lean = build_lean(
        settings,
        resource,
        accounts,
        outage.noticed,
        sampler=build_sampler(settings, complain),
        id_generator=None if own_ids else build_id_generator(settings, complain),
        other_exporters=exporters,
        readers=readers,
        over=outage.over,
        say=complain,
    )
    sent_by_us = {signal: is_sent_by_us(settings, signal) for signal in SIGNALS}
    collected_by_us = sent_by_us["metrics"] and not readers and not exporters["metrics"]
    has_logs = sent_by_us["logs"] or bool(exporters["logs"])
    return Pipeline(
        {"traces": lean.tracer_provider, "metrics": lean.meter_provider, "logs": lean.logger_provider},
        dict(lean.closers.items()),
        [
            *((signal, shown_address(settings.otlp[signal].endpoint)) for signal in SIGNALS if sent_by_us[signal]),
            *((signal, _address(exporter)) for signal in SIGNALS for exporter in exporters[signal]),
        ],
        lean.failure,
        lambda: lean.place,
        Core(
            lean.tracer_provider,
            lean.logger_provider if has_logs else None,
            lean.bound if collected_by_us else MeterMetrics(lean.meter_provider),
        ),
    )


def _exporters(settings: Settings, complain: Complain, outage: Outage) -> Mapping[Signal, Sequence[Exporter]]:
    return {signal: build_exporters(settings, signal, complain, outage.noticed) for signal in SIGNALS}


def _keep_accounts(
    exporters: Mapping[Signal, Sequence[Exporter]], settings: Settings, accounts: Accounts, outage: Outage
) -> None:
    """Book what becomes of records that go out through upstream's exporters or those of others."""
    remote = _remote(exporters)
    if not remote:
        return  # the lean pipeline alone needs nothing of upstream's SDK of traces
    from otel_forge.sdk.upstream import keep_accounts

    for signal, exporter in remote:
        keep_accounts(exporter, signal, accounts, outage, cumulative=settings.temporality == "cumulative")


def _remote(exporters: Mapping[Signal, Sequence[Exporter]]) -> list[tuple[Signal, Exporter]]:
    return [(signal, exporter) for signal in SIGNALS for exporter in exporters[signal] if exporter.is_remote]


def _address(exporter: Exporter) -> str:
    return exporter.address if exporter.is_remote else CONSOLE_ADDRESS


def _scrape_readers(settings: Settings, complain: Complain) -> list[MetricReader]:
    if SCRAPE not in settings.exporters["metrics"]:
        return []
    reader = build_scrape_reader(settings.scrape_host, settings.scrape_port, complain)
    return [reader] if reader else []
