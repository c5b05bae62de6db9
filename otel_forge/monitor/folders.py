"""Where the monitor keeps things: incidents for good, and a folder for as long as it runs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from otel_forge.environment import own_folder
from otel_forge.errors import ForgeError
from otel_forge.launcher import instrumented
from otel_forge.logs.files.locking import sole
from otel_forge.logs.files.names import stem_of
from otel_forge.monitor.notifying import VARIABLES

_RUN = "run-"
_LOCK = ".lock"
_PATIENCE = 10.0


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
    with ExitStack() as held:
        try:
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            with sole(base / _LOCK, _PATIENCE):  # else another monitor might remove what we have not locked yet
                _remove_left_behind(base)
                folder = Path(tempfile.mkdtemp(prefix=_RUN, dir=base))
                held.enter_context(sole(folder / _LOCK))
        except OSError as error:
            raise ForgeError(
                f"The state folder {base} cannot be written ({error.strerror}). "
                "Choose another one with OTEL_FORGE_STATE_DIR."
            ) from error
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def _remove_left_behind(base: Path) -> None:
    """Remove folders that nobody holds: by their locks, since monitors in other containers may have the same ids."""
    for folder in base.glob(f"{_RUN}*"):
        with suppress(OSError), sole(folder / _LOCK) as is_ours:
            if is_ours:
                shutil.rmtree(folder, ignore_errors=True)


def try_to_write(folder: Path) -> None:
    """Write to a folder in which processes tell us how they do. Raises OSError where that cannot be, nor can they."""
    draft = folder / ".writable"
    draft.write_bytes(b"x")
    draft.unlink()


def app_environ(environ: Mapping[str, str], folder: Path, working_folder: str, *, plain: bool) -> dict[str, str]:
    """Return the environment of the app: as of ``otel-forge run`` unless `plain`, and with the folder to tell us in."""
    own = {name: value for name, value in environ.items() if name not in VARIABLES}
    return {**(own if plain else instrumented(own, working_folder)), "OTEL_FORGE_WATCH_DIR": str(folder)}
