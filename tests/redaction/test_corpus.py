"""S1 and S2 on the policy itself: no secret of a large corpus stays, nothing harmless goes."""

from __future__ import annotations

import pytest

from otel_forge.redaction import Policy
from tests.corpus import CLASSES, benign, secrets

EACH = 200
MOST_FALSE = 0.001
CORPUS = secrets(EACH)


@pytest.mark.parametrize("kind", CLASSES)
def test_no_secret_stays_in_a_text(kind: str) -> None:
    """200 secrets of the class, as they stand in messages."""
    policy = Policy()
    corpus = [secret for secret in CORPUS if secret.kind == kind]
    assert len(corpus) == EACH
    assert [secret.text for secret in corpus if secret.needle in policy.text(secret.text)] == []
    assert sum(policy.counts.values()) >= EACH


@pytest.mark.parametrize("kind", CLASSES)
def test_no_secret_stays_under_its_key(kind: str) -> None:
    """The same as attribute values, alone and nested."""
    policy = Policy()
    for secret in CORPUS:
        if secret.kind == kind:
            key = secret.key or "note"
            value = policy.value("data", {"list": [{key: secret.value}, secret.text.encode()]})
            assert secret.needle not in repr(value), secret.name


def test_what_was_redacted_stays_as_it_is() -> None:
    """Sinks can be chained: redacting again neither changes a text nor counts anything."""
    policy = Policy()
    once = [policy.text(secret.text) for secret in secrets()]
    counts = policy.counts
    assert [policy.text(text) for text in once] == once
    assert policy.counts == counts


def test_nearly_nothing_harmless_is_taken_for_a_secret() -> None:
    """S2: at most one in a thousand of the benign corpus changes."""
    policy = Policy()
    corpus = benign(5000)
    changed = [(key, value) for key, value in corpus if policy.value(key, value) is not value]
    assert len(changed) <= MOST_FALSE * len(corpus), changed
    assert len({repr(item) for item in corpus}) > 1000
