"""The start of the program: how much later the first response comes, and how much more memory it takes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable
from dataclasses import replace

from benchmarks.measure import Extent
from benchmarks.process import ProcessFailed, clean_environ
from benchmarks.results import Results, Start
from benchmarks.spread import turn
from benchmarks.stage import Stage
from benchmarks.variants import FORGE, FORGE_RUN, Variant

_WORK = 200


def starting(stage: Stage, variants: list[Variant], extent: Extent, results: Results) -> None:
    """Start each variant anew in every round. The first start of each, with cold caches, is not kept."""
    ways = ways_to_start(variants)
    for number in range(-1, extent.start_rounds):
        for name in turn(list(ways), number):
            start = _start(stage, ways[name])
            if number >= 0:
                results.starts[name].append(start)
    stage.say(f"starts: {extent.start_rounds} rounds")


def ways_to_start(variants: Iterable[Variant]) -> dict[str, Variant]:
    """Return the variants by name; ours is there twice, with upstream's launcher and with our own."""
    ways = {}
    for variant in variants:
        ways[variant.name] = variant
        if variant.name == FORGE:
            ways[FORGE_RUN] = replace(variant, started="otel-forge run")
    return ways


def _start(stage: Stage, variant: Variant) -> Start:
    """Start it through its own launcher, as a user does: the launcher's time is part of it."""
    started = time.time()
    with stage.subject(variant, "starting") as process:
        first = process.ask(do="first")
        worked = process.ask(do="work", count=_WORK)
    if not stage.arrived(variant).spans and "spans" in variant.signals:
        raise ProcessFailed(f"{variant.name}, started with {variant.started}, sent nothing")
    return Start(
        (first["wall"] - started) * 1e3,
        first["cpu_ms"],
        first["rss_kib"] / 1024,
        worked["rss_kib"] / 1024,
        _launcher_ms(stage, variant),
    )


def _launcher_ms(stage: Stage, variant: Variant) -> float:
    """Return how long the launcher takes to become a program that does nothing."""
    if variant.started == "plain":
        return 0.0
    folder = stage.find(variant)
    launcher, *subcommand = variant.started.split()
    started = time.perf_counter()
    subprocess.run([folder / "python", folder / launcher, *subcommand, "true"], env=clean_environ(), check=True)
    return (time.perf_counter() - started) * 1e3
