"""Texts that are passed because of their shape: only such as the rules, when asked, would pass as well."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_forge.redaction import Policy
from otel_forge.redaction.rules import Rules, compiled
from otel_forge.redaction.shapes import LONGEST, HarmlessShapes
from tests.corpus import secrets

_PAD = " " * LONGEST
"""Makes a text too long to be told by its shape."""

_WORDS = (
    *(secret.value for secret in secrets()),
    *("asset 17 read", "/api/assets/", "r8_", "sq0atp-", "ya29.", "do1_v1_", "ATATT3", "AGE-SECRET-KEY-1", "NRAK-"),
    *("password", "Bearer ", "--token ", "4111 1111", "-1111-1111", "'", "=", ":", "?", "<", "/", "_", "-", ".", " "),
)
_pieces = st.one_of(st.sampled_from(_WORDS), st.from_regex(r"\A[0-9a-fA-F]{1,20}\Z"), st.text(max_size=5))


@given(st.lists(_pieces, min_size=1, max_size=4))
def test_what_a_shape_lets_pass_the_rules_let_pass_too(pieces: list[str]) -> None:
    """Also if the shape was first seen with other digits."""
    shapes = HarmlessShapes()
    text = "".join(pieces)[:LONGEST]
    shapes.have("".join(str(9 - int(letter)) if letter in "0123456789" else letter for letter in text))
    if shapes.have(text):
        assert Policy().text(text + _PAD) == text + _PAD


@pytest.mark.parametrize("text", ["asset 17 was read", "/api/assets/4711", "127.0.0.1", "image-1_of_2.png"])
def test_texts_of_everyday_have_harmless_shapes(text: str) -> None:
    """They are passed by a look into a dict."""
    assert HarmlessShapes().have(text)


@pytest.mark.parametrize("digits", ["4111111111111111", "0000000000000"])
def test_digits_that_may_be_a_card_have_none(digits: str) -> None:
    """Which digits they are decides, so the rules are asked each time."""
    assert not HarmlessShapes().have(f"paid with {digits}")


def test_own_patterns_see_every_text() -> None:
    """The user's patterns may look for anything."""
    policy = Policy()
    assert policy.text("order 17") == "order 17"
    policy.replace_rules(Rules(patterns=compiled({"order": r"order \d+"})))
    assert policy.text("order 18") == "[REDACTED:order]"
