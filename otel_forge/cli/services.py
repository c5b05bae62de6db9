"""The part of `status` about applications: what became of their telemetry."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from otel_forge.cli.output import age, table
from otel_forge.delivery.status import ServiceStatus

_HEAD = ["service", "pid", "signal", "created", "delivered", "held", "on disk", "dropped", "as of"]


def services_text(services: Sequence[ServiceStatus], now: float | None = None) -> list[str]:
    """Return what `status` prints of the services; nothing if there are none."""
    moment = time.time() if now is None else now
    processes = [process for service in services for process in service.processes]
    rows = [row for process in processes for row in _rows(process, moment)]
    lines = ["", "Telemetry of running applications:", "", *table([_HEAD, *rows])] if rows else []
    notes = [note for process in processes for note in _notes(process, moment)]
    notes += [note for service in services for note in _leftovers(service)]
    return [_printable(line) for line in ([*lines, "", *notes] if notes else lines)]


def _printable(line: str) -> str:
    """Return a line without anything that a terminal would take for a command: names and reasons come from outside."""
    return "".join(character if character.isprintable() else "?" for character in line)


def _rows(process: Mapping[str, Any], now: float) -> Iterator[list[str]]:
    for signal, counts in process["signals"].items():
        yield [
            str(process["service"]),
            str(process["pid"]),
            signal,
            *(str(counts[name]) for name in ("created", "delivered", "held")),
            shown_size(counts["bytes"]["on_disk"]),
            ", ".join(f"{count} {reason}" for reason, count in counts["dropped"].items()) or "0",
            f"{age(now - process['written'])} ago",
        ]


def _notes(process: Mapping[str, Any], now: float) -> Iterator[str]:
    """Yield a line for each signal whose last request failed."""
    for signal, counts in process["signals"].items():
        if counts["failure"]:
            waits = f"; the oldest waits for {age(now - counts['oldest'])}" if counts["oldest"] else ""
            yield (
                f"{process['service']} ({process['pid']}): {counts['address']} does not take {signal} "
                f"({counts['failure']}){waits}."
            )


def _leftovers(service: ServiceStatus) -> Iterator[str]:
    if service.left_bytes:
        yield (
            f"{service.service}: {shown_size(service.left_bytes)} left on disk by processes that are gone; "
            "the next one to start delivers it."
        )
    if service.refused_bytes:
        yield f"{service.service}: {shown_size(service.refused_bytes)} refused by the back end and set aside."


def shown_size(size: int) -> str:
    """Return a number of bytes as a person reads it."""
    shown, units = float(size), ["B", "KiB", "MiB", "GiB"]
    while shown >= 1024 and len(units) > 1:
        shown /= 1024
        units.pop(0)
    return f"{shown:.0f} {units[0]}" if units[0] == "B" else f"{shown:.1f} {units[0]}"
