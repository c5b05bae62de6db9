"""The command `logs level`: levels of running processes, for a while."""

from __future__ import annotations

import logging
import os
import re
import time
from datetime import datetime

import click

from otel_forge.logs.levels import LevelChange, level_number, levels_file, read_changes, write_changes

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_ROOT, _RESET = "root", "reset"
_LEVELS = "debug, info, warning, error, critical, a number or reset"


def _duration(ctx: click.Context, param: click.Parameter, text: str) -> float:
    """Return the seconds that `text`, such as 30s, 10m or 2h, says."""
    found = re.fullmatch(r"([1-9]\d{0,6})([smhd])", text)
    if found is None:
        raise click.BadParameter(f"{text!r} is not a time such as 30s, 10m or 2h.")
    return float(int(found[1]) * _UNITS[found[2]])


def _level(ctx: click.Context, param: click.Parameter, text: str | None) -> str | None:
    """Return `text` if it is the name or number of a level, or `reset`."""
    if text is not None and text.lower() != _RESET:
        try:
            level_number(text)
        except ValueError:
            raise click.BadParameter(f"{text!r} is not {_LEVELS}.") from None
    return text


@click.command()
@click.argument("logger", required=False)
@click.argument("level", required=False, callback=_level, metavar="[LEVEL|reset]")
@click.option(
    "--for", "seconds", callback=_duration, default="10m", show_default=True, help="How long: 30s, 10m, 2h, 1d."
)
@click.option("--service", default="", help="Only processes of this service [default: all of this user].")
def level(logger: str | None, level: str | None, seconds: float, service: str) -> None:
    """Change the level of LOGGER in running processes, for a while.

    Every process of this user that runs with otel-forge follows within a second, and goes back by itself. `root` is
    the root logger. Without arguments, show what is changed now.
    """
    file, now = levels_file(os.environ), time.time()
    changes = [change for change in read_changes(file) if change.until > now]
    if logger is None:
        _show(changes, now)
        return
    if level is None:
        raise click.UsageError(f"Say which level: {_LEVELS}.")
    name = "" if logger == _ROOT else logger
    kept = [change for change in changes if (change.logger, change.service) != (name, service)]
    where = f"of service {service}" if service else "of this user"
    if level.lower() == _RESET:
        write_changes(file, [change for change in kept if service or change.logger != name])
        click.echo(f"{logger}: back to its own level in every process {where}.")
        return
    number = level_number(level)
    write_changes(file, [*kept, LevelChange(name, number, now + seconds, service)])
    until = datetime.fromtimestamp(now + seconds).astimezone().isoformat(" ", "seconds")
    click.echo(f"{logger}: {logging.getLevelName(number)} until {until} in every process {where} that runs otel-forge.")


def _show(changes: list[LevelChange], now: float) -> None:
    for change in changes:
        where = f" (service {change.service})" if change.service else ""
        left = f"{change.until - now:.0f} s"
        click.echo(f"{change.logger or _ROOT}: {logging.getLevelName(change.level)} for another {left}{where}")
    if not changes:
        click.echo("No level is changed.")


def add_to(group: click.Group) -> None:
    """Add the command to a group."""
    group.add_command(level)
