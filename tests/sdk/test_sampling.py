"""Samplers and id generators by name."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from otel_forge.sdk.sampling import build_id_generator, build_sampler
from otel_forge.settings import Settings


@pytest.mark.parametrize(
    ("environ", "description"),
    [
        ({}, "ParentBased{root:AlwaysOnSampler,"),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, "AlwaysOffSampler"),
        ({"OTEL_TRACES_SAMPLER": "TraceIdRatio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}, "TraceIdRatioBased{0.25}"),
        (
            {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"},
            "ParentBased{root:TraceIdRatioBased{0.5}",
        ),
    ],
)
def test_standard_samplers(environ: dict[str, str], description: str) -> None:
    """The names of the specification, in any case, with their argument."""
    sampler = build_sampler(Settings.from_env(environ), pytest.fail)
    assert sampler.get_description().startswith(description)


def test_an_unknown_sampler_is_one_line_and_the_default() -> None:
    """The line lists what is allowed."""
    said: list[str] = []
    sampler = build_sampler(Settings.from_env({"OTEL_TRACES_SAMPLER": "dice"}), said.append)
    assert sampler.get_description().startswith("ParentBased{root:AlwaysOnSampler")
    assert said[0].startswith("OTEL_TRACES_SAMPLER='dice' is not one of always_on, always_off, traceidratio")


def test_an_unknown_id_generator_is_one_line_and_random() -> None:
    """Ids are always generated."""
    said: list[str] = []
    generator = build_id_generator(Settings.from_env({"OTEL_PYTHON_ID_GENERATOR": "dice"}), said.append)
    assert isinstance(generator, RandomIdGenerator)
    assert said == ["OTEL_PYTHON_ID_GENERATOR='dice' is not one of random; using random."]
