"""Propagators by name, and the stand-ins that keep an application starting."""

from __future__ import annotations

import pytest
from opentelemetry.propagators.composite import CompositePropagator

from otel_forge import propagation
from otel_forge.propagation import build_propagator


def test_the_standard_ones_are_built_without_a_word() -> None:
    """tracecontext and baggage are part of the API."""
    said: list[str] = []
    assert build_propagator(("tracecontext", "baggage"), said.append).fields == {
        "traceparent",
        "tracestate",
        "baggage",
    }
    assert said == []


def test_one_that_is_missing_says_what_to_install_and_leaves_the_others() -> None:
    """The line names the package; what else was asked for stays."""
    said: list[str] = []
    assert build_propagator(("jaeger", "baggage"), said.append).fields == {"baggage"}
    assert said == [
        "OTEL_PROPAGATORS='jaeger' is not installed (pip install opentelemetry-propagator-jaeger); "
        "using tracecontext,baggage unless another is named."
    ]


def test_none_turns_propagation_off() -> None:
    """As the specification has it, `none` wins."""
    assert build_propagator(("none", "baggage"), pytest.fail).fields == set()


@pytest.mark.parametrize("name", ["b3", "b3multi", "jaeger", "ottrace", "xray", "xray_lambda"])
def test_a_stand_in_passes_nothing_on(name: str) -> None:
    """Until `build_propagator` replaces it, a stand-in neither reads nor writes headers."""
    stand_in = getattr(propagation, name)()
    assert isinstance(stand_in, CompositePropagator)
    assert stand_in.fields == set()
