"""The ledger: what was sent and what came back, counted by phase, method, route and status."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from asset_forge.traffic.sender import Outcome


class Entry(NamedTuple):
    """What one request is booked under; status is None where no response came, and failure then says why."""

    phase: str
    method: str
    route: str | None
    status: int | None
    failure: str | None


@dataclass(frozen=True)
class Tally:
    """Totals: ``sent = ok + client_errors + server_errors + not_sent + unknown``.

    not_sent: the connection failed, so the server saw nothing. unknown: it may have seen the request or not.
    """

    sent: int
    ok: int
    client_errors: int
    server_errors: int
    not_sent: int
    unknown: int

    @property
    def responses(self) -> int:
        """Tell how many requests got a response."""
        return self.ok + self.client_errors + self.server_errors


class Ledger:
    """Counts outcomes; safe to share between threads."""

    def __init__(self, **facts: object) -> None:
        """Start empty; ``facts`` (seed, target, …) are written along."""
        self._lock = threading.Lock()
        self._counts: Counter[Entry] = Counter()
        self._control: Counter[str] = Counter()
        self._facts = facts
        self._started = _now()

    def book(self, phase: str, method: str, route: str | None, outcome: Outcome) -> None:
        """Count one request."""
        with self._lock:
            self._counts[Entry(phase, method, route, outcome.status, outcome.failure)] += 1

    def book_control(self, service: str) -> None:
        """Count one answered call of a service's fault switch; these are not part of the traffic."""
        with self._lock:
            self._control[service] += 1

    def note(self, **facts: object) -> None:
        """Add facts to be written along."""
        with self._lock:
            self._facts.update(facts)

    def entries(self) -> dict[Entry, int]:
        """Return a copy of all counts."""
        with self._lock:
            return dict(self._counts)

    def responses(self) -> dict[tuple[str, str | None, int], int]:
        """Return the answered requests by method, route and status: what the server must have counted too."""
        found: Counter[tuple[str, str | None, int]] = Counter()
        for entry, count in self.entries().items():
            if entry.status is not None:
                found[entry.method, entry.route, entry.status] += count
        return dict(found)

    def tally(self, phase: str | None = None) -> Tally:
        """Return totals, of one phase or of all."""
        return tally(self.entries(), phase)

    def as_json(self) -> dict[str, Any]:
        """Return the ledger as it is written to a file."""
        entries = self.entries()
        phases = sorted({entry.phase for entry in entries})
        with self._lock:
            facts, control = dict(self._facts), dict(self._control)
        return {
            **facts,
            "started": self._started,
            "finished": _now(),
            "total": _totals(tally(entries)),
            "counts": _counts(entries),
            "control": control,
            "phases": {name: _phase(entries, name) for name in phases},
        }

    def write(self, path: Path) -> None:
        """Write the ledger as JSON, replacing the file at once."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(self.as_json(), indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Read a ledger that was written before; its counts are the same, its times are not kept."""
        data = json.loads(path.read_text(encoding="utf-8"))
        computed = ("started", "finished", "total", "counts", "control", "phases")
        ledger = cls(**{name: value for name, value in data.items() if name not in computed})
        ledger._control.update(data["control"])
        for phase, part in data["phases"].items():
            for row in part["counts"]:
                entry = Entry(phase, row["method"], row["route"], row["status"], row["failure"])
                ledger._counts[entry] += row["count"]
        return ledger


def tally(entries: Mapping[Entry, int], phase: str | None = None) -> Tally:
    """Add up entries, of one phase or of all."""
    sums: Counter[str] = Counter()
    for entry, count in entries.items():
        if phase is None or entry.phase == phase:
            sums["sent"] += count
            sums[_kind(entry)] += count
    return Tally(**{name: sums[name] for name in Tally.__dataclass_fields__})


def _kind(entry: Entry) -> str:
    if entry.status is None:
        return "not_sent" if entry.failure == "not_sent" else "unknown"
    return "ok" if entry.status < 400 else "client_errors" if entry.status < 500 else "server_errors"


def _totals(sums: Tally) -> dict[str, int]:
    return {**{name: getattr(sums, name) for name in Tally.__dataclass_fields__}, "responses": sums.responses}


def _phase(entries: Mapping[Entry, int], name: str) -> dict[str, Any]:
    own = {entry: count for entry, count in entries.items() if entry.phase == name}
    return {"total": _totals(tally(own)), "counts": _counts(own)}


def _counts(entries: Mapping[Entry, int]) -> list[dict[str, Any]]:
    merged: Counter[tuple[str, str | None, int | None, str | None]] = Counter()
    for entry, count in entries.items():
        merged[entry.method, entry.route, entry.status, entry.failure] += count
    names = ("method", "route", "status", "failure")
    return [dict(zip(names, key, strict=True)) | {"count": merged[key]} for key in _in_order(merged)]


def _in_order(
    keys: Iterable[tuple[str, str | None, int | None, str | None]],
) -> list[tuple[str, str | None, int | None, str | None]]:
    return sorted(keys, key=lambda key: (key[1] is None, key[1] or "", key[0], key[2] or 0, key[3] or ""))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
