"""A policy of the test's own, and the encoders' caches made afresh for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_forge import redaction


@pytest.fixture
def policy() -> Iterator[redaction.Policy]:
    """The policy of this process while the test runs: the defaults, nothing counted yet."""
    before = redaction.policy()
    fresh = redaction.Policy()
    redaction.install(fresh)
    yield fresh
    redaction.install(before)
