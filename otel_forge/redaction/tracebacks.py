"""Tracebacks: the frames of one place are the same text again and again, so those without a secret are remembered.

A traceback is a few thousand characters of which only the last line is new. Looking through all of it each time would
cost more than recording the error did. Nothing is remembered of which a part was replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable

SHORTEST = 256
HEAD = "Traceback (most recent call last):\n"
_FRAMES = re.compile(re.escape(HEAD) + r"(?: .*\n)+")
_MOST_KEPT, _LONGEST_KEPT = 256, 65536


class Tracebacks:
    """Returns texts with tracebacks in them as `redact` leaves them, frames and what is between them apart."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._clean: dict[str, None] = {}

    def redacted(self, text: str) -> str:
        """Return `text` without secrets; the same object if there are none."""
        if text in self._clean:
            return text
        parts: list[str] = []
        end = 0
        for frames in _FRAMES.finditer(text):
            parts += (self._between(text[end : frames.start()]), self._frames(frames[0]))
            end = frames.end()
        parts.append(self._between(text[end:]))
        changed = "".join(parts)
        if changed != text:
            return changed
        self._keep(text)  # the span's event and the log record have the same text
        return text

    def _between(self, text: str) -> str:
        return self._redact(text) if text else text

    def _frames(self, frames: str) -> str:
        if frames in self._clean:
            return frames
        changed = self._redact(frames)
        if changed == frames:
            self._keep(frames)
        return changed

    def _keep(self, text: str) -> None:
        if len(text) > _LONGEST_KEPT:
            return
        if len(self._clean) >= _MOST_KEPT:
            self._clean.clear()
        self._clean[text] = None
