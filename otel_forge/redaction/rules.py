"""What the user added: keys, patterns and a callback, and what they allow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from otel_forge.parsing import repeats_a_repetition

Callback = Callable[[str, str], "str | None"]
"""Is given a key (empty for free text) and a text, and returns what stands in its place, or None to leave it."""

CUSTOM_KEY = "custom-key"

ALLOWED_HEADERS = frozenset(
    """
    accept accept-charset accept-encoding accept-language accept-ranges age allow cache-control connection
    content-disposition content-encoding content-language content-length content-type date etag expect expires host
    if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive last-modified location
    max-forwards origin pragma range referer retry-after server server-timing te trailer transfer-encoding
    traceparent tracestate upgrade user-agent vary via warning x-correlation-id x-forwarded-host x-forwarded-port
    x-forwarded-proto x-powered-by x-request-id x-requested-with x-response-time
    """.split()  # noqa: SIM905 - as it would stand in a table
)
"""Headers whose values stay (texts in them are still read): those that HTTP itself and proxies set."""


@dataclass(frozen=True)
class Rules:
    """Everything about a policy that can be set."""

    enabled: bool = True
    keys: tuple[str, ...] = ()
    """More keys that name a secret; ``*`` and ``?`` stand for any characters."""
    patterns: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    """More secrets that can be told by their looks: class and pattern."""
    callback: Callback | None = None
    allowed_keys: frozenset[str] = frozenset()
    allowed_headers: frozenset[str] = ALLOWED_HEADERS
    allowed_query: frozenset[str] = frozenset()

    def own_class(self, key: str) -> str:
        """Return the class that the user's keys give `key`; empty if none."""
        low = key.lower()
        return CUSTOM_KEY if any(fnmatchcase(low, pattern) for pattern in self.keys) else ""


def compiled(patterns: Mapping[str, Any]) -> dict[str, re.Pattern[str]]:
    """Return the patterns, compiled; raises re.error for one that cannot be, or that may take exponential time."""
    for name, pattern in patterns.items():
        if isinstance(pattern, str) and repeats_a_repetition(pattern):
            raise re.error(f"{name}: no repetition inside a repeated group", pattern)
    return {name: re.compile(pattern) for name, pattern in patterns.items()}


def lowered_all(names: Iterable[str]) -> frozenset[str]:
    """Return `names` in lower case."""
    return frozenset(name.lower() for name in names)
