"""What limiters have decided about a request, as it is counted, shown and answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Decision = Literal["allowed", "near_limit", "exceeded", "store_failing"]
DECISIONS: tuple[str, ...] = get_args(Decision)

_KEY = "otel_forge.rate_limits"
_NEAR = 0.8
"""Above this part of a limit a request is near it (operations handbook: hits, near-limit, 429)."""

_WEIGHT = {decision: weight for weight, decision in enumerate(DECISIONS)}


@dataclass(frozen=True)
class Decided:
    """What a limiter has said of a request.

    `limit` requests in `window` seconds, of which `remaining` are left, until all are back in `reset` seconds; what is
    not known is None.
    """

    name: str
    decision: Decision
    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None
    window: int | None = None

    def attributes(self) -> dict[str, Any]:
        """Return what spans and the request log show."""
        shown: dict[str, Any] = {"otel_forge.rate_limit.decision": self.decision}
        if self.limit is not None:
            shown["otel_forge.rate_limit.limit"] = self.limit
        if self.remaining is not None:
            shown["otel_forge.rate_limit.remaining"] = self.remaining
        return shown


def judged(limit: int | None, remaining: int | None) -> Decision:
    """Return the decision about a request that was let through."""
    is_near = limit is not None and remaining is not None and limit - remaining > _NEAR * limit
    return "near_limit" if is_near else "allowed"


class OfRequest:
    """All that limiters have decided about one request: the last word of each limit.

    `failure` is that of the store, and `failed` who had asked it.
    """

    __slots__ = ("by_limit", "failed", "failure", "is_told")

    def __init__(self) -> None:
        self.by_limit: dict[str, Decided] = {}
        self.failure: BaseException | None = None
        self.failed: Any = None
        self.is_told = False


def of_request(environ: dict[str, Any]) -> OfRequest:
    """Return what was decided about the request of `environ`, to be added to."""
    known: OfRequest | None = environ.get(_KEY)
    if known is None:
        known = environ[_KEY] = OfRequest()
    return known


def tightest_of(environ: Mapping[str, Any]) -> Decided | None:
    """Return the decision that says most about the request of `environ`, if a limiter has seen it."""
    known: OfRequest | None = environ.get(_KEY)
    return tightest(known.by_limit.values()) if known is not None and known.by_limit else None


def tightest(decided: Iterable[Decided]) -> Decided:
    """Return the gravest decision, and among equal ones that of the limit of which the smallest part is left."""
    return max(decided, key=lambda one: (_WEIGHT[one.decision], -_part_left(one)))


def _part_left(one: Decided) -> float:
    return one.remaining / one.limit if one.limit and one.remaining is not None else 1.0
