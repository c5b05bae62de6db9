"""Signs: pieces of text without which a rule has nothing to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

_LONG = 2048
T = TypeVar("T")


def likely(rows: Sequence[tuple[str, T]], text: str) -> Sequence[tuple[str, T]]:
    """Return those of `rows`, each a sign and what belongs to it, whose sign may be in `text`.

    A letter is found in a long text, or not, ten times as fast as a word; hostile texts have few different letters.
    """
    if len(text) < _LONG:
        return rows
    return [row for row in rows if all(letter in text for letter in row[0])]
