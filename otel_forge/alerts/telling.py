"""Telling people: each notifier has a queue and a thread of its own, so that none waits for another.

A thread begins with the first alert and ends when there is nothing left to tell. A queue takes so many notifications
and no more: what comes while a service is down for long is logged, and a firing alert is told again anyway.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, Event

from otel_forge.alerts import events
from otel_forge.alerts.alert import Alert, badness
from otel_forge.alerts.sending import Notifier, Patience, deliver
from otel_forge.guard import guard
from otel_forge.health.attempts import start_thread

MOST_WAITING = 100
"""Notifications that wait for one notifier."""

DELIVERED, FAILED, DROPPED = "delivered", "failed", "dropped"
Delivered = Callable[[str, Alert], object]
Count = Callable[[str, str, int], object]


def _uncounted(notifier: str, outcome: str, number: int) -> None:
    """Count nothing."""


class Telling:
    """Tells `notifiers`, each with the lowest severity that goes to it; `count` counts what became of each alert."""

    def __init__(
        self, notifiers: Sequence[tuple[Notifier, str]], *, patience: Patience | None = None, count: Count = _uncounted
    ) -> None:
        self._lowest = {notifier.name: badness(lowest) for notifier, lowest in notifiers}
        self._lanes = {notifier.name: _Lane(notifier, patience or Patience(), count) for notifier, _ in notifiers}

    def takers(self, alert: Alert) -> tuple[str, ...]:
        """Return the names of the notifiers that an alert goes to."""
        return tuple(name for name, lowest in self._lowest.items() if badness(alert.severity) >= lowest)

    def tell(self, alerts: Sequence[Alert], delivered: Delivered) -> None:
        """Log changes and hand them to their notifiers; `delivered` hears when one has told, or has given up."""
        for alert in alerts:
            with guard("logging an alert"):
                events.log_change(alert)
        for name in self._lanes:
            self.send(name, [alert for alert in alerts if name in self.takers(alert)], delivered)

    def send(self, notifier: str, alerts: Sequence[Alert], delivered: Delivered) -> None:
        """Hand alerts to one notifier; one that there is not any more owes nothing."""
        lane = self._lanes.get(notifier)
        if lane is not None and alerts:
            lane.put(list(alerts), delivered)

    def trouble(self, rule: str, what: str) -> None:
        """Say what is the matter with a rule."""
        with guard("logging the trouble of an alert rule"):
            events.log_trouble(rule, what)

    def recovered(self, rule: str) -> None:
        """Say that a rule can be evaluated again."""
        with guard("logging the recovery of an alert rule"):
            events.log_recovery(rule)

    def wait(self, seconds: float) -> bool:
        """Wait until everything is told, or given up on; return whether that was so within `seconds`."""
        deadline = time.monotonic() + seconds
        return all(lane.wait(max(0.0, deadline - time.monotonic())) for lane in self._lanes.values())

    def close(self) -> None:
        """Give up waiting for other tries."""
        for lane in self._lanes.values():
            lane.closed.set()


class _Lane:
    """The queue and the thread of one notifier."""

    def __init__(self, notifier: Notifier, patience: Patience, count: Count) -> None:
        self._notifier = notifier
        self._patience = patience
        self._count = count
        self._changed = Condition()
        self._waiting: deque[tuple[list[Alert], Delivered]] = deque()
        self._is_busy = False
        self.closed = Event()

    def put(self, alerts: list[Alert], delivered: Delivered) -> None:
        """Have alerts told when those before them are."""
        with self._changed:
            is_full = len(self._waiting) >= MOST_WAITING
            if not is_full:
                self._waiting.append((alerts, delivered))
            begins = not self._is_busy and not is_full
            self._is_busy = self._is_busy or begins
        if is_full:
            self._done(alerts, delivered, DROPPED, f"{MOST_WAITING} notifications wait already")
        elif begins:
            self._begin()

    def wait(self, seconds: float) -> bool:
        """Wait until there is nothing left to tell."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._is_busy, seconds)

    def _begin(self) -> None:
        try:
            start_thread(self._run, f"otel-forge alerts {self._notifier.name}")
        except RuntimeError as error:  # no thread to be had
            with self._changed:
                self._is_busy = False
                given_up = list(self._waiting)
                self._waiting.clear()
            for alerts, delivered in given_up:
                self._done(alerts, delivered, FAILED, str(error))

    def _run(self) -> None:
        while (task := self._next()) is not None:
            alerts, delivered = task
            reason = deliver(self._notifier, alerts, self._patience, pause=self._pause)
            if reason and self.closed.is_set():
                continue  # the process ends: whoever leads next still owes it
            self._done(alerts, delivered, FAILED if reason else DELIVERED, reason)

    def _next(self) -> tuple[list[Alert], Delivered] | None:
        with self._changed:
            if self._waiting and not self.closed.is_set():
                return self._waiting.popleft()
            self._is_busy = False
            self._changed.notify_all()
            return None

    def _pause(self, seconds: float) -> bool:
        return not self.closed.wait(seconds)

    def _done(self, alerts: Sequence[Alert], delivered: Delivered, outcome: str, reason: str) -> None:
        if reason:
            with guard("logging a notification that was not delivered"):
                events.log_undelivered(self._notifier.name, alerts, reason)
        with guard("noting what became of a notification"):
            self._count(self._notifier.name, outcome, len(alerts))
            for alert in alerts:
                delivered(self._notifier.name, alert)
