"""Metrics of the runtime, on by default: CPU, memory, threads and files of the process, and the garbage collector.

Names, kinds and units are the conventions' (``process.*``, ``cpython.gc.*``). Nothing is done in between: each series
is read when metrics are collected. A forked worker reports itself: what its parent did before is the parent's to tell.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation

from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard
from otel_forge.import_hooks import when_imported
from otel_forge.version import VERSION

SCOPE = "otel_forge.metrics.runtime"
Seen = Iterable[tuple[float, Mapping[str, str | int]]]


class Series:
    """One metric that is read when metrics are collected; `read` raises OSError for what the system does not tell."""

    def __init__(self, kind: str, name: str, unit: str, description: str, read: Callable[[], Seen]) -> None:
        self.kind = kind
        self.name = name
        self.unit = unit
        self.description = description
        self.read = read

    def register(self, meter: Any) -> None:
        """Make an observable instrument of it."""
        create = getattr(meter, f"create_observable_{self.kind}")
        create(self.name, [self._observed], self.unit, self.description)

    def _observed(self, options: CallbackOptions) -> list[Observation]:
        with guard(f"reading {self.name}"):
            try:
                return [Observation(value, attributes) for value, attributes in self.read()]
            except OSError:
                pass  # there is no such number here
        return []


def watch_runtime(meter_provider: Any) -> None:
    """Have the runtime's metrics collected from now on, and gunicorn's once that is imported.

    What reading them needs is imported here, and not by the thread that collects: were the process forked meanwhile,
    the child could never import it.
    """
    with suppress(OSError):
        _usage()
    meter = meter_provider.get_meter(SCOPE, VERSION)
    for series in SERIES:
        series.register(meter)

    def watch_gunicorn(module: ModuleType) -> None:
        with guard("watching gunicorn"):
            from otel_forge.metrics import gunicorn

            gunicorn.watch(meter, module)

    when_imported("gunicorn.arbiter", watch_gunicorn)


def _usage() -> Any:
    from otel_forge.metrics.process import usage  # only where somebody reads it

    return usage()


def _process() -> Any:
    from otel_forge.metrics.process import this_process

    return this_process()


def _cpu_time() -> Seen:
    used = _usage()
    return [(used.user, {"cpu.mode": "user"}), (used.system, {"cpu.mode": "system"})]


def _context_switches() -> Seen:
    used, kind = _usage(), "process.context_switch.type"
    return [(used.voluntary_switches, {kind: "voluntary"}), (used.involuntary_switches, {kind: "involuntary"})]


def _paging_faults() -> Seen:
    used, kind = _usage(), "system.paging.fault.type"
    return [(used.minor_faults, {kind: "minor"}), (used.major_faults, {kind: "major"})]


def _of_generations(what: str) -> Callable[[], Seen]:
    """Return what reads one number of each generation, without what came before this process was forked."""

    def read() -> Seen:
        before = _gc_before_fork
        return [
            (stats[what] - (before[number][what] if before else 0), {"cpython.gc.generation": number})
            for number, stats in enumerate(gc.get_stats())
        ]

    return read


_gc_before_fork: list[Any] = []


def _become_child() -> None:
    global _gc_before_fork
    _gc_before_fork = gc.get_stats()


on_fork_in_child(_become_child)


SERIES: tuple[Series, ...] = (
    Series("counter", "process.cpu.time", "s", "Total CPU seconds broken down by different CPU modes.", _cpu_time),
    Series(
        "up_down_counter",
        "process.memory.usage",
        "By",
        "The amount of physical memory in use.",
        lambda: [(_process().memory().resident, {})],
    ),
    Series(
        "up_down_counter",
        "process.memory.virtual",
        "By",
        "The amount of committed virtual memory.",
        lambda: [(_process().memory().virtual, {})],
    ),
    Series(
        "up_down_counter",
        "process.thread.count",
        "{thread}",
        "Process threads count.",
        lambda: [(_process().threads(), {})],
    ),
    Series(
        "up_down_counter",
        "process.unix.file_descriptor.count",
        "{file_descriptor}",
        "Number of UNIX file descriptors in use by the process.",
        lambda: [(_process().file_descriptors(), {})],
    ),
    Series(
        "counter",
        "process.context_switches",
        "{context_switch}",
        "Number of times the process has been context switched.",
        _context_switches,
    ),
    Series(
        "counter",
        "process.paging.faults",
        "{fault}",
        "Number of page faults the process has made.",
        _paging_faults,
    ),
    Series(
        "gauge",
        "process.uptime",
        "s",
        "The time the process has been running.",
        lambda: [(_process().uptime(), {})],
    ),
    Series(
        "counter",
        "cpython.gc.collections",
        "{collection}",
        "The number of times a generation was collected since interpreter start.",
        _of_generations("collections"),
    ),
    Series(
        "counter",
        "cpython.gc.collected_objects",
        "{object}",
        "The total number of objects collected inside a generation since interpreter start.",
        _of_generations("collected"),
    ),
    Series(
        "counter",
        "cpython.gc.uncollectable_objects",
        "{object}",
        "The total number of objects which were found to be uncollectable inside a generation since interpreter start.",
        _of_generations("uncollectable"),
    ),
)
