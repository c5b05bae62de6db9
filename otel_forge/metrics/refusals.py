"""Measurements that cannot be recorded: each is counted, and the first of its sort is said with what is allowed."""

from __future__ import annotations

from opentelemetry import metrics

from otel_forge.notices import notice
from otel_forge.redaction import policy

SCOPE = "otel_forge.metrics"
REFUSED = "otel_forge.metrics.refused"
_MOST_SAID = 100
"""Lines that a process says in all; what is refused afterwards is only counted."""

_counter = metrics.get_meter(SCOPE).create_counter(
    REFUSED, "{measurement}", "Measurements that could not be recorded, by what was wrong: name, unit, kind or value."
)
_said: set[tuple[str, str]] = set()


def refuse(reason: str, name: str, sentence: str) -> None:
    """Count a measurement of `name` that is left out, and say `sentence` if it is the first one for this `reason`."""
    _counter.add(1, {"reason": reason})
    key = (reason, name)
    if key not in _said and len(_said) < _MOST_SAID:
        _said.add(key)
        notice(policy().text(f"{sentence}. What cannot be recorded is left out and counted in {REFUSED}."))
