"""What limiters decide, and where other services say that it was too much: two counters.

Their attributes are few on purpose, and who was limited is none of them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import Meter

SCOPE = "otel_forge.rate_limits"
DECISIONS, UPSTREAM_EXCEEDED = "otel_forge.rate_limit.decisions", "otel_forge.rate_limit.upstream_exceeded"


class Counters:
    """The two counters of a meter."""

    def __init__(self, meter: Meter) -> None:
        self._decisions = meter.create_counter(DECISIONS, "{decision}", "Decisions of rate limiters.")
        self._upstream = meter.create_counter(
            UPSTREAM_EXCEEDED, "{response}", "Answers of other services that say too many requests (429)."
        )

    def decided(self, decision: str, route: str, limit: str) -> None:
        """Count a decision about a request to `route` by the limit of that name; "" for a route that is not known."""
        attributes = {"decision": decision, "limit": limit}
        if route:
            attributes["http.route"] = route
        self._decisions.add(1, attributes)

    def refused_by(self, server: Any) -> None:
        """Count an answer 429 of the host `server`, which the application has chosen to call."""
        self._upstream.add(1, {"server.address": server} if server else {})


@cache
def counters() -> Counters:
    """Return the counters of the global meter provider; they come to be when there is something to count."""
    return Counters(metrics.get_meter(SCOPE))


def count_upstream_exceeded(server: Any) -> None:
    """Count an answer 429 of the host `server`."""
    counters().refused_by(server)
