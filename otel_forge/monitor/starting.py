"""Puts the monitor together, as the settings say, and lets it run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from otel_forge.monitor import alerting, folders, reporting
from otel_forge.monitor.app import AttachedApp, StartedApp
from otel_forge.monitor.evidence import Collector
from otel_forge.monitor.incidents import Incidents
from otel_forge.monitor.judging import Judge, Patience
from otel_forge.monitor.notifying import ServiceManager
from otel_forge.monitor.rationing import Ration
from otel_forge.monitor.signals import Signals
from otel_forge.monitor.watching import Monitor
from otel_forge.resource import service_name
from otel_forge.settings import Settings

_LONGEST_GAP = 30.0


def run(
    settings: Settings,
    command: Sequence[str],
    attach: int | None,
    environ: Mapping[str, str],
    say: Callable[[str], object],
    *,
    plain: bool,
) -> int:
    """Look after `command`, or the process `attach`, until it has ended; return the exit code.

    `plain` starts the command as it is, not as ``otel-forge run`` does. Raises ForgeError where the process does not
    exist or nothing can be kept.
    """
    attached = None if attach is None else AttachedApp(attach)
    words = list(command) or (attached.command() if attached else [])
    here = Path.cwd()
    service = service_name(settings, words, here).name
    if not command:
        say(f"watch: no command is given to start {service} with, so it is observed, and not restarted.")
    with Signals() as signals, folders.run_folder(environ) as made:
        has_telemetry = reporting.start_telemetry(settings, service, here)
        own = settings.watch
        folder = (attached and attached.watch_folder()) or made
        app_environ = folders.app_environ(environ, folder, str(here), plain=plain)
        kept = Incidents(folders.incident_folder(environ, service), own.incidents)
        return Monitor(
            own,
            folder,
            app=attached,
            start=(lambda: StartedApp(command, app_environ, capture=own.capture)) if command else None,
            reports=reporting.build_reports(settings, service, has_telemetry=has_telemetry),
            collector=Collector(settings, service, words, folder, kept),
            judge=build_judge(settings),
            ration=Ration(*own.restarts, own.first_delay),
            manager=ServiceManager(environ),
            gave_up=alerting.call,
            wait=signals.wait,
        ).run()


def build_judge(settings: Settings) -> Judge:
    """Return the judge that the settings ask for."""
    own = settings.watch
    patience = Patience(own.patience, own.busy_patience, own.memory_limit)
    return Judge(patience, own.windows, max(_LONGEST_GAP, 5 * own.interval))
