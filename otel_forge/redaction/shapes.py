"""Shapes: a text with 0 for every digit. The messages and paths of a program have few, and most hold nothing.

A shape is harmless if nothing is in it at which any rule begins, and too few digits for a card: then no text of that
shape can hold a secret, whatever its digits are, and the rules need not be asked. It is looked at once.
"""

from __future__ import annotations

import re

from otel_forge.redaction.tokens import AWS_SIGNS, JWT_SIGN, SIGNS

LONGEST = 128
_MOST_KEPT = 2048
_DIGITS_OF_A_CARD = 13
_ZEROS = bytes(0x30 if 0x30 <= byte <= 0x39 else byte for byte in range(256))
_ASSIGNMENT = re.compile(rb"[=:'<]|--|earer |asic ").search
"""What `otel_forge.redaction.assignments`, statements, credentials, queries and private keys need."""


def shape_of(text: str) -> bytes:
    """Return the shape of an ASCII text."""
    return text.encode().translate(_ZEROS)


_SIGNS = tuple((connector.encode(), shape_of(sign)) for connector, sign in SIGNS) + tuple(
    (b"", shape_of(sign)) for sign in (JWT_SIGN, *AWS_SIGNS)
)


class HarmlessShapes:
    """What is known of shapes: whether they are harmless; safe from any thread."""

    def __init__(self) -> None:
        self._known: dict[bytes, bool] = {}

    def have(self, text: str) -> bool:
        """Return whether no text of the shape of `text`, a short one, can hold what the rules look for."""
        if not text.isascii():
            return False
        shape = text.encode().translate(_ZEROS)  # as shape_of, without the call
        known = self._known.get(shape)
        return self._looked_at(shape) if known is None else known

    def _looked_at(self, shape: bytes) -> bool:
        """Look at a shape and remember what was found."""
        harmless = shape.count(b"0") < _DIGITS_OF_A_CARD and _ASSIGNMENT(shape) is None and not _has_sign(shape)
        if len(self._known) >= _MOST_KEPT:
            self._known = {}
        self._known[shape] = harmless
        return harmless


def _has_sign(shape: bytes) -> bool:
    return any(sign in shape and connector in shape for connector, sign in _SIGNS)
