"""The settings of the stack, read once from a mapping."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from otel_forge.environment import own_folder
from otel_forge.errors import SettingsError
from otel_forge.stack.ports import PORTS, ports_from_env

LANES = ("grafana", "prometheus")

# How long and how much is kept: setting, default, form, and what to say of anything else.
RETENTIONS = (
    ("OTEL_FORGE_RETENTION", "15d", r"[1-9]\d*[hdwy]", "a time such as 15d"),
    ("OTEL_FORGE_RETENTION_SIZE", "4GB", r"[1-9]\d*(MB|GB|TB)", "a size such as 4GB"),
    ("OTEL_FORGE_RETENTION_LOGS", "168h", r"[1-9]\d*h", "a time in hours such as 168h"),
    ("OTEL_FORGE_RETENTION_TRACES", "48h", r"[1-9]\d*h", "a time in hours such as 48h"),
)


def _default_retentions() -> dict[str, str]:
    return {name: default for name, default, _, _ in RETENTIONS}


@dataclass(frozen=True)
class StackSettings:
    """Where the stack keeps its files, which ports it uses and how long it keeps data."""

    state_dir: Path
    cache_dir: Path
    ports: Mapping[str, int]
    config_dir: Path | None = None
    """An operator's own copy of the bundle; None for the one that came with the package."""
    retention: Mapping[str, str] = field(default_factory=_default_retentions)
    """How long metrics (also how much of them), logs and traces are kept, by the names of the settings."""
    alerting: str | None = None
    """Which lane notifies, `grafana` or `prometheus`; None lets the engine choose."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> StackSettings:
        """Read every setting of the stack; raise SettingsError for one that cannot be used."""
        config_dir = environ.get("OTEL_FORGE_CONFIG_DIR", "").strip()
        return cls(
            state_dir=own_folder(environ, "OTEL_FORGE_STATE_DIR", "XDG_STATE_HOME", ".local/state"),
            cache_dir=own_folder(environ, "OTEL_FORGE_CACHE_DIR", "XDG_CACHE_HOME", ".cache"),
            ports=ports_from_env(environ),
            config_dir=_existing_folder(config_dir) if config_dir else None,
            retention={
                name: _matching(environ, name, default, form, allowed) for name, default, form, allowed in RETENTIONS
            },
            alerting=_lane(environ),
        )

    def port_variables(self) -> dict[str, str]:
        """Return every port as the environment variable that sets it."""
        return {port.setting: str(self.ports[port.key]) for port in PORTS}


def _existing_folder(text: str) -> Path:
    folder = Path(text).expanduser().absolute()
    if not folder.is_dir():
        raise SettingsError(f"OTEL_FORGE_CONFIG_DIR={text!r} is not a folder.")
    return folder


def _matching(environ: Mapping[str, str], name: str, default: str, form: str, allowed: str) -> str:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not re.fullmatch(form, text):
        raise SettingsError(f"{name}={text!r} is not {allowed}.")
    return text


def _lane(environ: Mapping[str, str]) -> str | None:
    text = environ.get("OTEL_FORGE_ALERTING", "").strip().lower()
    if text and text not in LANES:
        raise SettingsError(f"OTEL_FORGE_ALERTING={text!r} is not one of {', '.join(LANES)}.")
    return text or None
