"""The gates of the project's bar that this harness can decide, each with its number and its limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.measure import THREADS
from benchmarks.results import Results
from benchmarks.spread import Spread
from benchmarks.variants import BASELINE, FORGE, FORGE_RUN

RATIO_LIMITS = {"asset": 0.10, "post": 0.10, "logged": 0.10, "error": 0.125}
"""``logged`` is the asset request with a line for each request, ours by `otel_forge.RequestLog`, stock's by hand."""
THROUGHPUT_LIMIT = 0.85
START_LIMIT_MS = 150.0
MEMORY_LIMIT_MIB = 15.0
GROWTH_LIMIT = 1.3
THREADS_LIMIT = 1.25
CARDINALITY_LIMIT = 2001
"""The specification's 2000 attribute sets, which must not overflow, and the overflow series beside them."""
FAULT_LIMIT = 1.05
WAIT_LIMIT_MS = 1.0
_CARDINALITY_SETS = (10_000, 100_000)


@dataclass(frozen=True)
class Gate:
    """One gate: what was measured, the limit, and whether it holds. A value of None was not measured."""

    name: str
    text: str
    value: float | None
    limit: float
    holds: bool

    @property
    def is_measured(self) -> bool:
        """Return whether there was anything to decide on; gates without a limit are about facts, not figures."""
        return self.value is not None or not self.limit


def gates(results: Results) -> list[Gate]:
    """Return every gate, decided for our own variant; one that could not be measured does not hold."""
    found = [*_cost(results), *_faults(results), *_start(results), *_growth(results), *_cardinality(results)]
    reason = results.disqualified(FORGE) or results.skipped.get(FORGE, "")
    if not reason and FORGE not in results.variants:
        reason = "not measured"
    said = f"{FORGE} delivers everything{': ' + reason if reason else ''}"
    return [Gate("P1", said, None, 0, not reason), *found]


def _at_most(name: str, text: str, found: Spread | float | None, limit: float) -> Gate:
    value = found.middle if isinstance(found, Spread) else found
    return Gate(name, text, value, limit, value is not None and value <= limit)


def _cost(results: Results) -> Iterator[Gate]:
    for kind, limit in RATIO_LIMITS.items():
        yield _at_most("P1", f"added CPU, {kind} request, ÷ stock", _worse_ratio(results, kind), limit)
    throughput = results.throughput_ratio(FORGE)
    holds = throughput is not None and throughput.middle >= THROUGHPUT_LIMIT
    value = throughput.middle if throughput else None
    yield Gate("P2", "gunicorn throughput ÷ uninstrumented (at least)", value, THROUGHPUT_LIMIT, holds)


def _worse_ratio(results: Results, kind: str) -> float | None:
    """Return the ratio of short rounds or of sustained load, whichever is worse; None if neither was measured."""
    found = [results.ratio_to_stock(rounds, kind, FORGE) for rounds in (results.cpu, results.sustained)]
    return max((ratio.middle for ratio in found if ratio is not None), default=None)


def _faults(results: Results) -> Iterator[Gate]:
    for behaviour in ("refuse", "black_hole", "slow_answer"):
        text = f"p99 with the back end in {behaviour.replace('_', ' ')} ÷ healthy"
        yield _at_most("P3", text, results.p99_ratio(behaviour), FAULT_LIMIT)
    waits = [told["p999_us"] / 1000 for told in results.handing_over.values()]
    text = "p99.9 of handing a span over, the worst back end, ms"
    yield _at_most("P3", text, max(waits, default=None), WAIT_LIMIT_MS)


def _start(results: Results) -> Iterator[Gate]:
    """Decide on our own launcher; what upstream's adds to it stands in the table of starts."""
    started, memory = (results.added_start(FORGE_RUN, figure) for figure in ("wall_ms", "worked_rss_mib"))
    yield _at_most("F6", "start-up added by otel-forge run, ms", started, START_LIMIT_MS)
    yield _at_most("F6", "memory added, MiB", memory, MEMORY_LIMIT_MIB)


def _growth(results: Results) -> Iterator[Gate]:
    """Compare what one more costs between many and some with what it costs between some and few."""
    spans = [_added(results, f"scale-{count}-3") for count in (1, 10, 100)]
    yield _at_most("P5", "cost of a span, 10 to 100 ÷ 1 to 10", _slopes(spans, (1, 10, 100)), GROWTH_LIMIT)
    attributes = [_added(results, f"scale-100-{count}") for count in (3, 13, 50)]
    yield _at_most("P5", "cost of an attribute, 13 to 50 ÷ 3 to 13", _slopes(attributes, (3, 13, 50)), GROWTH_LIMIT)
    few, many = (_over_baseline(results, str(count)) for count in (THREADS[0], THREADS[-1]))
    growth = many / few if few and many else None
    text = f"CPU ÷ uninstrumented, {THREADS[-1]} threads ÷ {THREADS[0]} thread"
    yield _at_most("P5", text, growth, THREADS_LIMIT)


def _added(results: Results, kind: str) -> float | None:
    if not results.scaling.get(kind, {}).get(FORGE) or not results.scaling[kind].get(BASELINE):
        return None
    return Spread.of(results.added(results.scaling, kind, FORGE)).middle


def _slopes(costs: list[float | None], at: tuple[int, int, int]) -> float | None:
    few, some, many = costs
    if few is None or some is None or many is None or some <= few:
        return None
    return ((many - some) / (at[2] - at[1])) / ((some - few) / (at[1] - at[0]))


def _over_baseline(results: Results, threads: str) -> float | None:
    found = results.threads.get(threads, {})
    if not found.get(FORGE) or not found.get(BASELINE):
        return None
    return Spread.of(found[FORGE]).middle / Spread.of(found[BASELINE]).middle


def _cardinality(results: Results) -> Iterator[Gate]:
    for count in _CARDINALITY_SETS:
        seen = results.sets.get(count, {}).get(FORGE)
        text = f"series of {count:,} attribute sets, with an overflow series"
        value = float(seen.points) if seen else None
        holds = seen is not None and 0 < seen.points <= CARDINALITY_LIMIT and seen.overflows > 0
        yield Gate("P5", text, value, CARDINALITY_LIMIT, holds)
