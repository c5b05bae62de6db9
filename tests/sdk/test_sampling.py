"""Samplers and id generators by name."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, set_span_in_context

from otel_forge.sdk.sampling import build_id_generator, build_sampler
from otel_forge.settings import Settings
from tests.sdk.pairs import RESOURCE, CountingIds, Watching, all_facts, lean_provider


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


RATIOS = ("0", "0.25", "0.5", "1")
STATE = TraceState([("vendor", "1")])
EVERY_STANDARD_SAMPLER = [
    *((name, "") for name in ("always_on", "always_off", "parentbased_always_on", "parentbased_always_off")),
    *((name, ratio) for name in ("traceidratio", "parentbased_traceidratio") for ratio in RATIOS),
]


class SpreadIds(CountingIds):
    """Trace ids over the whole range that a ratio looks at: every sixteenth of it, and both of its ends."""

    def generate_trace_id(self) -> int:
        low = super().generate_trace_id() & 0xFFFF_FFFF
        return 1 << 64 | (low * (1 << 60) - low % 2) % (1 << 64)


def of_every_parent(tracer: Any) -> None:
    """Start roots, children of remote parents of every kind, and children of all of these."""
    remote = [SpanContext(number << 60 | 1, 7, True, TraceFlags(number % 4), STATE) for number in range(16)]
    contexts = [Context()] * 16 + [set_span_in_context(NonRecordingSpan(parent), Context()) for parent in remote]
    for context in contexts:
        with tracer.start_as_current_span("entry", context=context, attributes={"a": 1}):
            tracer.start_span("child").end()


@pytest.mark.parametrize(("name", "argument"), EVERY_STANDARD_SAMPLER)
def test_every_standard_sampler_decides_as_upstreams(name: str, argument: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by the variables of the specification, which upstream's provider reads itself."""
    environ = {"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": argument}
    for variable, text in environ.items():
        monkeypatch.setenv(variable, text)
    upstream = TracerProvider(resource=RESOURCE, id_generator=SpreadIds(), shutdown_on_exit=False)
    lean = lean_provider(sampler=build_sampler(Settings.from_env(environ), pytest.fail), id_generator=SpreadIds())
    seen = []
    for provider in (upstream, lean):
        watching = Watching()
        provider.add_span_processor(watching)
        of_every_parent(provider.get_tracer("t"))
        seen.append(list(all_facts(watching.ended)))
    assert seen[1] == seen[0]
    everything = 4 * 16
    assert {"always_on": len(seen[0]) == everything, "always_off": not seen[0]}.get(name, True)


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
