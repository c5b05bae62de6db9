"""Trace and span ids from a private random source.

The `random` module's shared generator is the application's: ``random.seed(42)`` in a test or a simulation
would repeat trace ids (open-telemetry/opentelemetry-python#4376). This one is seeded from the operating
system, and again in every forked child, which would otherwise draw the same ids as its parent.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

from opentelemetry.sdk.trace.id_generator import IdGenerator

from otel_forge.fork import on_fork_in_child

RANDOM_TRACE_ID = 0x02  # W3C trace context level 2: the random-trace-id flag


class PrivateIds(IdGenerator):
    """Generates random ids. ``Random.getrandbits`` is one call into C, so threads can share it."""

    def __init__(self) -> None:
        self._random = Random()  # noqa: S311 - ids must be unlikely to collide, not unpredictable
        self._reseed()
        on_fork_in_child(self._reseed)

    def _reseed(self) -> None:
        self._random.seed(os.urandom(32))

    @property
    def bits(self) -> Callable[[int], int]:
        """The source itself: ``bits(64)`` is a span id, except that it may be zero once in 2**64."""
        return self._random.getrandbits

    def generate_span_id(self) -> int:
        """Return a non-zero 64-bit number."""
        return self._random.getrandbits(64) or 1

    def generate_trace_id(self) -> int:
        """Return a non-zero 128-bit number, all bits random."""
        return self._random.getrandbits(128) or 1

    def is_trace_id_random(self) -> bool:
        """Return True: new traces carry the random-trace-id flag, as with upstream's generator."""
        return True
