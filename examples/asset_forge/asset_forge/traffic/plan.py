"""The plan: which request comes when. The same target and seed give the same sequence, always."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Request:
    """One request to send; ``route`` is the rule that the target's router matches, None where none does."""

    method: str
    path: str
    route: str | None
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


Maker = Callable[[random.Random], Request]
Mix = Sequence[tuple[int, Maker]]


@dataclass(frozen=True)
class Phase:
    """A stretch of traffic: how many requests, how fast relative to the rate, with which faults switched on.

    ``faults`` maps the name of a service to the body of ``PUT /faults``.
    """

    name: str
    requests: int
    mix: Mix
    pace: float = 1.0
    faults: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """An application that traffic can be made for, and the phases that repeat until the end."""

    name: str
    default_url: str
    cycle: Sequence[Phase]


@dataclass(frozen=True)
class Planned:
    """A request with its place in the sequence; ``gap`` is the wait before it, in units of 1 / rate."""

    number: int
    phase: Phase
    request: Request
    gap: float


def planned_requests(target: Target, seed: int, limit: int | None = None, trace: bool = False) -> Iterator[Planned]:
    """Yield the sequence for a seed: endless, or ``limit`` requests into which one whole cycle is fitted."""
    cycle = _fitted(target.cycle, limit) if limit is not None else target.cycle
    number = 0
    while True:
        for phase in cycle:
            for _ in range(phase.requests):
                if limit is not None and number >= limit:
                    return
                yield _planned(number, phase, seed, trace)
                number += 1


def _planned(number: int, phase: Phase, seed: int, trace: bool) -> Planned:
    chance = random.Random(f"{seed}:{number}")
    gap = chance.expovariate(1.0) / phase.pace
    makers = [maker for _, maker in phase.mix]
    weights = [weight for weight, _ in phase.mix]
    request = chance.choices(makers, weights)[0](chance)
    if trace:
        parent = f"00-{chance.getrandbits(128) or 1:032x}-{chance.getrandbits(64) or 1:016x}-01"
        request = replace(request, headers=(*request.headers, ("traceparent", parent)))
    return Planned(number, phase, request, gap)


def _fitted(cycle: Sequence[Phase], limit: int) -> Sequence[Phase]:
    """Shrink the phases, each to at least one request, so that a cycle is not longer than the limit."""
    share = min(1.0, limit / sum(phase.requests for phase in cycle))
    return [replace(phase, requests=max(1, int(phase.requests * share))) for phase in cycle]


def get(path: str, route: str | None) -> Maker:
    """Make a GET request that is always the same."""
    return lambda chance: Request("GET", path, route)


def with_json(method: str, path: str, route: str | None, body: object) -> Request:
    """Make a request with a JSON body."""
    return Request(method, path, route, json.dumps(body).encode(), (("Content-Type", "application/json"),))
