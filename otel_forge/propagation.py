"""Propagators by name, with stand-ins for the well-known ones that are not installed.

``import opentelemetry.propagate`` raises ValueError for a name in ``OTEL_PROPAGATORS`` that no package
offers, and with it every instrumented application fails to start. The names that the specification knows
are therefore offered by otel-forge too (see the entry points in ``pyproject.toml``): a stand-in passes
nothing on until `build_propagator` has said what to install and put a working default in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint

from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator

from otel_forge import plugins

_GROUP = "opentelemetry_propagator"
_DEFAULT = ("tracecontext", "baggage")
_PACKAGES = {
    "b3": "opentelemetry-propagator-b3",
    "b3multi": "opentelemetry-propagator-b3",
    "jaeger": "opentelemetry-propagator-jaeger",
    "ottrace": "opentelemetry-propagator-ot-trace",
    "xray": "opentelemetry-propagator-aws-xray",
    "xray-lambda": "opentelemetry-propagator-aws-xray",
}


def build_propagator(names: Sequence[str], complain: Callable[[str], None]) -> TextMapPropagator:
    """Return the propagators `names` as one; those that cannot be had are said, and if none is left, W3C's serve."""
    if "none" in (name.lower() for name in names):
        return CompositePropagator([])
    found = [propagator for name in names if (propagator := _build(name, complain))]
    return CompositePropagator(found or [_load(name) for name in _DEFAULT])


def _build(name: str, complain: Callable[[str], None]) -> TextMapPropagator | None:
    try:
        return _load(name)
    except LookupError:
        package = _PACKAGES.get(name)
        how = f"pip install {package}" if package else f"installed are {', '.join(plugins.installed(_GROUP))}"
        complain(
            f"OTEL_PROPAGATORS={name!r} is not installed ({how}); using {','.join(_DEFAULT)} unless another is named."
        )
    except Exception as error:  # noqa: BLE001 - a third-party propagator costs only itself
        complain(f"OTEL_PROPAGATORS={name!r} cannot be started ({type(error).__name__}: {error}).")
    return None


def _load(name: str) -> TextMapPropagator:
    offered = (point for point in plugins.offered(_GROUP) if point.name == name)
    real = next((point for point in offered if not _is_stand_in(point)), None)
    if real is None:
        raise LookupError(name)
    propagator: TextMapPropagator = real.load()()
    return propagator


def _is_stand_in(entry_point: EntryPoint) -> bool:
    return entry_point.value.startswith(f"{__name__}:")


def _stand_in(name: str) -> TextMapPropagator:
    try:
        return _load(name)
    except LookupError:
        return CompositePropagator([])


def b3() -> TextMapPropagator:
    """Return the B3 single-header propagator if it is installed, else one that passes nothing on."""
    return _stand_in("b3")


def b3multi() -> TextMapPropagator:
    """Return the B3 multi-header propagator if it is installed, else one that passes nothing on."""
    return _stand_in("b3multi")


def jaeger() -> TextMapPropagator:
    """Return the Jaeger propagator if it is installed, else one that passes nothing on."""
    return _stand_in("jaeger")


def ottrace() -> TextMapPropagator:
    """Return the OpenTracing propagator if it is installed, else one that passes nothing on."""
    return _stand_in("ottrace")


def xray() -> TextMapPropagator:
    """Return the AWS X-Ray propagator if it is installed, else one that passes nothing on."""
    return _stand_in("xray")


def xray_lambda() -> TextMapPropagator:
    """Return the AWS X-Ray Lambda propagator if it is installed, else one that passes nothing on."""
    return _stand_in("xray-lambda")
