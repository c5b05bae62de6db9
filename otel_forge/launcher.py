"""``otel-forge run``: starts a program with telemetry on.

It does what ``opentelemetry-instrument`` does, in a fraction of the time: it puts the folder of our
``sitecustomize`` first on PYTHONPATH and becomes the program. Python then imports that module when it starts, here and
in every Python process that the program starts in turn. Nothing but the standard library's smallest modules is imported
here; each one more would be added to every start (see ``docs/decisions/009-launcher.md``).
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing itself would take a millisecond
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

HELP = """\
Usage: otel-forge run [--] COMMAND [ARGUMENT]...

  Run COMMAND with telemetry on: any Python program, and the Python processes that it starts.

  Everything is set by environment variables: those of OpenTelemetry (OTEL_SERVICE_NAME,
  OTEL_EXPORTER_OTLP_ENDPOINT, ...) and OTEL_FORGE_*; see docs/settings.md.

  otel-forge run python app.py
  otel-forge run gunicorn shop:app --workers 4
  OTEL_SERVICE_NAME=shop otel-forge run flask --app shop run

Options:
  -h, --help  Show this message and exit.

  Exit codes: those of COMMAND; 127 it does not exist; 126 it cannot be run; 2 wrong usage.
"""
WRONG_USAGE, CANNOT_RUN, NOT_FOUND = 2, 126, 127
AUTOSTART = os.path.join(os.path.dirname(os.path.abspath(__file__)), "autostart")
_UPSTREAM = os.path.join("opentelemetry", "instrumentation", "auto_instrumentation")


def main(arguments: Sequence[str], execute: Callable[[str, Any, Any], object] = os.execvpe) -> int:
    """Become the command that `arguments` name; return an exit code only where that cannot be."""
    if arguments and arguments[0] in ("-h", "--help"):
        sys.stdout.write(HELP)
        return 0
    if arguments and arguments[0].startswith("-") and arguments[0] != "--":
        hint = "settings are environment variables: OTEL_SERVICE_NAME=shop otel-forge run python app.py"
        return _refuse(f"no such option: {arguments[0]} ({hint})", WRONG_USAGE)
    command = list(arguments[1:] if arguments[:1] == ["--"] else arguments)
    if not command:
        return _refuse("which command? For example: otel-forge run python app.py", WRONG_USAGE)
    try:
        execute(command[0], command, instrumented(os.environ, _working_folder()))
    except OSError as error:
        return _refuse(*_reason(command, error))
    except ValueError as error:  # a NUL in the name
        return _refuse(f"{command[0]!r} cannot be run: {error}", CANNOT_RUN)
    return 0


def instrumented(environ: Mapping[str, str], folder: str) -> dict[str, str]:
    """Return the environment in which Python starts with telemetry on.

    As with upstream's launcher the working `folder` becomes importable, for programs that are files of their own.
    Upstream's folder goes: one of the two is enough.
    """
    paths = [path for path in environ.get("PYTHONPATH", "").split(os.pathsep) if path and not _starts_telemetry(path)]
    if folder and folder not in paths:
        paths.insert(0, folder)
    return {**environ, "PYTHONPATH": os.pathsep.join([AUTOSTART, *paths])}


def _working_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - importing pathlib takes longer than all of this
    except OSError:  # it has been removed
        return ""


def _starts_telemetry(path: str) -> bool:
    return path == AUTOSTART or path.rstrip(os.sep).endswith(_UPSTREAM)


def _reason(command: Sequence[str], error: OSError) -> tuple[str, int]:
    """Return why the command cannot be run and the exit code that a shell gives."""
    name = command[0]
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        python = f" Did you mean: otel-forge run python {' '.join(command)}" if name.endswith(".py") else ""
        return f"{name!r} cannot be run: {error.strerror}.{python}", CANNOT_RUN
    if not os.path.exists(name):  # noqa: PTH110 - as above
        return f"{name!r}: no such command.", NOT_FOUND
    if os.sep in name:
        return f"{name!r} cannot be run: the interpreter that its first line names does not exist.", CANNOT_RUN
    return f"{name!r}: no such command. Did you mean: otel-forge run python {' '.join(command)}", NOT_FOUND


def _refuse(why: str, code: int) -> int:
    sys.stderr.write(f"otel-forge run: {why}\n")
    return code
