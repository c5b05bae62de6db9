"""What stands in place of a secret, and how many secrets there were."""

from __future__ import annotations

import re
from collections.abc import Callable
from threading import Lock

from otel_forge.fork import on_fork_in_child

OPENING = "[REDACTED:"
UNREADABLE = "[REDACTED:unreadable]"
"""In place of a value on which a rule failed: rather nothing than a secret."""

MOST_IN_ONE_TEXT = 5000
"""Places in one text that are looked at for one rule; what follows is dropped, so that a hostile text costs little."""

EXCESS = "excess"
"""The class of what is dropped for that."""


class Marks:
    """Makes the replacement for each class and counts it; counts start at zero again in a forked child."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[str, int] = {}
        on_fork_in_child(self._forget)

    def _forget(self) -> None:
        self._lock = Lock()
        self._counts = {}

    def __call__(self, kind: str) -> str:
        """Return the replacement for a secret of the class `kind`, counted."""
        self.count(kind)
        return f"{OPENING}{kind}]"

    def count(self, kind: str) -> None:
        """Count a secret of the class `kind`."""
        with self._lock:
            self._counts[kind] = self._counts.get(kind, 0) + 1

    @property
    def counts(self) -> dict[str, int]:
        """Replacements so far, by class."""
        with self._lock:
            return dict(self._counts)


def is_marked(text: str) -> bool:
    """Whether `text` is nothing but a replacement."""
    return text.startswith(OPENING) and text.endswith("]") and text.find("]") == len(text) - 1


def substituted(
    pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str], text: str, most: int = MOST_IN_ONE_TEXT
) -> str:
    """Return `text` with each match replaced; after the first `most` matches the rest of it is dropped."""
    out: list[str] = []
    written = 0
    for number, match in enumerate(pattern.finditer(text)):
        out.append(text[written : match.start()])
        if number == most:
            out.append(f"{OPENING}{EXCESS}]")
            written = len(text)
            break
        out.append(replace(match))
        written = match.end()
    return "".join((*out, text[written:])) if out else text
