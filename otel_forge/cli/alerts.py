"""The command `otel-forge alerts`: what rules of running services say, and whether people can be told."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from otel_forge.alerts import leader, memory
from otel_forge.alerts.alert import RESOLVED, SEVERITIES, Alert, Origin
from otel_forge.alerts.memory import Memory, RuleMemory
from otel_forge.alerts.notifiers.configured import NEEDED, build_notifier
from otel_forge.alerts.sending import deliver
from otel_forge.alerts.texts import presentable
from otel_forge.cli.output import age, table
from otel_forge.environment import own_folder
from otel_forge.errors import ForgeError
from otel_forge.logs.escaping import escaped
from otel_forge.settings import Settings

_HEAD = ["service", "rule", "severity", "state", "for", "evaluated", "what it says"]
Found = tuple[Memory, bool]


@click.group()
def alerts() -> None:
    """Show the alert rules of services; try whether people are told."""


@alerts.command("list")
@click.option("--service", default="", help="Only rules of this service.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_rules(service: str, as_json: bool) -> None:
    """Show the rules that services on this machine evaluate, and what they say now."""
    found = [one for one in _services() if service in ("", one[0].origin.service)]
    if as_json:
        click.echo(json.dumps([{**asdict(known), "is_evaluated": is_led} for known, is_led in found], indent=2))
        return
    for line in _listed(found, time.time()):
        click.echo(escaped(line))


def _services() -> list[Found]:
    """Return what is known of each service of this user, and whether one of its processes evaluates rules now."""
    try:
        folder = own_folder(os.environ, "OTEL_FORGE_STATE_DIR", "XDG_STATE_HOME", ".local/state") / "alerts"
        folders: Sequence[Path] = sorted(path for path in folder.iterdir() if path.is_dir())
    except (OSError, RuntimeError):  # none, none that we may read, or no home folder
        return []
    clock, wall = time.monotonic(), time.time()
    found = [(memory.load(path, clock=clock, wall=wall), leader.is_led(path)) for path in folders]
    return [(known, is_led) for known, is_led in found if known.written]


def _listed(found: Sequence[Found], now: float) -> list[str]:
    if not found:
        return ["No service on this machine has evaluated alert rules yet. An application adds them: alerts.add(…)."]
    rows = [_row(known, name, rule, now) for known, _ in found for name, rule in known.rules.items()]
    notes = [
        f"{known.origin.service}: no process evaluates rules now; this is how it was {age(now - known.written)} ago."
        for known, is_led in found
        if not is_led
    ]
    return [*(table([_HEAD, *rows]) if rows else ["There are no rules."]), *([""] if notes else []), *notes]


def _row(known: Memory, name: str, rule: RuleMemory, now: float) -> list[str]:
    says = f"cannot be evaluated: {rule.problem}" if rule.problem else rule.summary
    owed = f" (not told yet: {', '.join(rule.owed)})" if rule.owed else ""
    since = age(time.monotonic() - rule.phase.since) if rule.phase.state != "inactive" else "-"
    evaluated = f"{age(now - rule.evaluated)} ago" if rule.evaluated else "never"
    service = "/".join(filter(None, (known.origin.service, known.origin.environment)))
    return [service, name, rule.severity, rule.phase.state, since, evaluated, f"{says}{owed}"]


@alerts.command("test")
@click.argument("notifier", type=click.Choice(list(NEEDED)))
@click.option("--severity", type=click.Choice(SEVERITIES), default="low", show_default=True, help="Of the test alert.")
def test(notifier: str, severity: str) -> None:
    """Send a test alert and its end.

    As an application would, with the settings of this environment (OTEL_FORGE_ALERTS_*); but each is tried once.
    """
    settings = Settings.from_env(os.environ)
    chosen = build_notifier(notifier, settings.alerts)
    if chosen is None:
        problems = [text for text in settings.problems if text.startswith(NEEDED[notifier])]
        raise ForgeError(" ".join(problems) or f"Set {' and '.join(NEEDED[notifier])} to tell people by {notifier}.")
    click.echo(f"Telling {chosen.place} …")
    for alert in _test_alerts(settings, severity):
        reason = deliver(chosen, [alert], pause=lambda seconds: False)
        if reason:
            raise ForgeError(f"The test alert ({alert.state}) could not be delivered: {reason}.")
        click.echo(f"{alert.state}: delivered")


def _test_alerts(settings: Settings, severity: str) -> list[Alert]:
    now = time.time()
    origin = Origin(settings.service_name or "otel-forge", settings.environment, socket.gethostname())
    firing = Alert(
        "Test alert",
        severity,
        "This is a test of otel-forge: nothing is wrong.",
        details={"command": "otel-forge alerts test"},
        started=now,
        origin=origin,
    )
    resolved = Alert(
        "Test alert", severity, "The test is over.", RESOLVED, started=now, ended=time.time(), origin=origin
    )
    return [presentable(firing), presentable(resolved)]


def add_to(group: click.Group) -> None:
    """Add the command to a group."""
    group.add_command(alerts)
