"""The evaluation of rules in the process that leads: conditions are asked, phases advance, people are told.

Everything that lasts is in `Memory`, which is written before anybody is told: whoever leads next goes on where this one
stopped, and delivers what it still owed.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from otel_forge.alerts import memory
from otel_forge.alerts.alert import FIRING, RESOLVED, Alert, Origin
from otel_forge.alerts.calls import Answer, Calls, Job, in_words
from otel_forge.alerts.memory import Memory, RuleMemory
from otel_forge.alerts.rule import AlertRule, Finding
from otel_forge.alerts.states import Change, step
from otel_forge.alerts.texts import LONGEST_SUMMARY, finite, line, presentable

_GONE = "The rule is no longer there."
_LONGEST_PROBLEM = 300


class Teller(Protocol):
    """What people are told by; see `otel_forge.alerts.telling`."""

    def takers(self, alert: Alert) -> tuple[str, ...]:
        """Return the names of the notifiers that an alert goes to."""

    def tell(self, alerts: Sequence[Alert], delivered: Callable[[str, Alert], object]) -> None:
        """Log and count changes, and hand them to their notifiers."""

    def send(self, notifier: str, alerts: Sequence[Alert], delivered: Callable[[str, Alert], object]) -> None:
        """Hand alerts to one notifier."""

    def trouble(self, rule: str, what: str) -> None:
        """Say what is the matter with a rule."""

    def recovered(self, rule: str) -> None:
        """Say that a rule can be evaluated again."""


class Engine:
    """Evaluates `rules` for `origin`; without a `folder` nothing outlasts the process.

    `delivered` is called, by any thread, when there is a receipt to be saved.
    """

    def __init__(
        self,
        rules: Callable[[], Sequence[AlertRule]],
        origin: Origin,
        teller: Teller,
        *,
        folder: Path | None = None,
        interval: float = 60.0,
        delivered: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._rules = rules
        self._origin = origin
        self._teller = teller
        self._folder = folder
        self._interval = interval
        self._tell_of_receipt = delivered
        self._clock = clock
        self._wall = wall
        self._calls, self._actions = Calls(), Calls()
        self._known: dict[str, RuleMemory] = {}
        self._missing: set[str] = set()
        self._receipts: deque[tuple[str, Alert]] = deque()

    @property
    def known(self) -> Mapping[str, RuleMemory]:
        """What is known of each rule."""
        return self._known

    def take_over(self) -> None:
        """Go on where the process that led before has stopped, and deliver what it has not."""
        folder = self._folder
        if folder is not None:
            self._known = dict(memory.load(folder, clock=self._clock(), wall=self._wall()).rules)
        for known in self._known.values():
            if known.alert is not None:
                for notifier in known.owed:
                    self._teller.send(notifier, [known.alert], self._delivered)

    def evaluate(self) -> None:
        """Evaluate every rule once. Raises OSError if what is known cannot be written; people are told all the same."""
        self._note_receipts()
        rules = {rule.name: rule for rule in self._rules()}
        answers = self._calls.make({name: Job(rule.condition, rule.timeout) for name, rule in rules.items()})
        told = {
            name: alert for name, rule in rules.items() if (alert := self._advanced(rule, answers[name])) is not None
        }
        try:
            over = self._gone(rules.keys())
            self.save()
        finally:
            if told or over:
                self._teller.tell([*told.values(), *over], self._delivered)
                self._act(rules, told)

    def save(self) -> None:
        """Write what is known. Raises OSError."""
        if self._folder is not None:
            written = Memory(self._origin, os.getpid(), self._interval, self._wall(), dict(self._known))
            memory.save(self._folder, written, clock=self._clock())

    def save_receipts(self) -> None:
        """Write what is known if something was delivered since it was written. Raises OSError."""
        if self._note_receipts():
            self.save()

    def _advanced(self, rule: AlertRule, answer: Answer) -> Alert | None:
        """Do what `_advance` does; an answer that cannot be used is a problem of its rule alone."""
        try:
            return self._advance(rule, answer)
        except Exception as error:  # noqa: BLE001 - details are the application's own objects
            return self._advance(rule, Answer(problem=in_words(error)))

    def _advance(self, rule: AlertRule, answer: Answer) -> Alert | None:
        """Take the answer of a condition into account; return the alert that people are to be told of."""
        before = self._known.get(rule.name, RuleMemory())
        finding, problem = _finding(answer)
        phase, change = step(before.phase, None if problem else finding.firing, self._clock(), rule)
        known = replace(before, severity=rule.severity, phase=phase, problem=problem, evaluated=self._wall())
        if not problem:
            known = replace(known, summary=line(finding.summary, LONGEST_SUMMARY), value=finite(finding.value))
        if change is not None:
            alert = self._alert(rule, finding, change, known)
            known = replace(known, alert=alert, owed=self._teller.takers(alert))
        self._known[rule.name] = known
        if problem and not before.problem:
            self._teller.trouble(rule.name, f"it cannot be evaluated: {problem}")
        elif before.problem and not problem:
            self._teller.recovered(rule.name)
        return None if change is None else known.alert

    def _alert(self, rule: AlertRule, finding: Finding, change: Change, known: RuleMemory) -> Alert:
        now, is_over = self._wall(), change == "resolved"
        details = dict(finding.details)
        if rule.description and finding.summary:
            details["description"] = rule.description
        if known.phase.is_flapping(self._clock()):
            details["flapping"] = True
        begun = None if change == "firing" else known.alert  # told by a process whose host had another name, perhaps
        return presentable(
            Alert(
                name=rule.name,
                severity=begun.severity if begun is not None and is_over else rule.severity,
                summary=finding.summary or rule.description,
                state=RESOLVED if is_over else FIRING,
                value=finding.value,
                details=details,
                links=rule.links,
                started=now if begun is None else begun.started,
                ended=now if is_over else 0.0,
                repeated=change == "repeated",
                origin=self._origin if begun is None else begun.origin,
            )
        )

    def _gone(self, names: Set[str]) -> list[Alert]:
        """Forget rules that are no longer there; those that fire are resolved, when they are missed a second time."""
        missing = self._known.keys() - names
        gone, self._missing = missing & self._missing, missing - self._missing
        over = [self._known.pop(name) for name in sorted(gone)]
        firing = [known.alert for known in over if known.alert is not None and known.phase.state == "firing"]
        ended = self._wall()
        return [replace(alert, state=RESOLVED, summary=_GONE, ended=ended, repeated=False) for alert in firing]

    def _act(self, rules: Mapping[str, AlertRule], told: Mapping[str, Alert]) -> None:
        """Call the actions of rules that have begun to fire."""
        jobs = {}
        for name, alert in told.items():
            action = rules[name].action
            if action is not None and alert.is_firing and not alert.repeated:
                jobs[name] = Job(partial(action, alert), rules[name].timeout, quiet=False)
        for name, answer in self._actions.make(jobs).items():
            if answer.problem:
                self._teller.trouble(name, f"its action failed: {line(answer.problem, _LONGEST_PROBLEM)}")

    def _delivered(self, notifier: str, alert: Alert) -> None:
        """Take note that a notifier has delivered an alert, or given up on it; called by its thread."""
        self._receipts.append((notifier, alert))
        self._tell_of_receipt()

    def _note_receipts(self) -> bool:
        """Cross off what is no longer owed; return whether there was anything."""
        noted = False
        while self._receipts:
            notifier, alert = self._receipts.popleft()
            for name, known in self._known.items():
                if known.alert == alert and notifier in known.owed:
                    self._known[name] = replace(known, owed=tuple(other for other in known.owed if other != notifier))
                    noted = True
        return noted


def _finding(answer: Answer) -> tuple[Finding, str]:
    """Return what a condition found, and why it found nothing."""
    if answer.problem:
        return Finding(False), line(answer.problem, _LONGEST_PROBLEM)
    if isinstance(answer.value, Finding):
        return answer.value, ""
    if isinstance(answer.value, bool):
        return Finding(answer.value), ""
    return Finding(False), f"it returned {type(answer.value).__name__!r} and not True, False or a Finding"
