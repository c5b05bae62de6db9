"""The results of one run, and the figures that are read off them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from benchmarks.arrivals import Arrivals
from benchmarks.spread import Spread, paired, percentile, ratios
from benchmarks.subject.requests_by_kind import Implied
from benchmarks.variants import BASELINE, STOCK

Rounds = dict[str, dict[str, list[float]]]
"""By kind, then by variant: one value for each round."""


def _rounds() -> Rounds:
    return defaultdict(lambda: defaultdict(list))


@dataclass
class Delivery:
    """How many requests were made, what they imply, and what arrived of it."""

    requests: int = 0
    spans: int = 0
    logs: int = 0
    durations: int = 0
    arrived: Arrivals = field(default_factory=Arrivals)

    def add(self, requests: int, implied: Implied, arrived: Arrivals) -> None:
        """Add one round."""
        self.requests += requests
        self.spans += requests * implied.spans
        self.logs += requests * implied.logs
        self.durations += requests * implied.durations
        self.arrived += arrived

    def lacks(self, signals: tuple[str, ...]) -> str:
        """Return in words what did not arrive of `signals` ("spans", "logs", "durations"); "" if all did."""
        found = []
        for signal in signals:
            implied, arrived = getattr(self, signal), getattr(self.arrived, signal)
            if arrived < implied:
                found.append(f"{arrived} of {implied} {signal}")
        if self.arrived.undecodable:
            found.append(f"{self.arrived.undecodable} requests that can't be decoded")
        return ", ".join(found)


@dataclass(frozen=True)
class Served:
    """One round of load on a server: what the client saw and what the server's process used."""

    throughput: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    latencies_ms: tuple[float, ...] = ()


@dataclass(frozen=True)
class Start:
    """One start of the program: until the first response, and its memory then and after some work.

    `launcher_ms` is what the launcher alone takes before the program begins; it is part of `wall_ms`.
    """

    wall_ms: float
    cpu_ms: float
    rss_mib: float
    worked_rss_mib: float
    launcher_ms: float = 0.0


@dataclass
class Results:
    """Everything one run measured."""

    command: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    variants: list[str] = field(default_factory=list)
    signals: dict[str, tuple[str, ...]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    cpu: Rounds = field(default_factory=_rounds)
    sustained: Rounds = field(default_factory=_rounds)
    wrong: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    deliveries: dict[tuple[str, str], Delivery] = field(default_factory=lambda: defaultdict(Delivery))
    full_load: dict[str, list[Served]] = field(default_factory=lambda: defaultdict(list))
    paced_load: dict[str, list[Served]] = field(default_factory=lambda: defaultdict(list))
    under_fault: dict[str, list[Served]] = field(default_factory=lambda: defaultdict(list))
    """By what the back end did: one value for each round."""
    handing_over: dict[str, dict[str, float]] = field(default_factory=dict)
    """By what the back end did: what `benchmarks.subject.handing_over` says."""
    starts: dict[str, list[Start]] = field(default_factory=lambda: defaultdict(list))
    unit_thread: Rounds = field(default_factory=_rounds)
    unit_all: Rounds = field(default_factory=_rounds)
    scaling: Rounds = field(default_factory=_rounds)
    threads: Rounds = field(default_factory=_rounds)
    sets: dict[int, dict[str, SetsSeen]] = field(default_factory=lambda: defaultdict(dict))

    def disqualified(self, variant: str) -> str:
        """Return why the figures of `variant` don't count; "" if they do."""
        reasons = []
        for (kind, name), delivery in self.deliveries.items():
            if name == variant and (lack := delivery.lacks(self.signals.get(variant, ()))):
                reasons.append(f"{kind}: {lack}")
        if self.wrong.get(variant):
            reasons.append(f"{self.wrong[variant]} wrong answers")
        return "; ".join(reasons)

    def added(self, rounds: Rounds, kind: str, variant: str) -> list[float]:
        """Return what `variant` adds to the baseline of the same round."""
        return paired(rounds[kind][variant], rounds[kind][BASELINE])

    def ratio_to_stock(self, rounds: Rounds, kind: str, variant: str) -> Spread | None:
        """Return added CPU over what stock adds, round by round; None where there is nothing to compare."""
        measured = rounds.get(kind, {})
        if not measured.get(variant) or not measured.get(STOCK):
            return None
        found = ratios(self.added(rounds, kind, variant), self.added(rounds, kind, STOCK))
        return Spread.of(found) if found else None

    def throughput_ratio(self, variant: str) -> Spread | None:
        """Return throughput under full load over the baseline's, round by round."""
        mine = [served.throughput for served in self.full_load.get(variant, [])]
        baseline = [served.throughput for served in self.full_load.get(BASELINE, [])]
        return Spread.of(ratios(mine, baseline)) if mine and baseline else None

    def p99_ratio(self, behaviour: str) -> float | None:
        """Return the p99 of all requests under a behaviour of the back end over that of all with a healthy one.

        One round has too few requests for a p99: six are slower, and two healthy rounds differ by a fifth.
        """
        mine = self._latencies(behaviour)
        healthy = sorted([*self._latencies("healthy"), *self._latencies("healthy again")])
        return percentile(mine, 0.99) / percentile(healthy, 0.99) if mine and healthy else None

    def _latencies(self, behaviour: str) -> list[float]:
        return sorted(latency for served in self.under_fault.get(behaviour, []) for latency in served.latencies_ms)

    def added_start(self, variant: str, figure: str) -> Spread | None:
        """Return how much more of `figure` (a field of `Start`) the variant's start takes than the baseline's."""
        mine = [float(getattr(start, figure)) for start in self.starts.get(variant, [])]
        baseline = [float(getattr(start, figure)) for start in self.starts.get(BASELINE, [])]
        return Spread.of(paired(mine, baseline)) if mine and baseline else None


@dataclass(frozen=True)
class SetsSeen:
    """What came of measurements with many distinct attribute sets."""

    thread_us: float
    points: int
    overflows: int
    rss_mib: float
