"""The command `run` as the help of the others shows it; `otel_forge.cli.main` calls the launcher without click."""

from __future__ import annotations

import sys

import click

from otel_forge import launcher


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    add_help_option=False,
    options_metavar="",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[--] COMMAND [ARGUMENT]...")
def run(command: tuple[str, ...]) -> None:
    """Run a program with telemetry on."""
    sys.exit(launcher.main(command))


def add_to(group: click.Group) -> None:
    """Add the command to a group."""
    group.add_command(run)
