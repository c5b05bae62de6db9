"""What becomes of a program's own calls to upstream's instrumentors while our instruments are active.

``FlaskInstrumentor().instrument(request_hook=...)`` and its like would record every request a second time. Instead
their options are handed to our instrument, and the call is done: one span for each request, and the hooks are called.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from opentelemetry import metrics, trace

from otel_forge.guard import guard
from otel_forge.import_hooks import when_imported
from otel_forge.instruments.core import Core
from otel_forge.notices import notice

_INSTRUMENTORS = {
    "flask": "FlaskInstrumentor",
    "requests": "RequestsInstrumentor",
    "sqlite3": "SQLite3Instrumentor",
    "logging": "LoggingInstrumentor",
    "threading": "ThreadingInstrumentor",
}
_active: dict[str, tuple[Any, Core]] = {}


def watch(name: str) -> None:
    """Arrange that calls to upstream's instrumentor of `name` are adopted, whenever its module is imported.

    To be called before the library itself is imported, as upstream's module imports it half-way.
    """
    when_imported(f"opentelemetry.instrumentation.{name}", functools.partial(_stand_in, name))


def activated(name: str, instrument: Any, core: Core) -> None:
    """Hand the calls for `name` to `instrument` from now on."""
    _active[name] = instrument, core


def is_active(name: str) -> bool:
    """Return whether our instrument `name` is active already."""
    return name in _active


def _stand_in(name: str, module: ModuleType) -> None:
    """Change upstream's instrumentor so that it asks for ours first."""
    kind: Any = getattr(module, _INSTRUMENTORS[name])
    switch_on, switch_off, uninstrument = kind._instrument, kind._uninstrument, kind.uninstrument

    @functools.wraps(switch_on)
    def _instrument(self: Any, **options: Any) -> Any:
        if name not in _active:
            return switch_on(self, **options)
        ours, core = _active[name]
        with guard(f"taking over the options of {kind.__name__}"):
            ours.adopt(**_understood(ours.adopt, options, kind.__name__))
            ours.instrument(core)
        return None

    @functools.wraps(switch_off)
    def _uninstrument(self: Any, **options: Any) -> Any:
        if name not in _active:
            return switch_off(self, **options)
        _active[name][0].uninstrument()
        return None

    @functools.wraps(uninstrument)
    def off(self: Any, **options: Any) -> Any:
        if name in _active:
            self._is_instrumented_by_opentelemetry = True  # by us, if not by itself
        return uninstrument(self, **options)

    kind._instrument, kind._uninstrument, kind.uninstrument = _instrument, _uninstrument, off
    for method in getattr(_active_class(name), "ADOPTED", ()):
        setattr(kind, method, staticmethod(_adopting(name, method, getattr(kind, method))))


def _active_class(name: str) -> Any:
    from otel_forge.instruments import instrument_class

    return instrument_class(name)


def _adopting(name: str, method: str, original: Any) -> Any:
    """Return what stands in the place of a static method of upstream's instrumentor that ours has, too."""

    @functools.wraps(original)
    def call(subject: Any, *arguments: Any, **options: Any) -> Any:
        if name not in _active:
            return original(subject, *arguments, **options)
        given = inspect.signature(original).bind(subject, *arguments, **options).arguments
        given.pop(next(iter(given)))
        ours = getattr(_active[name][0], method)
        result = ours(subject, **_understood(ours, given, f"{_INSTRUMENTORS[name]}.{method}"))
        return original(subject, *arguments, **options) if result is NotImplemented else result

    return call


def _understood(method: Any, options: Mapping[str, Any], called: str) -> dict[str, Any]:
    """Return those of `options` that `method` takes; say which of the others have no effect.

    The global providers are where our instrument records anyway.
    """
    known = inspect.signature(method).parameters
    usual = (None, trace.get_tracer_provider(), metrics.get_meter_provider())
    ignored = [name for name, value in options.items() if name not in known and value not in usual]
    if ignored:
        notice(f"{', '.join(ignored)} of {called} has no effect: otel-forge's own instrument records to its pipeline.")
    return {name: value for name, value in options.items() if name in known}
