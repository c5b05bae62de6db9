"""What is remembered of the rules: written by the process that leads, read by the next one and by `otel-forge alerts`.

So an alert that fires is neither told twice nor forgotten when the process that evaluates it is replaced. Times of
phases are those of a clock that starts with the machine, and are moved to the present one when they are read after a
restart of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from otel_forge.alerts.alert import Alert, Origin
from otel_forge.alerts.states import STATES, Phase
from otel_forge.alerts.workers import replace_file

NAME = "rules.json"
_VERSION = 1
_MOST_BYTES = 8 << 20
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class RuleMemory:
    """What is known of one rule. `evaluated` in seconds since 1970; `problem` is why it could not be evaluated.

    `alert` is what people were told last, `owed` the names of those notifiers that have not delivered it yet.
    """

    severity: str = "medium"
    phase: Phase = Phase()
    summary: str = ""
    value: float | None = None
    problem: str = ""
    evaluated: float = 0.0
    alert: Alert | None = None
    owed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Memory:
    """Everything that is remembered of a service; `written` in seconds since 1970."""

    origin: Origin = Origin()
    pid: int = 0
    interval: float = 0.0
    written: float = 0.0
    rules: Mapping[str, RuleMemory] = field(default_factory=dict)


def save(folder: Path, memory: Memory, *, clock: float) -> None:
    """Write `memory`, whose phases go by a clock that shows `clock` now. Raises OSError."""
    document = {"version": _VERSION, "clock": clock, "boot": _boot(), **asdict(memory)}
    replace_file(folder / NAME, json.dumps(document, default=str))


def load(folder: Path, *, clock: float, wall: float) -> Memory:
    """Return what was saved, for a clock that shows `clock` and a time of `wall` now; an empty one if there is nothing.

    What is damaged, or of another version, is as good as nothing.
    """
    try:
        with (folder / NAME).open("rb") as file:
            document = json.loads(file.read(_MOST_BYTES))
        if document["version"] != _VERSION:
            return Memory()
        return _memory(document, _passed(document, clock, wall))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Memory()


def _passed(document: Mapping[str, Any], clock: float, wall: float) -> float:
    """Return what has to be added to the times of a document."""
    saved = float(document["clock"])
    if document["boot"] and document["boot"] == _boot() and clock >= saved:
        return 0.0
    return clock - saved - max(0.0, wall - float(document["written"]))


def _memory(document: Mapping[str, Any], moved: float) -> Memory:
    return Memory(
        origin=Origin(**document["origin"]),
        pid=int(document["pid"]),
        interval=float(document["interval"]),
        written=float(document["written"]),
        rules={str(name): _rule(known, moved) for name, known in document["rules"].items()},
    )


def _rule(known: Mapping[str, Any], moved: float) -> RuleMemory:
    phase = Phase(**{**known["phase"], "fired": tuple(map(float, known["phase"]["fired"]))})
    if phase.state not in STATES:
        raise ValueError(phase.state)
    alert = known["alert"] and Alert(**{**known["alert"], "origin": Origin(**known["alert"]["origin"])})
    remembered = RuleMemory(**{**known, "phase": phase.moved(moved), "alert": alert, "owed": tuple(known["owed"])})
    return replace(remembered, summary=str(remembered.summary), problem=str(remembered.problem))


def _boot() -> str:
    """Return what names this run of the machine; empty where nothing does."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip() if os.name == "posix" else ""
    except OSError:
        return ""
