"""Grafana as a native process: found on PATH where its users have installed it, with a password of its own."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from otel_forge.errors import StackError
from otel_forge.stack.state import StateFolder

_USUAL_HOMES = ("/usr/share/grafana", "/usr/local/share/grafana", "/opt/homebrew/opt/grafana/share/grafana")

MISSING = (
    "Grafana is not on PATH, so no dashboards are served (no package index carries it). Install it from "
    "grafana.com, or use `otel-forge up --engine docker`; until then ask the stores themselves."
)


def find_command(environ: Mapping[str, str]) -> list[str] | None:
    """Return the start of Grafana's command line, or None where no Grafana is on PATH."""
    search = environ.get("PATH")
    if found := shutil.which("grafana", path=search):
        command = [found, "server"]
    elif found := shutil.which("grafana-server", path=search):
        command = [found]
    else:
        return None
    return [*command, f"--homepath={_home(Path(found), environ)}"]


def _home(program: Path, environ: Mapping[str, str]) -> Path:
    """Return the folder that holds Grafana's pages and default settings."""
    chosen = environ.get("GF_PATHS_HOME", "").strip()
    homes = [Path(chosen)] if chosen else [program.resolve().parent.parent, *map(Path, _USUAL_HOMES)]
    for home in homes:
        if (home / "conf" / "defaults.ini").is_file():
            return home
    raise StackError(
        f"{program} is on PATH, but its home folder (with conf/defaults.ini) is not at {', '.join(map(str, homes))}. "
        "Set GF_PATHS_HOME to it."
    )


def ensure_password(folder: StateFolder) -> Path:
    """Return the file with the administrator's password, made on the first call, readable by this user only."""
    path = folder.password_file
    path.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        path.chmod(0o600)
        return path
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secrets.token_urlsafe(18))
    return path
