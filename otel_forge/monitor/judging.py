"""What is evidence that a restart would help, and what only looks like it.

Pure: it is given what was seen at one moment, and the time of that moment. Evidence is silence (no answer to the
liveness probe, no heartbeat, requests that hang and none that ends) or too much memory. Silence has excuses: requests
that wait for anything but a lock hang on somebody else, a process that computes, or has others compute, is busy, an app
that completes requests is overloaded. To restart it would mend none of these.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from otel_forge.health.heartbeat import Beat
from otel_forge.health.waiting import LOCK, UNKNOWN

DEADLOCK, UNRESPONSIVE, HEARTBEAT_LOST = "deadlock", "unresponsive", "heartbeat_lost"
MEMORY, EXITED = "memory_limit", "exited"


@dataclass(frozen=True)
class Patience:
    """How long silence may last, in seconds, and how many bytes the app may take (0 is no limit)."""

    idle: float = 20.0
    busy: float = 120.0
    memory_limit: int = 0


@dataclass(frozen=True)
class Watched:
    """One process of the app: what it said last, if it says anything, and whether it has used the CPU lately.

    It, or a process that it has started.
    """

    pid: int
    beat: Beat | None = None
    computes: bool = False


@dataclass(frozen=True)
class Observation:
    """What was seen at one moment; times in seconds of ``time.monotonic``."""

    now: float
    answered: float | None = None
    """When the liveness probe was last answered; None where there is no probe, or the app has never answered yet."""
    processes: Sequence[Watched] = ()
    memory: int = 0
    """Resident bytes of all processes together."""


@dataclass(frozen=True)
class Evidence:
    """Why a restart would help; of the whole app, or of the one process `pid`."""

    reason: str
    detail: str
    pid: int | None = None


@dataclass
class Findings:
    """What one look has found: evidence, of the whole app first, and silence that has an excuse."""

    evidence: list[Evidence] = field(default_factory=list)
    excuses: list[str] = field(default_factory=list)


def find(seen: Observation, patience: Patience) -> Findings:
    """Return what there is to say about one moment."""
    findings = Findings()
    if patience.memory_limit and seen.memory > patience.memory_limit:
        detail = f"its processes take {seen.memory:,} bytes, more than {patience.memory_limit:,}"
        findings.evidence.append(Evidence(MEMORY, detail))
    _judge_probe(seen, patience, findings)
    for process in seen.processes:
        if process.beat is not None:
            _judge_process(process, process.beat, seen.now, patience, findings)
    return findings


def _judge_probe(seen: Observation, patience: Patience, findings: Findings) -> None:
    silence = 0.0 if seen.answered is None else seen.now - seen.answered
    if silence <= patience.idle:
        return
    said = f"the liveness probe has had no answer for {silence:.0f} s"
    excuse = _excuse_of_all(seen, patience, silence)
    if excuse:
        findings.excuses.append(f"{said}, but {excuse}")
        return
    hangs = any(process.beat is not None and process.beat.in_flight for process in seen.processes)
    findings.evidence.append(Evidence(DEADLOCK if hangs else UNRESPONSIVE, said))


def _excuse_of_all(seen: Observation, patience: Patience, silence: float) -> str:
    """Return why nobody answers the probe though a restart would not help; empty if there is no excuse."""
    if silence <= patience.busy and any(process.computes for process in seen.processes):
        return "the app computes"
    beats = [process.beat for process in seen.processes if process.beat is not None]
    if any(beat.completed and seen.now - beat.ended <= patience.idle for beat in beats):
        return "the app completes requests: it is overloaded"
    waiting = [beat for beat in beats if beat.oldest is not None and seen.now - beat.oldest > patience.idle]
    return next((f"its requests {excuse}" for beat in waiting if (excuse := _excuse(beat, silence, patience))), "")


def _judge_process(process: Watched, beat: Beat, now: float, patience: Patience, findings: Findings) -> None:
    silence = now - beat.beaten
    held = now - beat.newest if beat.newest is not None else 0.0
    if silence > patience.idle:
        said, reason = f"process {beat.pid} has had no heartbeat for {silence:.0f} s", HEARTBEAT_LOST
    elif 0 < beat.capacity <= beat.in_flight and held > patience.idle:
        waits = " and ".join(beat.waits) or "unknown"
        said = f"all {beat.in_flight} requests of process {beat.pid} have hung for more than {held:.0f} s ({waits})"
        silence, reason = held, DEADLOCK
    else:
        return
    if process.computes and silence <= patience.busy:
        findings.excuses.append(f"{said}, but it computes")
    elif reason == DEADLOCK and (excuse := _excuse(beat, silence, patience)):
        findings.excuses.append(f"{said}, but they {excuse}")
    else:
        findings.evidence.append(Evidence(reason, said, beat.pid))


def _excuse(beat: Beat, silence: float, patience: Patience) -> str:
    """Return why requests that hang may not be deadlocked; empty if all wait for locks."""
    if set(beat.waits) - {LOCK, UNKNOWN}:
        return "wait for somebody else (the network, a time, another process)"
    if UNKNOWN in beat.waits and silence <= patience.busy:
        return "wait for something that this system does not tell"
    return ""


class Judge:
    """Finds evidence that stays: there in `windows` (some, out of so many) looks in a row.

    A look that comes `longest_gap` seconds after the one before begins anew: the machine, or the monitor, stood still.
    """

    def __init__(self, patience: Patience, windows: tuple[int, int] = (2, 3), longest_gap: float = 30.0) -> None:
        self._patience = patience
        self._some, self._all = windows
        self._longest_gap = longest_gap
        self._looks: deque[frozenset[object]] = deque(maxlen=self._all)
        self._last = 0.0
        self.findings = Findings()
        """What the last look has found, whether it stays or not."""

    def look(self, seen: Observation) -> Evidence | None:
        """Return the evidence that has stayed for long enough; of the whole app first."""
        if self._looks and seen.now - self._last > self._longest_gap:
            self.forget()
        self._last = seen.now
        self.findings = find(seen, self._patience)
        self._looks.append(frozenset(map(_subject, self.findings.evidence)))
        stays = [evidence for evidence in self.findings.evidence if self._has_stayed(evidence)]
        return _of_all(stays, seen) or next(iter(stays), None)

    def forget(self) -> None:
        """Begin anew, as after a restart."""
        self._looks.clear()
        self.findings = Findings()

    def _has_stayed(self, evidence: Evidence) -> bool:
        subject = _subject(evidence)
        return sum(subject in look for look in self._looks) >= self._some


def _subject(evidence: Evidence) -> object:
    """Return what the evidence is about: silence of one process or of the app may change its form as it lasts."""
    return evidence.pid, evidence.reason == MEMORY


def _of_all(stays: Sequence[Evidence], seen: Observation) -> Evidence | None:
    """Return evidence against the whole app where that is said, or where there is some against each of its workers."""
    if stays and stays[0].pid is None:
        return stays[0]
    workers = [process for process in seen.processes if process.beat is not None]
    if len(stays) > 1 and len(stays) == len(workers):
        return Evidence(stays[0].reason, "; ".join(evidence.detail for evidence in stays))
    return None
