"""Ids: private, never repeated, different in a child, and the user's own when there is a generator."""

from __future__ import annotations

import os
import random

import pytest

from otel_forge.sdk.ids import PrivateIds
from tests.sdk.pairs import CountingIds, lean_provider


def test_random_seed_of_the_application_changes_nothing() -> None:
    """Seeding the shared generator twice does not repeat an id."""
    ids = PrivateIds()
    drawn = set[int]()
    for _ in range(2):
        random.seed(42)
        drawn.update((ids.generate_trace_id(), ids.generate_span_id()))
    assert len(drawn) == 4


def test_ids_have_their_size_and_are_not_zero() -> None:
    """128 bits for a trace, 64 for a span."""
    ids = PrivateIds()
    assert all(0 < ids.generate_trace_id() < 1 << 128 for _ in range(100))
    assert all(0 < ids.generate_span_id() < 1 << 64 for _ in range(100))
    assert max(ids.generate_trace_id() for _ in range(100)) >= 1 << 120


def test_a_forked_child_draws_other_ids() -> None:
    """The generator is seeded again in the child."""
    ids = PrivateIds()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(ids.generate_trace_id()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reader, 100)) != ids.generate_trace_id()
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(("random_ids", "flags"), [(True, 3), (False, 1)])
def test_the_random_flag_follows_the_generator(random_ids: bool, flags: int) -> None:
    """W3C level 2: set for traces whose id is random, and handed down to children."""
    tracer = lean_provider(id_generator=CountingIds(random_ids)).get_tracer("t")
    with tracer.start_as_current_span("root") as root:
        child = tracer.start_span("child")
    assert int(root.get_span_context().trace_flags) == int(child.get_span_context().trace_flags) == flags


def test_our_own_ids_are_random() -> None:
    """A root span of the default provider carries both flags."""
    span = lean_provider().get_tracer("t").start_span("root")
    assert int(span.get_span_context().trace_flags) == 3


def test_the_generator_of_the_user_is_asked() -> None:
    """Trace id first, then span id, as upstream does."""
    context = lean_provider(id_generator=CountingIds()).get_tracer("t").start_span("root").get_span_context()
    assert (context.trace_id, context.span_id) == (1 << 64 | 1, 2)
