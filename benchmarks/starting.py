"""The start of the program: how much later the first response comes, and how much more memory it takes."""

from __future__ import annotations

import subprocess
import time

from benchmarks.measure import Extent
from benchmarks.results import Results, Start
from benchmarks.spread import turn
from benchmarks.stage import Stage
from benchmarks.variants import Variant

_WORK = 200


def starting(stage: Stage, variants: list[Variant], extent: Extent, results: Results) -> None:
    """Start each variant anew in every round. The first start of each, with cold caches, is not kept."""
    by_name = {variant.name: variant for variant in variants}
    for number in range(-1, extent.start_rounds):
        for name in turn(list(by_name), number):
            start = _start(stage, by_name[name])
            if number >= 0:
                results.starts[name].append(start)
    stage.say(f"starts: {extent.start_rounds} rounds")


def _start(stage: Stage, variant: Variant) -> Start:
    """Start it through its own launcher, as a user does: the launcher's time is part of it."""
    started = time.time()
    with stage.subject(variant, "starting") as process:
        first = process.ask(do="first")
        worked = process.ask(do="work", count=_WORK)
    stage.arrived(variant)
    return Start(
        (first["wall"] - started) * 1e3,
        first["cpu_ms"],
        first["rss_kib"] / 1024,
        worked["rss_kib"] / 1024,
        _launcher_ms(stage, variant),
    )


def _launcher_ms(stage: Stage, variant: Variant) -> float:
    if variant.started != "opentelemetry-instrument":
        return 0.0
    folder = stage.find(variant)
    started = time.perf_counter()
    subprocess.run([folder / "python", folder / variant.started, "--version"], stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - started) * 1e3
