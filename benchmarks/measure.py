"""The measurements in the process: CPU for each kind of request, unit costs, and how costs grow."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.process import Commanded
from benchmarks.results import Results, SetsSeen
from benchmarks.spread import turn
from benchmarks.stage import Stage
from benchmarks.subject.requests_by_kind import kind_named
from benchmarks.variants import BASELINE, FORGE, STOCK, UPSTREAM, Variant

_BURST = 2000
SUSTAINED = 5000
HAND_OVERS = 50_000
GATED_KINDS = ("asset", "post", "logged", "error")
SPANS = (1, 10, 100)
ATTRIBUTES = (3, 13, 50)
THREADS = (1, 8, 32)
SETS = (1, 100, 10_000, 100_000)


@dataclass(frozen=True)
class Extent:
    """How much is measured: rounds, requests in each, seconds of load.

    At the end of a round everything is flushed, metrics as well. So that this weighs no more than it does in a service
    under full load, which delivers every second or so, a round of the full run has that many requests.
    """

    rounds: int
    requests: int
    kinds: tuple[str, ...]
    load_rounds: int
    load_seconds: float
    fault_rounds: int
    start_rounds: int
    unit_rounds: int
    scaling_rounds: int
    sustained_rounds: int


FULL = Extent(9, 2000, ("asset", "post", "logged", "upstream", "error"), 7, 3.0, 15, 15, 7, 5, 9)
QUICK = Extent(5, 400, ("asset", "post", "logged", "upstream", "error"), 3, 1.5, 3, 3, 2, 0, 1)


def cpu_by_kind(stage: Stage, variants: list[Variant], extent: Extent, results: Results) -> None:
    """Measure CPU per request, all telemetry delivered, in rounds that take the variants in turn."""
    workers = stage.workers(variants)
    for kind in extent.kinds:
        for variant in variants:
            _round(stage, workers, variant, kind, max(20, extent.requests // 4), results, kept=False)
    for number in range(extent.rounds):
        for kind in extent.kinds:
            for name in turn([variant.name for variant in variants], number):
                _round(stage, workers, _named(variants, name), kind, extent.requests, results)
        stage.say(f"CPU per request: round {number + 1} of {extent.rounds}")
    _end(workers)


def cpu_under_sustained_load(stage: Stage, variants: list[Variant], extent: Extent, results: Results) -> None:
    """Measure CPU per request in rounds so long that telemetry is delivered while requests are served.

    In the rounds of `cpu_by_kind` nearly all is delivered by the flush at the end, when nothing competes for the
    interpreter.
    """
    chosen = [variant for variant in variants if variant.name in (BASELINE, STOCK, FORGE)]
    workers = stage.workers(chosen)
    kinds = [kind for kind in extent.kinds if kind in GATED_KINDS]
    for number in range(extent.sustained_rounds):
        for kind in kinds:
            for name in turn(list(workers), number):
                answer = workers[name].ask(do="requests", kind=kind, count=SUSTAINED)
                results.sustained[kind][name].append(answer["cpu_us"])
                results.wrong[name] += answer["wrong"]
                _book(stage, _named(chosen, name), kind, SUSTAINED, results)
        stage.say(f"sustained load: round {number + 1} of {extent.sustained_rounds}")
    _end(workers)


def _round(
    stage: Stage,
    workers: dict[str, Commanded],
    variant: Variant,
    kind: str,
    requests: int,
    results: Results,
    *,
    kept: bool = True,
) -> None:
    answer = workers[variant.name].ask(do="requests", kind=kind, count=requests)
    results.wrong[variant.name] += answer["wrong"]
    results.deliveries[kind, variant.name].add(requests, kind_named(kind).implied, stage.arrived(variant))
    if kept:
        results.cpu[kind][variant.name].append(answer["cpu_us"])


def unit_costs(stage: Stage, variants: list[Variant], extent: Extent, results: Results) -> None:
    """Measure single operations on the pipelines that have them."""
    chosen = [variant for variant in variants if variant.name in (BASELINE, STOCK, UPSTREAM, FORGE)]
    workers = stage.workers(chosen)
    available = {name: worker.ask(do="about")["units"] for name, worker in workers.items()}
    units = dict.fromkeys(unit for found in available.values() for unit in found if unit != "distinct sets")
    for number in range(extent.unit_rounds):
        for unit in units:
            for name in turn(list(workers), number):
                if unit in available[name]:
                    answer = workers[name].ask(do="unit", name=unit, count=_BURST)
                    results.unit_thread[unit][name].append(answer["thread_us"])
                    results.unit_all[unit][name].append(answer["all_us"])
        stage.say(f"unit costs: round {number + 1} of {extent.unit_rounds}")
    _end(workers)
    for variant in chosen:
        stage.arrived(variant)


def scaling(stage: Stage, variants: list[Variant], extent: Extent, results: Results) -> None:
    """Measure how cost grows with spans, attributes, threads and distinct attribute sets."""
    chosen = [variant for variant in variants if variant.name in (BASELINE, STOCK, FORGE)]
    workers = stage.workers(chosen)
    kinds = [*(f"scale-{spans}-3" for spans in SPANS), *(f"scale-100-{count}" for count in ATTRIBUTES[1:])]
    for number in range(extent.scaling_rounds):
        for name in turn(list(workers), number):
            for kind in kinds:
                requests = 40 if kind.startswith("scale-100-") else 150
                answer = workers[name].ask(do="requests", kind=kind, count=requests)
                results.scaling[kind][name].append(answer["cpu_us"])
                results.wrong[name] += answer["wrong"]
                _book(stage, _named(chosen, name), kind, requests, results)
            for threads in THREADS:
                answer = workers[name].ask(do="requests", kind="asset", count=320, threads=threads)
                results.threads[str(threads)][name].append(answer["cpu_us"])
                results.wrong[name] += answer["wrong"]
                _book(stage, _named(chosen, name), "asset", 320, results)
        stage.say(f"scaling: round {number + 1} of {extent.scaling_rounds}")
    _end(workers)
    _distinct_sets(stage, chosen, results)


def _book(stage: Stage, variant: Variant, kind: str, requests: int, results: Results) -> None:
    results.deliveries[kind, variant.name].add(requests, kind_named(kind).implied, stage.arrived(variant))


def _distinct_sets(stage: Stage, variants: list[Variant], results: Results) -> None:
    for variant in variants:
        if variant.name == BASELINE:
            continue
        for count in SETS:
            with stage.subject(variant, "worker") as worker:
                answer = worker.ask(do="unit", name="distinct sets", count=count)
                arrived = stage.arrived(variant)  # before its end, which exports once more
            stage.arrived(variant)
            results.sets[count][variant.name] = SetsSeen(
                answer["thread_us"], arrived.points, arrived.overflows, answer["rss_kib"] / 1024
            )
        stage.say(f"distinct attribute sets: {variant.name}")


def _named(variants: list[Variant], name: str) -> Variant:
    return next(variant for variant in variants if variant.name == name)


def _end(workers: dict[str, Commanded]) -> None:
    for worker in workers.values():
        worker.end()
