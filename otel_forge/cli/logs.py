"""The command `otel-forge logs`: reads what services and the stack have logged; sets log files aside, removes them."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from otel_forge.cli.logs_sources import Chosen, StackLogs, choose, existing_services, folder_for
from otel_forge.cli.logs_text import ConsoleText, json_line, lines_of
from otel_forge.cli.stack import COMPONENTS_HELP, running_backend, say, settings_for, state_dir_option
from otel_forge.errors import ForgeError
from otel_forge.logs.files.entries import Selection, pattern_from, since_from, trace_id_from
from otel_forge.logs.files.names import files_of
from otel_forge.logs.files.sink import seal_now
from otel_forge.logs.files.sources import ServiceFiles, Source, entries_of
from otel_forge.logs.files.upkeep import Bounds, Upkeep
from otel_forge.stack.logfile import is_serious
from otel_forge.stack.settings import StackSettings

_SHOW = "show"


class DefaultCommandGroup(click.Group):
    """A group that means one of its commands, whose options its help lists, where none is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command in front: the one whose name is the first word that is no option, else the default one."""
        asks_for_help = bool(args) and args[0] in ctx.help_option_names
        if not asks_for_help:
            index = self._first_word(args)
            if index is not None and args[index] in self.commands:
                args = [args[index], *args[:index], *args[index + 1 :]]
            else:
                args = [_SHOW, *args]
        return super().parse_args(ctx, args)

    def _first_word(self, args: list[str]) -> int | None:
        """Return where the first argument stands that is neither an option nor the value of one."""
        options = [option for command in self.commands.values() for option in command.params]
        with_value = {name for option in options if not getattr(option, "is_flag", True) for name in option.opts}
        before = ""
        for index, argument in enumerate(args):
            if argument == "--":
                return None
            if not argument.startswith("-") and before not in with_value:
                return index
            before = argument
        return None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options of the default command, then all commands."""
        self.commands[_SHOW].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


def folder_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option that says where log files are."""
    return click.option(
        "--dir",
        "folder",
        type=click.Path(path_type=Path),
        help="Folder of the log files [default: LOG_DIR, else ./logs].",
    )(command)


@click.group(
    cls=DefaultCommandGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="[SERVICE|COMPONENT]...",
    epilog=f"{COMPONENTS_HELP} A service that is called like a command: otel-forge logs show NAME.",
)
def logs() -> None:
    """Show what services and the stack have logged.

    SERVICE has log files in LOG_DIR, or in the folder of --dir. All there are when none is named.
    """


@logs.command(_SHOW)
@click.argument("names", nargs=-1, metavar="[SERVICE|COMPONENT]...")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until interrupted.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    help="Lines of each to begin with [default: 100; with --since all].",
)
@click.option("--err", "--errors", "errors", is_flag=True, help="Only errors; of components those of the current run.")
@click.option(
    "--since", metavar="AGO|TIME", help="Only lines since then: 10m, 2h, 1d, or ISO 8601 (UTC without a zone)."
)
@click.option("--grep", metavar="REGEX", help="Only lines in which the regular expression is found.")
@click.option("--trace", metavar="ID", help="Only lines with this trace id.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
@folder_option
@state_dir_option
def show(
    names: tuple[str, ...],
    follow: bool,
    lines: int | None,
    errors: bool,
    since: str | None,
    grep: str | None,
    trace: str | None,
    as_json: bool,
    folder: Path | None,
    state_dir: Path | None,
) -> None:
    """Show logs; the word `show` can be left out.

    Of services from their log files, of the stack's components from its engine.
    """
    wanted = Selection(
        since=since_from(since, time.time()) if since else None,
        pattern=pattern_from(grep) if grep else None,
        trace_id=trace_id_from(trace) if trace else None,
        errors=errors,
        is_error_text=is_serious,
    )
    if lines is None:
        lines = None if since else 100
    settings = settings_for(state_dir)
    chosen = choose(names, folder, settings, os.environ)
    if chosen.services or as_json or wanted.is_narrowed:
        shown = _merged(chosen, settings, wanted, lines, follow=follow, as_json=as_json)
    else:  # the stack alone: as its engine has it
        shown = running_backend(settings).logs(chosen.components, lines=lines or 0, follow=follow, errors=errors)
    try:
        for line in shown:
            click.echo(line)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ForgeError(f"{error.filename or chosen.folder} cannot be read ({error.strerror}).") from error


def _merged(
    chosen: Chosen, settings: StackSettings, wanted: Selection, lines: int | None, *, follow: bool, as_json: bool
) -> Iterator[str]:
    sources: list[Source] = [ServiceFiles(chosen.folder, service, wanted) for service in chosen.services]
    if chosen.components:
        sources.append(StackLogs(running_backend(settings), chosen.components, wanted, follow=follow, say=say))
    entries = entries_of(sources, lines, follow=follow)
    if as_json:
        return map(json_line, entries)
    return lines_of(entries, [*chosen.services, *chosen.components], ConsoleText(colour=_wants_colour()))


def _wants_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


@logs.command()
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@folder_option
def rotate(services: tuple[str, ...], folder: Path | None) -> None:
    """Set aside and pack what services write to.

    They go on in new files.
    """
    place = folder_for(folder, os.environ)
    for service in existing_services(services, place):
        with _explained(place):
            sealed = [file.path.name for file in files_of(place, service) if file.is_written and seal_now(file)]
            unpacked = Upkeep(place, service, Bounds()).pack_now()
        if unpacked:
            raise ForgeError(f"{', '.join(path.name for path in unpacked)} could not be packed.")
        click.echo(
            f"Set aside: {', '.join(sealed)}." if sealed else f"{service} has written nothing since the last time."
        )


@logs.command()
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@folder_option
def flush(services: tuple[str, ...], yes: bool, folder: Path | None) -> None:
    """Remove all log files of services.

    Running ones go on in new files.
    """
    place = folder_for(folder, os.environ)
    known = existing_services(services, place)
    if not yes:
        click.confirm(f"Remove all log files of {', '.join(known)} in {place}?", abort=True)
    for service in known:
        with _explained(place):
            count, size = Upkeep(place, service, Bounds()).remove_all()
        click.echo(f"Removed {count} log files of {service}, {size / 1e6:.1f} MB.")


@contextlib.contextmanager
def _explained(place: Path) -> Iterator[None]:
    """Turn what the file system says into an error message."""
    try:
        yield
    except OSError as error:
        raise ForgeError(f"The log files in {place} cannot be changed ({error.strerror or error}).") from error


def add_to(group: click.Group) -> None:
    """Add the command to a group."""
    group.add_command(logs)
