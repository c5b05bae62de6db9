"""The command `otel-forge watch`: starts an app, or attaches to one, looks after it and restarts it on evidence."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from otel_forge.cli.stack import say
from otel_forge.parsing import COUNT_IN_SECONDS, OUT_OF, URL, Parser, size
from otel_forge.settings import Settings, WatchSettings

NOT_FOUND = 127
_EPILOG = """Every option has a setting, OTEL_FORGE_WATCH_*; see docs/settings.md.

Exit codes: those of COMMAND; 127 it does not exist; 2 wrong usage."""


def _read_as(parser: Parser) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """Return what reads an option as the setting of the same name is read."""

    def read(ctx: click.Context, param: click.Parameter, text: str | None) -> Any:
        try:
            return None if text is None else parser(text)
        except ValueError:
            raise click.BadParameter(f"{text!r} is not {parser.allowed}.") from None

    return read


_SECONDS = click.FloatRange(min=0, min_open=True, max=86400)
_PERCENT = click.FloatRange(min=0, min_open=True, max=100)


@click.command(context_settings={"allow_interspersed_args": False}, epilog=_EPILOG)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[--] COMMAND [ARGUMENT]...")
@click.option("--attach", type=click.IntRange(min=1), metavar="PID", help="Look after a process that runs already.")
@click.option(
    "--live-url", metavar="URL", callback=_read_as(URL), help="Address to probe for life; any answer is life, also 503."
)
@click.option("--interval", type=_SECONDS, help="Seconds between samples, and between probes [default: 2].")
@click.option("--probe-timeout", type=_SECONDS, help="Seconds that a probe may take [default: 5].")
@click.option("--patience", type=click.FloatRange(3, 86400), help="Seconds of silence that are too many [default: 20].")
@click.option("--busy-patience", type=_SECONDS, help="The same of a process that computes [default: 120].")
@click.option(
    "--windows",
    metavar="SOME/ALL",
    callback=_read_as(OUT_OF),
    help="In how many samples evidence must be [default: 2/3].",
)
@click.option(
    "--memory-limit",
    metavar="SIZE",
    callback=_read_as(size(1 << 20)),
    help="Memory of the app above which it restarts.",
)
@click.option("--cpu", type=_PERCENT, help="Percent of the host's CPU to warn above [default: 80].")
@click.option("--memory", type=_PERCENT, help="Percent of the host's memory to warn above [default: 80].")
@click.option("--disk", type=_PERCENT, help="Percent of the disk to warn above [default: 80].")
@click.option("--grace", type=_SECONDS, help="Seconds between SIGTERM and SIGKILL [default: 30; if stuck 3].")
@click.option(
    "--drain", type=click.FloatRange(0, 3600), help="Seconds of lowered readiness before SIGTERM [default: 0]."
)
@click.option(
    "--restarts",
    metavar="N/SECONDS",
    callback=_read_as(COUNT_IN_SECONDS),
    help="Restarts after which it stops [default: 3/600s].",
)
@click.option("--capture/--no-capture", default=None, help="Keep the last lines of the app's output, too.")
@click.option("--telemetry/--no-telemetry", default=None, help="Send metrics and events of the monitor itself.")
@click.option("--plain", is_flag=True, help="Start COMMAND as it is, not as `otel-forge run` does.")
def watch(command: tuple[str, ...], attach: int | None, plain: bool, **options: Any) -> None:
    """Start an app, look after it, and restart it when that would help.

    COMMAND runs with telemetry on, as under `otel-forge run`. It is restarted when it is deadlocked, when it has lost
    its heartbeat, takes more memory than it may, or ends by itself; never because something that it needs is down.
    After three restarts in ten minutes watch stops restarting, and alerts. What is known before a restart (stacks,
    log lines, state) is kept.

    \b
    otel-forge watch -- gunicorn shop:app --workers 4
    otel-forge watch --live-url http://127.0.0.1:8000/live -- gunicorn shop:app
    otel-forge watch --attach 4711
    """
    if not command and attach is None:
        raise click.UsageError("Which command? For example: otel-forge watch -- gunicorn shop:app")
    if command and shutil.which(command[0]) is None:
        click.echo(f"otel-forge watch: {command[0]!r}: no such command.", err=True)
        sys.exit(NOT_FOUND)
    from otel_forge.monitor import starting  # with psutil and all of telemetry, of which no other command has need

    sys.exit(starting.run(_settings(options), command, attach, os.environ, say, plain=plain))


def _settings(options: dict[str, Any]) -> Settings:
    """Return the settings of the environment, with what the command line says in their place."""
    settings = Settings.from_env(os.environ)
    for problem in settings.problems:
        say(problem)
    given = {name: value for name, value in options.items() if value is not None}
    own: WatchSettings = replace(settings.watch, **given)
    return replace(settings, watch=own)


def add_to(group: click.Group) -> None:
    """Add the command to a group."""
    group.add_command(watch)
