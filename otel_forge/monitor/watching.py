"""The monitor: starts the app, looks at it every few seconds, and does what the judge and the ration allow."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil

from otel_forge.guard import guard
from otel_forge.health import heartbeat
from otel_forge.health.heartbeat import Beat
from otel_forge.monitor import folders, incidents, reporting
from otel_forge.monitor.app import App, end_app, end_process, reap_orphans
from otel_forge.monitor.evidence import Collector
from otel_forge.monitor.judging import EXITED, MEMORY, Evidence, Judge, Observation, Watched
from otel_forge.monitor.notifying import ServiceManager
from otel_forge.monitor.probing import Probe
from otel_forge.monitor.rationing import Ration
from otel_forge.monitor.remarks import Remarks
from otel_forge.monitor.reporting import GivenUp, Reports
from otel_forge.monitor.sampling import Sample, Sampler
from otel_forge.monitor.signals import STOPPING, Wait
from otel_forge.redaction import policy
from otel_forge.settings import WatchSettings

SICK_GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL for what is stuck: it cannot finish its requests anyway."""
_SAMPLES_KEPT = 30
_WELL_AGAIN = 600.0
"""Seconds without evidence after which new evidence is news, and somebody is called again."""


class Monitor:
    """Looks after one app until that has ended for good, or we are asked to end it.

    `start` starts the app (anew), and is None where it cannot: then the monitor only observes. `app` is one that runs
    already. `wait` waits for signals; `gave_up` is told when restarts have not helped.
    """

    def __init__(
        self,
        settings: WatchSettings,
        folder: Path,
        *,
        start: Callable[[], App] | None,
        reports: Reports,
        collector: Collector,
        wait: Wait,
        app: App | None = None,
        sampler: Sampler | None = None,
        probe: Probe | None = None,
        judge: Judge,
        ration: Ration,
        manager: ServiceManager,
        gave_up: Callable[[GivenUp], object] = lambda told: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._start_app = start
        self._app = app
        self._is_attached = app is not None
        self._reports = reports
        self._collector = collector
        self._wait = wait
        self._sampler = sampler or Sampler(settings.disk_path, settings.patience / 2)
        self._probe = probe or Probe(settings.live_url, settings.interval, settings.probe_timeout)
        self._judge = judge
        self._ration = ration
        self._manager = manager
        self._gave_up = gave_up
        self._clock = clock
        self._code: int | None = None
        self._next_look = self._next_sign = clock()
        self._start_at = clock()
        self._is_ready = self._has_alerted = False
        self._sick_at = self._started_at = clock()
        self._samples: deque[Sample] = deque(maxlen=_SAMPLES_KEPT)
        self._beats: list[Beat] = []
        self._remarks = Remarks(settings, reports)
        self._asked_to_stop: list[int] = []

    def run(self) -> int:
        """Look after the app; return the exit code, which is the app's."""
        if self._app is None:
            self._start()
        self._probe.start()
        try:
            while self._code is None:
                self._turn()
            return self._code
        finally:
            self._probe.stop()
            self._reports.annotations.wait(2.0)

    def _turn(self) -> None:
        due = self._start_at if self._app is None else self._next_look
        self._pause(max(0.0, due - self._clock()))
        if self._asked_to_stop:
            self._stop(self._asked_to_stop.pop(0))
        elif self._app is None:
            if self._clock() >= self._start_at:
                self._start()
        elif (code := self._app.ended()) is not None:
            self._on_end(code)
        elif self._clock() >= self._next_look:
            self._next_look = self._clock() + self._settings.interval
            with guard("looking after the app"):
                self._look()

    def _pause(self, seconds: float) -> None:
        """Wait for signals, and pass on what is the app's; give the service manager its signs of life."""
        if self._manager.watchdog is not None and self._clock() >= self._next_sign:
            self._next_sign = self._clock() + self._manager.watchdog
            self._manager.alive()
        limit = seconds if self._manager.watchdog is None else min(seconds, self._manager.watchdog)
        for number in self._wait(limit):
            if number in STOPPING:
                self._asked_to_stop.append(number)
            elif self._app is not None and not self._is_attached:
                self._app.send(number)
        if os.getpid() == 1:
            reap_orphans(self._app.pid if self._app else None)

    def _start(self) -> None:
        """Start the app, anew or for the first time."""
        if self._start_app is None:
            return
        with suppress(OSError):
            (self._folder / heartbeat.DRAINING).unlink()
        self._app, self._is_attached = self._start_app(), False
        self._started_at = self._clock()
        self._probe.forget()
        self._judge.forget()

    def _look(self) -> None:
        app = self._app
        sample = self._sampler.take(app.pid if app else None)
        self._samples.append(sample)
        self._reports.measures.sample = sample
        self._remarks.host(sample.host)
        evidence = self._judge.look(self._observe(sample))
        self._say_when_ready()
        self._remarks.excuses(self._judge.findings.excuses)
        evidence = self._answer_request() or evidence
        if self._judge.findings.evidence:
            self._sick_at = self._clock()
        elif self._clock() - self._sick_at > _WELL_AGAIN:
            self._has_alerted = False
        if evidence is not None:
            self._act(evidence)

    def _observe(self, sample: Sample) -> Observation:
        alive = {process.pid for process in sample.processes if process.status != psutil.STATUS_ZOMBIE}
        self._beats = [beat for beat in self._listen() if beat.pid in alive]
        beats, computing = {beat.pid: beat for beat in self._beats}, sample.computing
        return Observation(
            now=self._clock(),
            answered=self._probe.answered if self._probe.is_silent else None,
            processes=[Watched(pid, beats.get(pid), pid in computing) for pid in alive],
            memory=sample.memory,
        )

    def _listen(self) -> Sequence[Beat]:
        """Return what the processes said last; nothing where the disk keeps them from saying more."""
        try:
            folders.try_to_write(self._folder)
            incidents.remove_dead(self._folder)
        except OSError as error:
            self._remarks.folder(error.strerror or "unknown")
            return ()
        self._remarks.folder("")
        return heartbeat.read_beats(self._folder)

    def _act(self, evidence: Evidence) -> None:
        """Restart what the evidence is against, if that may be now."""
        if self._start_app is None:
            self._give_up(evidence, "because watch has no command to start it with")
            return
        wait = self._ration.wait(self._clock())
        if wait is None:
            self._give_up(evidence, "because restarts have not helped")
        elif not wait and self._app is not None:
            if evidence.pid == self._app.pid:
                evidence = replace(evidence, pid=None)  # it is all there is
            incident = self._keep(evidence)
            self._reports.restart(evidence, self._ration.take(self._clock()), incident)
            self._restart(self._app, evidence)

    def _restart(self, app: App, evidence: Evidence) -> None:
        whole = self._settings.grace
        grace = whole if evidence.reason == MEMORY else min(whole, SICK_GRACE)
        if evidence.pid is not None:
            end_process(evidence.pid, self._born(evidence.pid), grace, self._pause)  # its parent starts another one
            self._judge.forget()
            return
        end_app(app, grace, self._pause)
        self._app, self._start_at = None, self._clock()

    def _born(self, pid: int) -> float:
        """Return when a process of the app was started, by which it is told from a later one with the same id."""
        return next((process.started for process in self._samples[-1].processes if process.pid == pid), 0.0)

    def _on_end(self, code: int) -> None:
        """Decide what becomes of an app that has ended by itself."""
        app = self._app
        if app is None:
            return
        app.kill()  # what it has left: workers without a master
        said = "it has ended" if self._is_attached else f"it ended by itself with exit code {code}"
        if (code == 0 and not self._is_attached) or self._start_app is None:
            self._reports.event(reporting.ENDED, logging.INFO, f"{self._reports.service}: {said}.", code=code)
            self._code = code
            return
        evidence = Evidence(EXITED, said)
        incident = self._keep(evidence)
        wait = self._ration.wait(self._clock())
        if wait is None:
            self._has_alerted = False  # that it hung was told, not that it is gone
            self._give_up(evidence, "because restarts have not helped", incident)
            self._code = code or 1
            return
        self._app, self._start_at = None, self._clock() + wait
        self._reports.restart(evidence, self._ration.take(self._start_at), incident)

    def _give_up(self, evidence: Evidence, why: str, incident: Path | None = None) -> None:
        """Say, once, that nothing is done any more, and have somebody called."""
        if self._has_alerted:
            return
        self._has_alerted = True
        incident = incident or self._keep(evidence)
        told = GivenUp(self._reports.service, evidence, incident, self._ration.taken)
        self._reports.given_up(told, why)
        self._manager.status(f"given up: {evidence.detail}")
        with guard("calling somebody"):
            self._gave_up(told)

    def _stop(self, number: int) -> None:
        """End the app as we are asked to, in order, and ourselves with its exit code."""
        self._manager.stopping()
        app = self._app
        if app is None or self._is_attached:
            self._code = 0 if self._is_attached else 128 + number
            return
        if number == signal.SIGTERM and self._settings.drain:
            with guard("draining the app"):
                (self._folder / heartbeat.DRAINING).touch(mode=0o600)
            self._pause_while(app, self._settings.drain)
        app.send(number)
        self._asked_to_stop.clear()
        self._pause_while(app, self._settings.grace)
        code = app.ended()
        if code is None:
            text = f"{self._reports.service} has not ended in time and is ended by force."
            self._reports.event(reporting.ENDED, logging.WARNING, text)
        app.kill()
        self._code = 128 + signal.SIGKILL if code is None else code

    def _pause_while(self, app: App, seconds: float) -> None:
        """Wait while the app runs; a second signal to stop ends the wait."""
        deadline = self._clock() + seconds
        while app.ended() is None and not self._asked_to_stop and (left := deadline - self._clock()) > 0:
            self._pause(min(left, 0.5))

    def _keep(self, evidence: Evidence) -> Path | None:
        """Keep what is known of the app before it is gone."""
        output: Sequence[str] = self._app.last_output() if self._app else ()
        with guard("keeping an incident"):
            return self._collector.keep(evidence, self._samples, self._beats, self._judge.findings, output)
        return None

    def _answer_request(self) -> Evidence | None:
        """Return the evidence to act on now if the app asks for a restart and there is any; else decline."""
        path = self._folder / heartbeat.REQUEST
        request = heartbeat.read_json(path)
        if request is None:
            return None
        path.unlink(missing_ok=True)
        reason = policy().text(str(request.get("reason", "")))
        found = self._judge.findings
        if found.evidence:
            return replace(found.evidence[0], detail=f"{found.evidence[0].detail}; the app asked for it: {reason}")
        why = "; ".join(found.excuses) or "nothing hangs and every process has a heartbeat"
        text = f"{self._reports.service} asked for a restart ({reason}) and gets none: {why}."
        self._reports.event(reporting.DECLINED, logging.WARNING, text, reason=reason)
        return None

    def _say_when_ready(self) -> None:
        has_answered = self._probe.answered is not None
        self._remarks.start(self._clock() - self._started_at, "" if has_answered else self._probe.failure)
        if not self._is_ready and (has_answered or not self._settings.live_url):
            self._is_ready = True
            self._manager.ready(f"watching {self._reports.service}")
