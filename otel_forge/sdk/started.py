"""How many spans were started, by the sampler's word and where their parent is (``otel.sdk.span.started``).

Each count is raised by a single call into C, which no other thread can come between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.sdk.trace.sampling import Decision

from otel_forge.delivery.ring import Count

DROP, RECORD_ONLY, RECORD_AND_SAMPLE = (decision.name for decision in Decision)


class StartedSpans:
    """Counts of one process; `of_roots` and the like are indexed by the sampled flag and called to count."""

    def __init__(self) -> None:
        self._counts: Mapping[str, Mapping[str, Count]] = {
            origin: {decision.name: Count() for decision in Decision} for origin in ("none", "local", "remote")
        }
        self._ended_record_only = Count()
        self.count_ended_record_only = self._ended_record_only.raise_by_one
        self.of_roots, self.of_locals, self.of_remotes = (
            (counts[DROP].raise_by_one, counts[RECORD_AND_SAMPLE].raise_by_one) for counts in self._counts.values()
        )

    def add(self, parent: Any, decision: Decision) -> None:
        """Count a span that a sampler was asked about; `parent` is a span context or None."""
        origin = "none" if parent is None else "remote" if parent.is_remote else "local"
        self._counts[origin][decision.name].raise_by_one()

    def read(self) -> Iterator[tuple[str, str, int]]:
        """Yield origin of the parent, sampling result and count, for those that have any."""
        for origin, by_result in self._counts.items():
            for result, count in by_result.items():
                if count.value:
                    yield origin, result, count.value

    def started(self, result: str) -> int:
        """Return how many spans were started with this sampling result."""
        return sum(by_result[result].value for by_result in self._counts.values())

    @property
    def live_record_only(self) -> int:
        """How many recording spans that are not sampled have not ended."""
        ended = self._ended_record_only.value
        return max(self.started(RECORD_ONLY) - ended, 0)
