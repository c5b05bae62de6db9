"""The encoders are compared with upstream's, which redact nothing; tests/redaction is about what ours do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_forge import redaction
from otel_forge.redaction.rules import Rules


@pytest.fixture(scope="module", autouse=True)
def _nothing_redacted() -> Iterator[None]:
    before = redaction.policy()
    redaction.install(redaction.Policy(Rules(enabled=False)))
    yield
    redaction.install(before)
