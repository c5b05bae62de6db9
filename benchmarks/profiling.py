"""Where a variant's time goes: the CPU of every thread by function, sampled while requests are made."""

from __future__ import annotations

from typing import Any

from benchmarks.report import table
from benchmarks.stage import Stage, check_pipeline
from benchmarks.variants import Variant

_WARMING = 300
_INTERVAL_US = 1000
_HARNESS = ("benchmarks/subject/worker", "benchmarks/subject/control", "benchmarks/subject/sampler", "<frozen runpy>")


def profile(stage: Stage, variant: Variant, kind: str, requests: int, rows: int, matching: str = "") -> str:
    """Return two tables: functions by their own time, and by their time with all they call; µs for one request.

    Only functions whose place contains `matching` are shown.
    """
    with stage.subject(variant, "worker") as worker:
        check_pipeline(variant, str(worker.ask(do="about")["pipeline"]))
        worker.ask(do="requests", kind=kind, count=_WARMING)
        found = worker.ask(do="profile", kind=kind, count=requests, interval_us=_INTERVAL_US, patience=600)
    return rendered(
        f"{variant.name}, {kind} request, {requests} times, {found['samples']} samples", found, rows, matching
    )


def rendered(title: str, found: dict[str, Any], rows: int, matching: str = "") -> str:
    """Return what a worker's profile says as text: µs by thread, then the functions."""
    by_thread = [[thread, f"{cost:.1f}"] for thread, cost in found["threads"].items()]
    parts = [title, table(["thread", "µs a request"], by_thread)]
    for column, name in (("own", "own µs"), ("inclusive", "µs with callees")):
        subjects = [row for row in found[column] if matching in row[1] and not row[1].startswith(_HARNESS)]
        shown = [[place, thread, f"{cost:.2f}"] for thread, place, cost in subjects[:rows]]
        parts.append(table(["function", "thread", name], shown))
    return "\n\n".join(parts)
