"""The results as Markdown whose columns line up, so that the same text serves the terminal and the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from benchmarks.gates import Gate, gates
from benchmarks.measure import HAND_OVERS, SUSTAINED
from benchmarks.results import Results, Rounds, Served
from benchmarks.spread import Spread
from benchmarks.variants import BASELINE, FORGE, STOCK

_NOTHING = "–"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: first column to the left, figures to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cells[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(header), f"| {' | '.join(rule)} |", *(line(row) for row in rows)])


def report(results: Results) -> str:
    """Return the whole report; a section without measurements is left out."""
    sections = [
        "# What telemetry costs\n\nWritten by the harness from one run; medians, with the quartiles in parentheses. "
        "µs are CPU time of the whole process, export threads included, until everything has been delivered.",
        _facts(results),
        _cpu(results, results.cpu, "CPU"),
        _cpu(results, results.sustained, f"CPU under sustained load ({SUSTAINED:,} requests in a row)"),
        _delivered(results),
        _serving(results),
        _faults(results),
        _starts(results),
        _units(results),
        _scaling(results),
        _sets(results),
        _left_out(results),
        _gates(gates(results)),
        _versions(results),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _facts(results: Results) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in results.facts.items())


def _cpu(results: Results, rounds: Rounds, what: str) -> str:
    return "\n\n".join(_cpu_of_kind(results, rounds, kind, what) for kind in rounds)


def _cpu_of_kind(results: Results, rounds: Rounds, kind: str, what: str) -> str:
    rows = []
    for variant, values in rounds[kind].items():
        ratio = results.ratio_to_stock(rounds, kind, variant)
        added = Spread.of(results.added(rounds, kind, variant)).text() if variant != BASELINE else _NOTHING
        rows.append(
            [
                _shown(results, variant),
                Spread.of(values).text(),
                added,
                ratio.text(3) if ratio and variant != BASELINE else _NOTHING,
                str(len(values)),
            ]
        )
    header = ["variant", "µs a request", "added", f"added ÷ {STOCK}", "rounds"]
    return f"## {what}: the {kind} request\n\n{table(header, rows)}"


def _shown(results: Results, variant: str) -> str:
    return f"{variant} (disqualified)" if results.disqualified(variant) else variant


def _delivered(results: Results) -> str:
    rows = []
    for (kind, variant), delivery in results.deliveries.items():
        if kind.startswith("scale") or variant == BASELINE or not delivery.requests:
            continue
        figures = [getattr(delivery.arrived, name) / delivery.requests for name in ("spans", "attributes", "logs")]
        durations = delivery.arrived.durations / delivery.requests
        lacks = delivery.lacks(results.signals.get(variant, ())) or "nothing"
        rows.append(
            [
                f"{variant}, {kind}",
                str(delivery.requests),
                *(f"{figure:.2f}" for figure in [*figures, durations]),
                f"{delivery.arrived.bytes / delivery.requests:.0f}",
                lacks,
            ]
        )
    if not rows:
        return ""
    header = [
        "a request left at the receiver",
        "requests",
        "spans",
        "attributes",
        "logs",
        "durations",
        "bytes",
        "lacks",
    ]
    return f"## What arrived\n\n{table(header, rows)}"


def _serving(results: Results) -> str:
    if not results.full_load:
        return ""
    rows = []
    for variant, rounds in results.full_load.items():
        ratio = results.throughput_ratio(variant)
        paced = results.paced_load[variant]
        rows.append(
            [
                _shown(results, variant),
                _served(rounds, lambda one: one.throughput).text(),
                ratio.text(2) if ratio else _NOTHING,
                *(_served(rounds, figure).text(1) for figure in _LATENCIES),
                _served(rounds, lambda one: one.cpu_us).text(),
                *(_served(paced, figure).text(1) for figure in _LATENCIES),
            ]
        )
    header = ["variant", "requests/s", "÷ baseline", "p50 ms", "p99 ms", "CPU µs", "p50 ms at pace", "p99 ms at pace"]
    title = "## gunicorn: one worker, eight threads, asset request; full load, then 200 requests/s"
    return f"{title}\n\n{table(header, rows)}"


def _faults(results: Results) -> str:
    if not results.under_fault:
        return ""
    rows = []
    for behaviour, rounds in results.under_fault.items():
        ratio = results.p99_ratio(behaviour)
        latencies = [_served(rounds, figure).text(2) for figure in _LATENCIES]
        rows.append([behaviour.replace("_", " "), *latencies, f"{ratio:.2f}" if ratio else _NOTHING, str(len(rounds))])
    header = ["the back end", "p50 ms", "p99 ms", "p99 ÷ healthy, of all rounds", "rounds"]
    title = "## gunicorn at 200 requests/s while the back end fails"
    return f"{title}\n\n{table(header, rows)}{_handing_over(results)}"


def _handing_over(results: Results) -> str:
    if not results.handing_over:
        return ""
    rows = []
    for behaviour, told in results.handing_over.items():
        figures = [f"{told[name]:.1f}" for name in ("p50_us", "p999_us")]
        rows.append([behaviour.replace("_", " "), *figures, f"{told['long']:.0f}", f"{told['idle_long']:.0f}"])
    header = ["the back end", "p50 µs", "p99.9 µs", f"of {HAND_OVERS:,} over 1 ms", "of as many calls that do nothing"]
    return f"\n\n## Handing a span over, at some 12,000 a second\n\n{table(header, rows)}"


_LATENCIES: tuple[Callable[[Served], float], ...] = (lambda one: one.p50_ms, lambda one: one.p99_ms)


def _served(rounds: Sequence[Served], figure: Callable[[Served], float]) -> Spread:
    return Spread.of([figure(one) for one in rounds])


def _starts(results: Results) -> str:
    if not results.starts:
        return ""
    rows = []
    for variant, starts in results.starts.items():
        added = [results.added_start(variant, name) for name in ("wall_ms", "cpu_ms", "rss_mib", "worked_rss_mib")]
        shown = [
            one.text(0 if place < 2 else 1) if one and variant != BASELINE else _NOTHING
            for place, one in enumerate(added)
        ]
        launcher = Spread.of([start.launcher_ms for start in starts])
        shown.insert(1, launcher.text() if launcher.middle else _NOTHING)
        rows.append([variant, Spread.of([start.wall_ms for start in starts]).text(), *shown])
    header = [
        "variant",
        "ms to first response",
        "added ms",
        "of it the launcher",
        "added CPU ms",
        "added MiB",
        "added MiB after 200 requests",
    ]
    return f"## Start\n\n{table(header, rows)}"


def _units(results: Results) -> str:
    if not results.unit_thread:
        return ""
    names = list(dict.fromkeys(name for found in results.unit_thread.values() for name in found))
    rows = []
    for unit, found in results.unit_thread.items():
        rows.append([unit, *(_unit(found.get(name), results.unit_all[unit].get(name)) for name in names)])
    return f"## One operation, µs: on its own thread / until exported\n\n{table(['operation', *names], rows)}"


def _unit(thread: list[float] | None, everything: list[float] | None) -> str:
    if not thread or not everything:
        return _NOTHING
    own, whole = Spread.of(thread).middle, Spread.of(everything).middle
    return f"{own:.2f}" if thread == everything else f"{own:.2f} / {whole:.2f}"


def _scaling(results: Results) -> str:
    if not results.scaling:
        return ""
    names = [name for name in (STOCK, FORGE) if name in results.variants]
    rows = [[_meaning(kind), *_added_cells(results, results.scaling, kind, names)] for kind in results.scaling]
    rows += [
        [f"asset request, threads: {count}", *_added_cells(results, results.threads, count, names)]
        for count in results.threads
    ]
    return f"## How cost grows: µs of CPU added to a request\n\n{table(['request', *names], rows)}"


def _meaning(kind: str) -> str:
    _, spans, attributes = kind.split("-")
    return f"spans: {spans}, attributes of each: {attributes}"


def _added_cells(
    results: Results, rounds: dict[str, dict[str, list[float]]], kind: str, names: list[str]
) -> Iterator[str]:
    for name in names:
        known = rounds[kind].get(name) and rounds[kind].get(BASELINE)
        yield Spread.of(results.added(rounds, kind, name)).text() if known else _NOTHING


def _sets(results: Results) -> str:
    if not results.sets:
        return ""
    rows = [
        [
            f"{count:,} sets, {name}",
            f"{seen.thread_us:.2f}",
            str(seen.points),
            str(seen.overflows),
            f"{seen.rss_mib:.0f}",
        ]
        for count, found in results.sets.items()
        for name, seen in found.items()
    ]
    header = ["distinct attribute sets", "µs a measurement", "series", "of them overflow", "MiB in all"]
    return f"## Cardinality\n\n{table(header, rows)}"


def _left_out(results: Results) -> str:
    lines = [f"- {name}: {' '.join(reason.split())}" for name, reason in results.skipped.items()]
    lines += [
        f"- {name} is disqualified: {reason}" for name in results.variants if (reason := results.disqualified(name))
    ]
    return "## Left out or disqualified\n\n" + "\n".join(lines) if lines else ""


def _gates(found: Sequence[Gate]) -> str:
    rows = [
        [
            f"{gate.name} {gate.text}",
            _NOTHING if gate.value is None else f"{gate.value:.3g}" if gate.value < 1000 else f"{gate.value:.0f}",
            f"{gate.limit:g}" if gate.limit else _NOTHING,
            "holds" if gate.holds else "FAILS" if gate.is_measured else "not measured",
        ]
        for gate in found
    ]
    return f"## Gates\n\n{table(['gate', 'measured', 'limit', ''], rows)}"


def _versions(results: Results) -> str:
    lines = []
    for variant, found in results.versions.items():
        lines.append(f"- {variant}: {', '.join(f'{name} {version}' for name, version in found.items())}")
    return "## Versions\n\n" + "\n".join(lines) if lines else ""
