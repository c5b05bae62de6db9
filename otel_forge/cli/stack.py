"""The commands of the stack: up, down, status, restart; `logs` is in a module of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from otel_forge.cli import output
from otel_forge.cli.services import services_text
from otel_forge.delivery.status import read_all
from otel_forge.settings import Settings
from otel_forge.stack.backend import RUNNING, STOPPED, Backend
from otel_forge.stack.choice import AUTO, CHOICES, backend_for, choose, last_engine
from otel_forge.stack.components import NAMES
from otel_forge.stack.engine_progress import ProgressText
from otel_forge.stack.settings import StackSettings

Command = TypeVar("Command", bound=Callable[..., Any])
STATUS_CODES = {RUNNING: 0, STOPPED: 3}


def state_dir_option(command: Command) -> Command:
    """Add the option that every command of the stack has."""
    return click.option(
        "--state-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder for data, logs and state [default: OTEL_FORGE_STATE_DIR, else ~/.local/state/otel-forge].",
    )(command)


def timeout_option(command: Command) -> Command:
    """Add the option that limits the wait for readiness."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=1, max=3600),
        default=120.0,
        show_default=True,
        help="Seconds in which each component must be ready.",
    )(command)


def settings_for(state_dir: Path | None, config_dir: Path | None = None) -> StackSettings:
    """Read the settings, with what the command line says in place of the environment's word."""
    said = {"OTEL_FORGE_STATE_DIR": state_dir, "OTEL_FORGE_CONFIG_DIR": config_dir}
    return StackSettings.from_env({**os.environ, **{name: str(value) for name, value in said.items() if value}})


def running_backend(settings: StackSettings) -> Backend:
    """Return the backend of the engine that runs, or ran last."""
    return backend_for(last_engine(settings), settings, os.environ, say)


def say(message: str) -> None:
    """Report progress, on standard error."""
    click.echo(f"otel-forge: {message}", err=True)


@click.command()
@click.option("--engine", type=click.Choice(CHOICES), default=AUTO, show_default=True, help="What runs the servers.")
@click.option(
    "--config-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Your own copy of the configuration, laid out like the one that comes with otel-forge.",
)
@timeout_option
@state_dir_option
def up(engine: str, config_dir: Path | None, timeout: float, state_dir: Path | None) -> None:
    """Start the back end and wait until it is ready.

    It is Collector, Prometheus, Loki, Tempo and Alertmanager, and Grafana where there is one.

    Engine `docker` needs a running Docker with compose; `native` runs the same servers as processes of this machine
    and builds with Go, once, those that are not installed. `auto` takes the first of the two that can be had. A stack
    that is running already is left alone.
    """
    settings = settings_for(state_dir, config_dir)
    chosen = choose(engine, settings, os.environ, say)
    status = backend_for(chosen, settings, os.environ, say, ProgressText(sys.stderr)).up(timeout)
    _print(output.up_text(status))


@click.command()
@click.option("--data", is_flag=True, help="Remove what was stored, too: metrics, logs, traces, dashboards' state.")
@click.option("--yes", is_flag=True, help="Do not ask before removing data.")
@state_dir_option
def down(data: bool, yes: bool, state_dir: Path | None) -> None:
    """Stop everything and free its ports.

    What was stored is kept unless --data is given.
    """
    settings = settings_for(state_dir)
    backend = running_backend(settings)
    if data and not yes:
        click.confirm(f"Remove all stored telemetry of {settings.state_dir} (engine {backend.name})?", abort=True)
    click.echo("The stack is down." if backend.down(data=data) else "The stack was not running.")


@click.command(epilog="Exit codes: 0 all is ready; 1 something is not; 3 the stack is not running.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@state_dir_option
def status(as_json: bool, state_dir: Path | None) -> None:
    """Show how every component does, and what became of telemetry.

    Of a component: whether it answers, since when, how often it was restarted, and its address. Of a running
    application (on the lean pipeline): what it made, what was delivered, what waits, what was dropped and why.
    """
    found = running_backend(settings_for(state_dir)).status()
    services = read_all(Settings.from_env(os.environ).spool.folder)
    _print([output.status_json(found, services)] if as_json else [*output.status_text(found), *services_text(services)])
    sys.exit(STATUS_CODES.get(found.status, 1))


@click.command()
@click.argument("components", nargs=-1, metavar="[COMPONENT]...")
@timeout_option
@state_dir_option
def restart(components: tuple[str, ...], timeout: float, state_dir: Path | None) -> None:
    """Restart components with their configuration read anew.

    All when none is named; otherwise the others run on. Changed ports, retention or alerting lane need `down` and `up`.
    """
    backend = running_backend(settings_for(state_dir))
    names = backend.restart(components, timeout)
    click.echo(f"Restarted: {', '.join(names)}.")


def _print(lines: list[str]) -> None:
    for line in lines:
        click.echo(line)


def add_to(group: click.Group) -> None:
    """Add the commands of the stack to a group."""
    for command in (up, down, status, restart):
        group.add_command(command)


COMPONENTS_HELP = f"COMPONENT is one of {', '.join(NAMES)}."
restart.epilog = COMPONENTS_HELP
