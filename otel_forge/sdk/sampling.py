"""The sampler and the id generator, by their standard names or those of installed packages."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.sdk.trace import sampling
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator

from otel_forge import plugins
from otel_forge.settings import Settings

Complain = Callable[[str], None]

_STANDARD: dict[str, Callable[[str], sampling.Sampler]] = {
    "always_on": lambda argument: sampling.ALWAYS_ON,
    "always_off": lambda argument: sampling.ALWAYS_OFF,
    "traceidratio": lambda argument: sampling.TraceIdRatioBased(float(argument)),
    "parentbased_always_on": lambda argument: sampling.DEFAULT_ON,
    "parentbased_always_off": lambda argument: sampling.DEFAULT_OFF,
    "parentbased_traceidratio": lambda argument: sampling.ParentBasedTraceIdRatio(float(argument)),
}
_DEFAULT = "parentbased_always_on"
_SAMPLERS = "opentelemetry_traces_sampler"
_ID_GENERATORS = "opentelemetry_id_generator"


def build_sampler(settings: Settings, complain: Complain) -> sampling.Sampler:
    """Return the sampler that the settings name; one that cannot be had is said and replaced by the default."""
    name = settings.sampler
    build = _STANDARD.get(name.lower())
    if build is not None:
        return build(settings.sampler_arg)
    try:
        sampler = plugins.load(_SAMPLERS, name)(settings.sampler_arg)
        if isinstance(sampler, sampling.Sampler):
            return sampler
        complain(f"OTEL_TRACES_SAMPLER={name!r} gives no sampler but a {type(sampler).__name__}; using {_DEFAULT}.")
    except LookupError:
        allowed = ", ".join(dict.fromkeys([*_STANDARD, *plugins.installed(_SAMPLERS)]))
        complain(f"OTEL_TRACES_SAMPLER={name!r} is not one of {allowed}; using {_DEFAULT}.")
    except Exception as error:  # noqa: BLE001 - a third-party sampler costs only itself
        complain(f"OTEL_TRACES_SAMPLER={name!r} cannot be started ({type(error).__name__}: {error}); using {_DEFAULT}.")
    return sampling.DEFAULT_ON


def build_id_generator(settings: Settings, complain: Complain) -> IdGenerator:
    """Return the id generator that the settings name; one that cannot be had is said and replaced by `random`."""
    name = settings.id_generator
    if name.lower() == "random":
        return RandomIdGenerator()
    try:
        generator = plugins.load(_ID_GENERATORS, name)()
    except LookupError:
        allowed = ", ".join(dict.fromkeys(["random", *plugins.installed(_ID_GENERATORS)]))
        complain(f"OTEL_PYTHON_ID_GENERATOR={name!r} is not one of {allowed}; using random.")
        return RandomIdGenerator()
    return generator if isinstance(generator, IdGenerator) else RandomIdGenerator()
