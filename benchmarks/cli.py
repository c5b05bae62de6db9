"""The command line: ``full``, ``quick``, ``soak``, ``profile`` and ``prepare``."""

from __future__ import annotations

import argparse
import math
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.environments import CHECKOUT, CannotInstall, cache_folder, environment
from benchmarks.faults import faults
from benchmarks.gates import gates
from benchmarks.measure import FULL, QUICK, Extent, cpu_by_kind, cpu_under_sustained_load, scaling, unit_costs
from benchmarks.profiling import profile
from benchmarks.report import report
from benchmarks.results import Results
from benchmarks.serving import serving
from benchmarks.stage import Find, Say, Stage, usable
from benchmarks.starting import starting
from benchmarks.subject.requests_by_kind import KINDS
from benchmarks.variants import FORGE, VARIANTS, Variant, chosen

RESULTS = CHECKOUT / "benchmarks" / "results.md"
SECTIONS = ("cpu", "sustained", "serving", "faults", "starting", "units", "scaling")


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command; return the exit status: 1 if ``--check`` was asked for and a gate does not hold."""
    options = _parser().parse_args(argv)
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:5.0f} s] {text}", file=sys.stderr, flush=True)

    if options.command == "soak":
        return _soak(options, say)
    cache = cache_folder(os.environ)
    if options.command == "profile":
        with Stage(lambda variant: environment(variant, cache), say) as stage:
            variant = VARIANTS[options.variant]
            print(profile(stage, variant, options.kind, options.requests, options.rows, options.matching))
        return 0
    try:
        wanted = chosen(options.variants, extras=options.extras)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    prepared, skipped = _prepare(wanted, cache, say)
    ready = [variant for variant in wanted if variant.name in prepared]
    if options.command == "prepare":
        return 0
    results = run(
        ready,
        lambda variant: prepared[variant.name],
        within_bounds(_extent(options), len(ready)),
        _sections(options),
        say,
    )
    results.skipped = {**skipped, **results.skipped}
    results.command = shlex.join(["python", "-m", "benchmarks", *(argv if argv is not None else sys.argv[1:])])
    results.facts = facts(results.command, time.monotonic() - started)
    return conclude(results, options)


def _soak(options: argparse.Namespace, say: Say) -> int:
    from benchmarks.soak import MIB, soak  # brings the tests' parts along

    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        soaked = soak(Path(folder), options.minutes * 60, options.capacity * MIB, options.rate, say)
    print(
        f"{soaked.emitted} of each signal made in {options.minutes:g} minutes; the longest took {soaked.longest:.4f} s"
    )
    print(f"memory grew by {soaked.growth / MIB:.1f} MiB; at the most {soaked.disk / MIB:.1f} MiB on disk")
    for name, account in soaked.accounts.items():
        print(f"{name}: {account}")
    print("\n".join(soaked.failures) or "P4 holds")
    return 1 if soaked.failures else 0


def run(wanted: list[Variant], find: Find, extent: Extent, sections: Sequence[str], say: Say = print) -> Results:
    """Measure `wanted` and return what came of it; `find` gives each variant's ``bin`` folder."""
    results = Results()
    with Stage(find, say) as stage:
        variants, results.skipped, results.versions = usable(stage, wanted)
        results.variants = [variant.name for variant in variants]
        results.signals = {variant.name: variant.signals for variant in variants}
        if "cpu" in sections:
            cpu_by_kind(stage, variants, extent, results)
        if "sustained" in sections and extent.sustained_rounds:
            cpu_under_sustained_load(stage, variants, extent, results)
        if "serving" in sections:
            serving(stage, variants, extent, results)
        if "faults" in sections:
            faults(stage, variants, extent, results)
        if "starting" in sections:
            starting(stage, variants, extent, results)
        if "units" in sections:
            unit_costs(stage, variants, extent, results)
        if "scaling" in sections and extent.scaling_rounds:
            scaling(stage, variants, extent, results)
    return results


def facts(command: str, seconds: float) -> dict[str, str]:
    """Return what a reader must know to judge the figures."""
    return {
        "command": f"`{command}`, {seconds / 60:.1f} minutes",
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": f"{os.cpu_count()} cores, {_processor()}, {platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _prepare(wanted: list[Variant], cache: Path, say: Say) -> tuple[dict[str, Path], dict[str, str]]:
    prepared: dict[str, Path] = {}
    skipped: dict[str, str] = {}
    for variant in wanted:
        try:
            prepared[variant.name] = environment(variant, cache)
        except CannotInstall as error:
            skipped[variant.name] = f"cannot be installed: {error}"
            say(f"left out: {variant.name} cannot be installed: {error}")
    return prepared, skipped


def conclude(results: Results, options: argparse.Namespace) -> int:
    """Print the report, write it where it was asked for, and return the exit status."""
    text = report(results)
    print(text)
    if options.results:
        Path(options.results).write_text(text)
    asked = gates(results) if options.command == "full" else [gate for gate in gates(results) if gate.is_measured]
    failed = [gate for gate in asked if not gate.holds]
    return 1 if options.check and failed else 0


def _extent(options: argparse.Namespace) -> Extent:
    extent = QUICK if options.command == "quick" else FULL
    if options.rounds:
        extent = replace(extent, rounds=options.rounds)
    if options.kinds:
        extent = replace(extent, kinds=tuple(options.kinds.split(",")))
    return extent


def within_bounds(extent: Extent, variants: int) -> Extent:
    """Return fewer rounds for more variants than the usual five, so that the whole stays within its time."""
    share = min(1.0, 6 / variants)
    return replace(
        extent,
        rounds=math.ceil(extent.rounds * share),
        load_rounds=math.ceil(extent.load_rounds * share),
        start_rounds=math.ceil(extent.start_rounds * share),
    )


def _sections(options: argparse.Namespace) -> list[str]:
    return options.only.split(",") if options.only else list(SECTIONS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in (("full", "everything, at most 20 minutes"), ("quick", "fewer rounds, at most 3 minutes")):
        command = commands.add_parser(name, help=about)
        _add_choice(command)
        command.add_argument(
            "--check",
            action="store_true",
            help="end with status 1 if a gate does not hold (quick: one that it measures)",
        )
        command.add_argument("--rounds", type=int, default=0, help="rounds of CPU per request")
        command.add_argument("--kinds", default="", help=f"of {','.join(KINDS)}")
        command.add_argument("--only", default="", help=f"sections, of {','.join(SECTIONS)}")
        to = str(RESULTS) if name == "full" else ""
        command.add_argument("--results", default=to, help="file that the report is written to; '' for none")
    _add_choice(commands.add_parser("prepare", help="make the variants' environments"))
    soaking = commands.add_parser("soak", help="overload with a dead back end: memory and disk stay bounded")
    soaking.add_argument("--minutes", type=float, default=30.0)
    soaking.add_argument("--rate", type=int, default=20_000, help="records a second, of each signal")
    soaking.add_argument("--capacity", type=int, default=256, help="MiB that the spool may take")
    profiling = commands.add_parser("profile", help="where a variant's CPU time goes, by function")
    profiling.add_argument("--variant", default=FORGE, choices=list(VARIANTS))
    profiling.add_argument("--kind", default="asset", help=f"{', '.join(KINDS)} or scale-SPANS-ATTRIBUTES")
    profiling.add_argument("--requests", type=int, default=5000)
    profiling.add_argument("--matching", default="", help="only functions whose file or name contains this")
    profiling.add_argument("--rows", type=int, default=45)
    return parser


def _add_choice(command: argparse.ArgumentParser) -> None:
    command.add_argument("--variants", default="", help=f"of {','.join(VARIANTS)}")
    command.add_argument("--extras", action="store_true", help="other products too")
