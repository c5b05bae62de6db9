"""A change of environment variables that lasts for one block of start-up code.

Upstream instrumentations and exporters read some variables for themselves, in the middle of start-up,
and offer no argument instead. Around those calls, and only there, otel-forge shows them a corrected view
(see ``docs/decisions/003-environment-overlay.md``). What the application starts afterwards inherits the
user's own variables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager


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
