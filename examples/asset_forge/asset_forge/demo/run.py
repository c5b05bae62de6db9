"""One run of the demo: services up, traffic through them, everything down again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from asset_forge.demo import scrape
from asset_forge.demo.processes import Child, check_ports, stop_all, tail
from asset_forge.demo.services import (
    DemoError,
    Ports,
    Telemetry,
    command,
    demo_services,
    endpoint,
    environment,
)
from asset_forge.demo.state import DemoState
from asset_forge.traffic import TARGETS, Ledger, Traffic, TrafficSettings

STATUS_LINE_S = 5.0
STATUS_FILE_S = 0.5
NO_TRAFFIC = "no traffic"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Flow:
    """How much traffic; ``duration_s`` and ``requests`` None means until it is stopped."""

    seed: int = 7
    rate: float = 10.0
    concurrency: int = 8
    duration_s: float | None = None
    requests: int | None = None
    fault_phases: bool = True
    enabled: bool = True


@dataclass(frozen=True)
class DemoSettings:
    """What a run of the demo is made of."""

    ports: Ports = field(default_factory=Ports)
    flow: Flow = field(default_factory=Flow)
    telemetry: Telemetry = field(default_factory=Telemetry)
    api_workers: int = 4
    watch_api: bool = True
    ledger: Path | None = None


class Demo:
    """Runs the demo in this process; ``run`` blocks, ``stop`` (an event) ends it."""

    def __init__(self, settings: DemoSettings, state: DemoState, environ: Mapping[str, str], say: Say) -> None:
        self._settings = settings
        self._state = state
        self._environ = environ
        self._say = say
        self._children: list[Child] = []
        self.services = demo_services(settings.ports, state, settings.api_workers, watch_api=settings.watch_api)
        self.ledger = Ledger()
        self.stop = threading.Event()

    def run(self) -> None:
        """Start, send, stop; raises DemoError when something is in the way or a service ends by itself."""
        lock = self._state.begin()
        if lock is None:
            raise DemoError(f"The demo is running already (process {self._state.running_pid()}): stop it first.")
        with lock:
            try:
                self._start_services()
                self._say(self.addresses())
                self._flow()
            finally:
                self._say("Stopping the services.")
                stop_all(self._children)
                if self._settings.telemetry.scrape:
                    scrape.withdraw(self._environ)
                self._close_books()

    def addresses(self) -> str:
        """Return the lines that tell where everything is."""
        api, telemetry = self.services[-1], self._settings.telemetry
        there = f"OTLP to {endpoint(telemetry, self._environ)}" if telemetry.enabled else "none (--no-telemetry)"
        flow = self._settings.flow
        traffic = f"{flow.rate:g} requests/s, seed {flow.seed}, {_bounds(flow)}" if flow.enabled else "none"
        rows = [
            ("page", f"{api.url}/"),
            ("API", f"{api.url}/api/assets"),
            *((service.label, service.url) for service in self.services[:-1]),
            ("telemetry", there),
            ("logs", str(self._state.log("*"))),
            ("traffic", traffic),
        ]
        return "\n".join(["Asset Forge is up:", *(f"  {label:<13} {value}" for label, value in rows)])

    def _start_services(self) -> None:
        telemetry = self._settings.telemetry
        commands = {service.name: command(service, telemetry, self._state) for service in self.services}
        check_ports(self.services)
        if telemetry.scrape:
            self._say(scrape.announce(self._environ))
        for service in self.services:
            self._say(f"Starting the {service.label} on {service.url} ({service.workers} x {service.threads}).")
            environ = environment(service, telemetry, self._environ)
            log = self._state.log(service.name)
            self._children.append(Child(service, commands[service.name], environ, log))
        for child in self._children:
            for _ in range(child.wait_until_it_answers(self.stop)):
                self.ledger.book_control(f"{child.service.name} probe")

    def _flow(self) -> None:
        flow = self._settings.flow
        if not flow.enabled:
            while not self.stop.wait(STATUS_FILE_S):
                self._look_after(NO_TRAFFIC)
            return
        traffic = Traffic(self._traffic_settings(flow), self.ledger)
        with ThreadPoolExecutor(1, "traffic") as pool:
            running = pool.submit(traffic.run)
            try:
                self._watch(traffic, running)
            finally:
                traffic.stop()
        running.result()

    def _watch(self, traffic: Traffic, running: Future[Ledger]) -> None:
        next_line = 0.0
        while not running.done() and not self.stop.is_set():
            self._look_after(traffic.phase)
            if time.monotonic() >= next_line:
                self._say(self.status_line(traffic.phase))
                next_line = time.monotonic() + STATUS_LINE_S
            wait([running], STATUS_FILE_S)

    def _look_after(self, phase: str) -> None:
        """Write the status file; raises DemoError if a service has ended."""
        self._state.write_status(self.status(phase))
        for child in self._children:
            if (code := child.ended()) is not None:
                raise DemoError(f"The {child.service.label} ended with code {code}.\n{tail(child.log)}")

    def status(self, phase: str) -> dict[str, object]:
        """Return what ``demo status`` shows."""
        total = self.ledger.tally()
        return {
            "pid": os.getpid(),
            "phase": phase,
            "addresses": self.addresses(),
            "services": {child.service.name: child.pid for child in self._children},
            "sent": total.sent,
            "line": self.status_line(phase),
        }

    def status_line(self, phase: str) -> str:
        """Return one line: the phase, and what was sent and came back so far."""
        here = self.ledger.tally(phase)
        return (
            f"{time.strftime('%H:%M:%S')} {phase}: sent {here.sent}, ok {here.ok}, "
            f"errors {here.client_errors} + {here.server_errors} | in all: {self._totals()}"
        )

    def _totals(self) -> str:
        total = self.ledger.tally()
        return (
            f"sent {total.sent}, ok {total.ok}, errors {total.client_errors} (4xx) + {total.server_errors} (5xx), "
            f"no answer {total.not_sent + total.unknown}"
        )

    def _traffic_settings(self, flow: Flow) -> TrafficSettings:
        images, ai, api = self.services
        return TrafficSettings(
            target=TARGETS["asset-forge"],
            base_url=api.url,
            seed=flow.seed,
            rate=flow.rate,
            concurrency=flow.concurrency,
            duration_s=flow.duration_s,
            requests=flow.requests,
            timeout_s=35.0,
            fault_phases=flow.fault_phases,
            control={images.name: images.url, ai.name: ai.url},
        )

    def _close_books(self) -> None:
        for path in filter(None, (self._state.ledger, self._settings.ledger)):
            self.ledger.write(path)
        self._say(f"The end: {self._totals()}. The ledger is in {self._settings.ledger or self._state.ledger}.")


def _bounds(flow: Flow) -> str:
    ends = [f"{flow.requests} requests"] if flow.requests is not None else []
    ends += [f"{flow.duration_s:g} s"] if flow.duration_s is not None else []
    return " or ".join(ends) or "until stopped"
