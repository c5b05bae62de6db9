"""Alerts in this process: the thread that has rules evaluated where this process leads, and who is told.

Nothing of it exists before it is needed, and nothing survives a fork: a child that serves requests starts its own.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock

from otel_forge import redaction
from otel_forge.alerts import registry, workers
from otel_forge.alerts.alert import Alert, Origin
from otel_forge.alerts.engine import Engine
from otel_forge.alerts.events import Meters, let_information_pass
from otel_forge.alerts.leader import Leadership, folder_of, made
from otel_forge.alerts.memory import RuleMemory
from otel_forge.alerts.notifiers.configured import build_notifiers, half_configured
from otel_forge.alerts.telling import Telling
from otel_forge.alerts.texts import presentable
from otel_forge.alerts.workers import WorkerTraffic
from otel_forge.environment import own_folder
from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard
from otel_forge.health.attempts import start_thread
from otel_forge.metrics import traffic
from otel_forge.notices import Once, notice
from otel_forge.settings import Settings

LONGEST_TURN = 10.0
"""Seconds between two looks at who leads, and between two notes of the traffic."""
AT_EXIT = 0.5
"""Seconds that the end of the process may wait for notifications on their way."""

_RECENTLY = 60.0
"""Seconds for which what was counted before alerts were started is taken into account, as if it were now."""
_say_once = Once()


class Alerts:
    """What there is of alerts in one process."""

    def __init__(self, settings: Settings, meters: Meters) -> None:
        self.settings = settings.alerts
        self.origin = _origin(settings)
        self.telling = Telling(build_notifiers(self.settings), count=meters.count)
        self.folder = _folder(self.origin)
        self.leadership = Leadership(self.folder)
        self.traffic = WorkerTraffic(self.folder, traffic.totals, recent=traffic.window(_RECENTLY))
        self._bell = Event()
        self.engine = self._new_engine()
        self.is_leading = False
        self._is_over = False
        self._due = 0.0

    def _new_engine(self) -> Engine:
        return Engine(
            registry.rules,
            self.origin,
            self.telling,
            folder=self.folder,
            interval=self.settings.interval,
            delivered=self._bell.set,
        )

    def run(self) -> None:
        """Take turns until it is stopped."""
        workers.set_current(self.traffic)
        turn = min(LONGEST_TURN, self.settings.interval / 6)
        while not self._is_over:
            self._bell.wait(turn)
            self._bell.clear()
            with guard("evaluating alert rules"):
                self.turn()

    def turn(self) -> None:
        """Note the traffic; evaluate the rules if this process leads and it is time."""
        if self._is_over:
            return
        with self._keeping():
            self.traffic.note()
        if not self._leads():
            return
        now = time.monotonic()
        with self._keeping():
            if now < self._due:
                self.engine.save_receipts()
                return
            self._due = now + self.settings.interval
            self.traffic.tidy()
            self.engine.evaluate()

    def _leads(self) -> bool:
        """Return whether this process leads. Where nobody can tell it does: better told twice than not at all."""
        leads = True
        with self._keeping():
            leads = self.leadership.is_mine()
        if leads and not self.is_leading:
            self.engine = self._new_engine()
            self.engine.take_over()
        self.is_leading = leads
        return leads

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        """Say, once, that the folder cannot be used; make it anew if it is gone."""
        try:
            yield
        except OSError as error:
            _say_once(f"what alerts have to remember cannot be kept in {self.folder} ({error.strerror or error}).")
            if self.folder is not None:
                with suppress(OSError):
                    made(self.folder)

    def close(self, seconds: float) -> bool:
        """End, after so many seconds at the most for notifications on their way; return whether all were delivered."""
        self._is_over = True
        self._bell.set()
        is_told = self.telling.wait(seconds)
        self.telling.close()
        with suppress(OSError):
            self.traffic.note()
            if self.is_leading:
                self.engine.save_receipts()
        self.leadership.resign()
        return is_told


_alerts: Alerts | None = None
_meters: Meters | None = None
_lock = Lock()
_is_started = False


def _made() -> Alerts | None:
    """Return what there is of alerts in this process, made if need be; None where they are switched off."""
    global _alerts, _meters
    with _lock:
        if _alerts is None:
            settings = Settings.from_env(os.environ)
            if not settings.alerts.enabled:
                return None
            _complain(settings)
            if _meters is None:  # once: a child has its parent's instruments
                _meters = Meters(_known_here)
                let_information_pass()
                atexit.register(stop, AT_EXIT)
            _alerts = Alerts(settings, _meters)
        return _alerts


def _known_here() -> Mapping[str, RuleMemory]:
    """Return what is known of the rules that this process evaluates."""
    return _alerts.engine.known if _alerts is not None and _alerts.is_leading else {}


def start() -> None:
    """Have the rules evaluated in this process from now on, on a thread of ours. Never raises, and waits for nothing.

    Processes that serve requests start by themselves; this is for others, such as a worker of a queue. The second call
    is nothing, and so is any with ``OTEL_FORGE_ALERTS=false``. Of all processes of a service on a machine one does it.
    """
    global _is_started
    if not _is_started:
        _is_started = True
        with guard("starting alerts"):
            start_thread(_run, "otel-forge alerts")


def _run() -> None:
    with guard("starting alerts"):
        alerts = _made() if _is_started else None
        if alerts is not None:
            alerts.run()


def notify(alert: Alert, wait: float = 0.0) -> bool:
    """Tell people of an alert that is no rule's: log it, and hand it to the notifiers that take its severity.

    Returns whether all of them were through within `wait` seconds, one way or the other; what they could not deliver is
    logged. Never raises.
    """
    is_told = False
    with guard("telling of an alert"):
        alerts = _made()
        if alerts is not None:
            origin = alert.origin.completed(alerts.origin)
            told = presentable(replace(alert, origin=origin, started=alert.started or time.time()))
            alerts.telling.tell([told], lambda notifier, delivered: None)
            is_told = alerts.telling.wait(wait)
    return is_told


def stop(timeout: float = 5.0) -> bool:
    """Stop evaluating in this process; another one of the service takes over. Never raises.

    Returns whether everything that was to be told was, within `timeout` seconds; the process that leads next delivers
    the rest.
    """
    global _alerts, _is_started
    with guard("ending alerts"):
        with _lock:
            alerts, _alerts, _is_started = _alerts, None, False
        workers.set_current(None)
        return alerts is None or alerts.close(timeout)
    return False


def _begin_anew() -> None:
    """Know nothing in a forked child; the parent keeps leading if it does."""
    global _alerts, _lock, _is_started
    _lock = Lock()
    _is_started = False
    workers.set_current(None)
    if _alerts is not None:
        _alerts.leadership.forget()
        _alerts = None


on_fork_in_child(_begin_anew)


def _origin(settings: Settings) -> Origin:
    from otel_forge.logs import upkeep

    service = upkeep.service()
    if not service:
        from otel_forge.resource import service_name

        service = service_name(settings, sys.orig_argv, Path.cwd()).name
    host = settings.resource_attributes.get("host.name") or socket.gethostname()
    return Origin(service, settings.environment, host)


def _folder(origin: Origin) -> Path | None:
    """Return where the processes of the service meet; None, with a line, where that cannot be."""
    folder: Path | str = "the state folder"
    try:
        state = own_folder(os.environ, "OTEL_FORGE_STATE_DIR", "XDG_STATE_HOME", ".local/state")
        folder = folder_of(state, origin.service, origin.environment)
        return made(folder)
    except (OSError, RuntimeError) as error:  # who has no home folder is a RuntimeError of pathlib
        why = getattr(error, "strerror", None) or error
        _say_once(
            f"{folder} cannot be used ({why}): each process evaluates alert rules by itself, "
            "and people may be told more than once. OTEL_FORGE_STATE_DIR chooses another folder."
        )
        return None


def _complain(settings: Settings) -> None:
    """Say what is wrong with the settings of alerts, and redact by them, where telemetry has not done so."""
    if not redaction.is_chosen():
        redaction.install_from(settings.redaction)
        for problem in settings.problems:
            if problem.startswith("OTEL_FORGE_ALERTS"):
                notice(problem)
    if half := half_configured(settings.alerts):
        _say_once(half)
