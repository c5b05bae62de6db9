"""The runner: sends a plan at its pace, switches faults between phases, and keeps the ledger."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from asset_forge.traffic.ledger import Ledger
from asset_forge.traffic.plan import Phase, Planned, Request, Target, planned_requests
from asset_forge.traffic.sender import Address, Outcome, loopback_address, send

Send = Callable[[Address, Request, float], Outcome]
CONTROL_TIMEOUT_S = 5.0
CATCH_UP_S = 1.0


@dataclass(frozen=True)
class TrafficSettings:
    """How much traffic of which kind; it ends at ``duration_s`` or ``requests``, whichever comes first.

    rate: requests a second in a phase of pace 1, 0 for as fast as it goes. control: name of a service to the
    address of its fault switch; phases whose faults cannot be switched are left out.
    """

    target: Target
    base_url: str
    seed: int = 7
    rate: float = 10.0
    concurrency: int = 8
    duration_s: float | None = 60.0
    requests: int | None = None
    timeout_s: float = 10.0
    fault_phases: bool = True
    control: Mapping[str, str] = field(default_factory=dict)
    trace: bool = False


class Traffic:
    """One run of traffic; ``run`` blocks until the end, ``stop`` ends it from another thread or a signal."""

    def __init__(self, settings: TrafficSettings, ledger: Ledger | None = None, send_one: Send = send) -> None:
        """Check the settings; raises NotLoopback for an address elsewhere, ValueError for a bad number."""
        if settings.concurrency < 1 or settings.rate < 0 or settings.timeout_s <= 0:
            raise ValueError("concurrency must be at least 1, rate at least 0, timeout_s above 0.")
        self._settings = replace(settings, target=_usable(settings))
        self._address = loopback_address(settings.base_url)
        self._control = {name: loopback_address(url) for name, url in settings.control.items()}
        self._send = send_one
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._queue: queue.Queue[Planned | None] = queue.Queue(maxsize=settings.concurrency)
        self.ledger = ledger or Ledger()
        self.ledger.note(target=settings.target.name, base_url=settings.base_url, seed=settings.seed)
        self.phase = "starting"

    def stop(self) -> None:
        """Send nothing more; requests under way are finished and booked."""
        self._stop.set()

    def run(self) -> Ledger:
        """Send the plan; returns the ledger when every request sent has an outcome."""
        threads = [threading.Thread(target=self._work, name=f"traffic-{n}") for n in range(self._settings.concurrency)]
        for thread in threads:
            thread.start()
        try:
            self.ledger.note(ended_by=self._dispatch())
        finally:
            for _ in threads:
                self._queue.put(None)
            for thread in threads:
                thread.join()
            self._switch_faults(None)
        if self._failure is not None:
            raise self._failure
        return self.ledger

    def _dispatch(self) -> str:
        settings, current, due = self._settings, None, time.monotonic()
        end = due + settings.duration_s if settings.duration_s is not None else float("inf")
        for planned in self._plan():
            if planned.phase is not current:
                self._queue.join()  # faults hold for the requests of their phase, and for no other
                current = planned.phase
                self._enter(current)
            now = time.monotonic()
            gap = planned.gap / settings.rate if settings.rate else 0.0
            due = max(due, now - CATCH_UP_S) + gap
            if self._stop.wait(max(0.0, min(due, end) - now)):
                return "stop"
            if time.monotonic() >= end:
                return "duration"
            self._queue.put(planned)
        return "requests"

    def _plan(self) -> Iterator[Planned]:
        settings = self._settings
        return planned_requests(settings.target, settings.seed, settings.requests, settings.trace)

    def _work(self) -> None:
        while (planned := self._queue.get()) is not None:
            try:
                self._send_and_book(planned)
            except Exception as error:  # noqa: BLE001 - raised again by run, in the caller's thread
                self._failure = error
                self._stop.set()
            finally:
                self._queue.task_done()

    def _send_and_book(self, planned: Planned) -> None:
        request = planned.request
        outcome = self._send(self._address, request, self._settings.timeout_s)
        self.ledger.book(planned.phase.name, request.method, request.route, outcome)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase.name
        self._switch_faults(phase)

    def _switch_faults(self, phase: Phase | None) -> None:
        """Put the faults of a phase in force, and clear those of every other service."""
        if not self._settings.fault_phases:
            return
        for service, address in self._control.items():
            faults = (phase.faults if phase else {}).get(service, {})
            body = json.dumps({"seed": self._settings.seed, **faults}).encode()
            request = Request("PUT", "/faults", "/faults", body, (("Content-Type", "application/json"),))
            outcome = self._send(address, request, CONTROL_TIMEOUT_S)
            self.ledger.book_control(service if outcome.status == 200 else f"{service} failed")


def _usable(settings: TrafficSettings) -> Target:
    cycle: Sequence[Phase] = settings.target.cycle
    known = set(settings.control) if settings.fault_phases else set()
    kept = [phase for phase in cycle if set(phase.faults) <= known]
    if not settings.fault_phases:
        kept = [phase for phase in kept if not phase.name.startswith("fault")]
    return replace(settings.target, cycle=kept)
