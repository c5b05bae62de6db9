"""The process environment: a change of variables for one block of start-up code, and the folders that they name.

Upstream instrumentations and exporters read some variables for themselves, in the middle of start-up,
and offer no argument instead. Around those calls, and only there, otel-forge shows them a corrected view
(see ``docs/decisions/003-environment-overlay.md``). What the application starts afterwards inherits the
user's own variables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def overlaid(environ: MutableMapping[str, str], changes: Mapping[str, str | None]) -> Iterator[None]:
    """Apply `changes` to `environ` (None removes a variable) for the body, then put back what was there."""
    before = {name: environ.get(name) for name in changes}
    _apply(environ, changes)
    try:
        yield
    finally:
        _apply(environ, before)


def _apply(environ: MutableMapping[str, str], changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        if value is None:
            environ.pop(name, None)
        else:
            environ[name] = value


def own_folder(environ: Mapping[str, str], own: str, xdg: str, fallback: str) -> Path:
    """Return a folder of ours; the order is our setting, the XDG one, the home folder's usual place."""
    if text := environ.get(own, "").strip():
        return Path(text).expanduser().absolute()
    base = environ.get(xdg, "").strip()
    if base and Path(base).is_absolute():  # the XDG specification says to ignore relative ones
        return Path(base) / "otel-forge"
    home = environ.get("HOME", "").strip()
    return (Path(home) if home else Path.home()) / fallback / "otel-forge"
