"""Lean instrumentations of the libraries that carry the load, by the names of their entry points.

Each takes the place of upstream's instrumentation of the same name, with its options, environment variables
and, under stable conventions, its output; `otel_forge.instruments.differences` lists what differs on purpose.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from otel_forge.instruments.core import Core

_HTTP, _DATABASE = "http", "database"


class Instrument(Protocol):
    """One instrumentation. `instrument` patches its library, `uninstrument` puts back what was there."""

    def instrument(self, core: Core) -> None: ...
    def uninstrument(self) -> None: ...


INSTRUMENTS: dict[str, tuple[str, str, str]] = {
    "flask": ("otel_forge.instruments.flask", "FlaskInstrument", _HTTP),
    "requests": ("otel_forge.instruments.requests", "RequestsInstrument", _HTTP),
    "sqlite3": ("otel_forge.instruments.sqlite3", "Sqlite3Instrument", _DATABASE),
    "logging": ("otel_forge.instruments.logging", "LoggingInstrument", ""),
    "threading": ("otel_forge.instruments.threading", "ThreadingInstrument", ""),
}
"""Name of the entry point: module, class and the conventions that it must be allowed to speak ("" for any)."""


def is_offered(name: str, opt_in: Collection[str]) -> bool:
    """Return whether there is a lean instrument `name` that speaks the conventions of OTEL_SEMCONV_STABILITY_OPT_IN.

    The old conventions, alone or besides the new ones (``/dup``), are upstream's business.
    """
    if name not in INSTRUMENTS:
        return False
    conventions = INSTRUMENTS[name][2]
    return not conventions or (conventions in opt_in and f"{conventions}/dup" not in opt_in)


def build_instrument(name: str, **options: Any) -> Instrument:
    """Return the lean instrument `name` with upstream's `options`; raises ImportError if its library is missing."""
    instrument: Instrument = instrument_class(name)(**options)
    return instrument


def instrument_class(name: str) -> Any:
    """Return the class of the lean instrument `name`; raises ImportError if its library is missing."""
    module, kind, _ = INSTRUMENTS[name]
    return getattr(import_module(module), kind)
