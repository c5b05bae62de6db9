"""Where the monitor keeps things: incidents for good, and a folder for as long as it runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from otel_forge.environment import own_folder
from otel_forge.errors import ForgeError
from otel_forge.launcher import instrumented
from otel_forge.logs.files.names import stem_of
from otel_forge.monitor.notifying import VARIABLES

_RUN = "run-"


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of all monitors of this user."""
    return own_folder(environ, "OTEL_FORGE_STATE_DIR", "XDG_STATE_HOME", ".local/state") / "watch"


def incident_folder(environ: Mapping[str, str], service: str) -> Path:
    """Return where incidents of a service are kept."""
    return state_folder(environ) / stem_of(service) / "incidents"


@contextmanager
def run_folder(environ: Mapping[str, str]) -> Iterator[Path]:
    """Make the folder in which processes tell this monitor how they do; it goes with the monitor.

    Those of monitors that were killed go, too. Raises ForgeError where it cannot be made.
    """
    base = state_folder(environ)
    folder = base / f"{_RUN}{os.getpid()}"
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_left_behind(base)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise ForgeError(
            f"The state folder {base} cannot be written ({error.strerror}). "
            "Choose another one with OTEL_FORGE_STATE_DIR."
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_behind(base: Path) -> None:
    for folder in base.glob(f"{_RUN}*"):
        pid = folder.name.removeprefix(_RUN)
        if pid.isdecimal() and (int(pid) == os.getpid() or not _is_alive(int(pid))):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    with suppress(OSError):
        os.kill(pid, 0)
        return True
    return Path(f"/proc/{pid}").exists()


def app_environ(environ: Mapping[str, str], folder: Path, working_folder: str, *, plain: bool) -> dict[str, str]:
    """Return the environment of the app: as of ``otel-forge run`` unless `plain`, and with the folder to tell us in."""
    own = {name: value for name, value in environ.items() if name not in VARIABLES}
    return {**(own if plain else instrumented(own, working_folder)), "OTEL_FORGE_WATCH_DIR": str(folder)}
