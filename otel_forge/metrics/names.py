"""Names of metrics as people write them, and as the conventions ask for them: lower case, words joined by ``_``.

What a name is about, and its dots, are its author's: ``assetLoadTime`` becomes ``asset_load_time``, and nothing guesses
that it might be ``asset.load.time``. The two are one metric in Prometheus anyway.
"""

from __future__ import annotations

import re
from typing import Any

from otel_forge.errors import MetricError
from otel_forge.metrics.units import Unit

ALLOWED = "a letter, then letters, digits, '_', '.', '-' and '/', 255 of them at the most"
_VALID = re.compile(r"[A-Za-z][-_./A-Za-z0-9]{0,254}")
_NEW_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def conventional(name: Any, unit: Unit) -> str:
    """Return the name under which a metric is recorded; raises MetricError, saying what is allowed, for a bad one.

    A unit at its end goes (``load_time_ms``) if values are converted to another one: stores add the right one.
    """
    if not isinstance(name, str) or not _VALID.fullmatch(name):
        raise MetricError("name", f"{name!r:.80} cannot be the name of a metric; allowed is {ALLOWED}")
    words = _NEW_WORD.sub("_", name).lower().replace("-", "_").replace("/", "_")
    if unit.is_converted:
        rest, _, last = words.rpartition("_")
        if rest and last in map(str.lower, unit.words):
            return rest
    return words[:255]
