"""The engine: rules are evaluated, people are told once, and whoever leads next goes on where this one stopped."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from otel_forge.alerts import memory
from otel_forge.alerts.alert import Alert, Origin
from otel_forge.alerts.engine import Engine
from otel_forge.alerts.memory import Memory, RuleMemory
from otel_forge.alerts.rule import AlertRule, Finding
from otel_forge.alerts.states import Phase

ORIGIN = Origin("shop", "production", "web-1")
MINUTE = 60.0


class Time:
    """Both clocks of an engine."""

    def __init__(self) -> None:
        self.passed = 0.0

    def clock(self) -> float:
        return 5000.0 + self.passed

    def wall(self) -> float:
        return 1_795_467_600.0 + self.passed


class Teller:
    """Notes what people are told; notifiers deliver when the test says so."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.alerts: list[Alert] = []
        self.sent: list[tuple[str, str]] = []
        self.troubles: list[tuple[str, str]] = []
        self._delivered: list[Callable[[], object]] = []

    def takers(self, alert: Alert) -> tuple[str, ...]:
        return ("slack", "pagerduty") if alert.severity in ("high", "critical") else ("slack",)

    def tell(self, alerts: Sequence[Alert], delivered: Callable[[str, Alert], object]) -> None:
        for alert in alerts:
            self.told.append((alert.name, "repeated" if alert.repeated else alert.state, alert.summary))
            self.alerts.append(alert)
            for name in self.takers(alert):
                self._delivered.append(lambda name=name, alert=alert: delivered(name, alert))  # type: ignore[misc]

    def send(self, notifier: str, alerts: Sequence[Alert], delivered: Callable[[str, Alert], object]) -> None:
        self.sent += [(notifier, alert.name) for alert in alerts]
        self._delivered += [lambda alert=alert: delivered(notifier, alert) for alert in alerts]  # type: ignore[misc]

    def deliver(self) -> None:
        while self._delivered:
            self._delivered.pop()()

    def trouble(self, rule: str, what: str) -> None:
        self.troubles.append((rule, what))

    def recovered(self, rule: str) -> None:
        self.troubles.append((rule, ""))


class World:
    """An engine, its rules, and what they say now."""

    def __init__(self, folder: Path | None, time: Time | None = None, origin: Origin = ORIGIN) -> None:
        self.time = time or Time()
        self.teller = Teller()
        self.rules: list[AlertRule] = []
        self.says: Any = False
        self.engine = Engine(
            lambda: self.rules, origin, self.teller, folder=folder, clock=self.time.clock, wall=self.time.wall
        )
        self.engine.take_over()

    def rule(self, **options: Any) -> AlertRule:
        rule = AlertRule(**{"name": "Queue", "condition": self._condition, "severity": "high", **options})
        self.rules.append(rule)
        return rule

    def _condition(self) -> Any:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def after(self, seconds: float, *says: Any) -> None:
        """Evaluate once for each answer of the condition, so many seconds apart."""
        for self.says in says:
            self.time.passed += seconds
            self.engine.evaluate()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An engine that leads, with the rule Queue."""
    world = World(tmp_path)
    world.rule()
    return world


def test_people_hear_of_it_when_it_begins_and_when_it_is_over(world: World) -> None:
    """Once each, with what the condition found."""
    world.after(MINUTE, False, Finding(True, "12 wait", 12), Finding(True, "14 wait"), Finding(False, "0 wait", 0))
    assert world.teller.told == [("Queue", "firing", "12 wait"), ("Queue", "resolved", "0 wait")]
    fired, resolved = world.teller.alerts
    assert (fired.value, fired.started, fired.ended, fired.origin) == (12, world.time.wall() - 2 * MINUTE, 0.0, ORIGIN)
    assert (resolved.started, resolved.ended, resolved.key) == (fired.started, world.time.wall(), fired.key)


def test_a_condition_that_only_says_yes_has_the_rules_description(world: World) -> None:
    """People should have something to read."""
    world.rule(name="Other", description="Too many jobs wait.", links={"Runbook": "https://example.com/queue"})
    world.after(MINUTE, True)
    assert world.teller.told == [("Queue", "firing", ""), ("Other", "firing", "Too many jobs wait.")]
    assert world.teller.alerts[1].links == {"Runbook": "https://example.com/queue"}


def test_alerts_of_one_round_are_told_together(world: World) -> None:
    """One message instead of fifty."""
    world.rules = [AlertRule(f"Queue {number}", lambda: True, "low") for number in range(50)]
    world.after(MINUTE, True)
    assert len(world.teller.told) == 50
    world.after(MINUTE, True)
    assert len(world.teller.told) == 50


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (KeyError("x"), "it cannot be evaluated: KeyError: 'x'"),
        (None, "it cannot be evaluated: it returned 'NoneType' and not True, False or a Finding"),
        (1, "it cannot be evaluated: it returned 'int' and not True, False or a Finding"),
    ],
)
def test_a_rule_that_cannot_be_evaluated_is_said_once_and_changes_nothing(
    world: World, answer: Any, problem: str
) -> None:
    """And once more when it can again; what fires goes on firing."""
    world.after(MINUTE, True, answer, answer, True)
    assert world.teller.troubles == [("Queue", problem), ("Queue", "")]
    assert world.teller.told == [("Queue", "firing", "")]


def test_a_condition_that_hangs_is_a_problem_of_its_rule_alone(world: World) -> None:
    """The others are evaluated; the round ends at the timeout."""
    release = threading.Event()
    world.rules.insert(0, AlertRule("Hung", lambda: release.wait(60), timeout=0.05))
    world.after(MINUTE, True, True)
    release.set()
    assert world.teller.troubles == [("Hung", "it cannot be evaluated: timeout")]
    assert world.teller.told == [("Queue", "firing", "")]
    assert world.engine.known["Hung"].problem == "timeout"


class Unreadable(dict[str, object]):
    """Details that raise when they are read."""

    def items(self) -> Any:
        raise KeyError("no")


@pytest.mark.parametrize("finding", [Finding(True, details=Unreadable(a=1)), Finding(True, value=10**400)])
def test_a_rule_with_a_defect_costs_the_others_nothing(world: World, finding: Finding) -> None:
    """Those before and those behind it are told of; it cannot be evaluated, or has no value."""
    world.rules += [AlertRule("Bad", lambda: finding), AlertRule("Other", lambda: True)]
    world.after(MINUTE, True, True)
    told = [name for name, _, _ in world.teller.told]
    assert told.count("Queue") == told.count("Other") == 1
    assert world.teller.troubles == ([("Bad", "it cannot be evaluated: KeyError: 'no'")] if "Bad" not in told else [])
    assert [alert.value for alert in world.teller.alerts] == [None] * len(told)


def test_a_finding_that_cannot_be_is_a_problem_of_its_rule(world: World) -> None:
    """Said by name, once."""

    def condition() -> Finding:
        return Finding(True, "12 wait", 12, ["a"])  # type: ignore[arg-type]

    world.rules.insert(0, AlertRule("Bad", condition))
    world.after(MINUTE, True, True)
    assert world.teller.troubles == [
        ("Bad", "it cannot be evaluated: TypeError: details=['a'] of a Finding is no mapping.")
    ]
    assert world.teller.told == [("Queue", "firing", "")]


def test_an_alert_ends_as_who_it_began(world: World, tmp_path: Path) -> None:
    """Though a new release has another severity and its container another name: an incident is closed by its key."""
    world.after(MINUTE, True)
    following = World(tmp_path, world.time, Origin("shop", "production", "web-2"))
    following.rule(severity="low")
    following.after(MINUTE, False, True)
    resolved, again = following.teller.alerts
    assert (resolved.state, resolved.severity, resolved.key) == ("resolved", "high", world.teller.alerts[0].key)
    assert (again.state, again.severity, again.origin.host) == ("firing", "low", "web-2")


def test_an_action_is_called_once_when_it_fires(world: World) -> None:
    """Not when it is repeated, and not when it is over; sync or async, and what it raises harms nobody."""
    called: list[str] = []

    async def act(alert: Alert) -> None:
        called.append(f"{alert.name} {alert.state}")
        raise OSError("no")

    world.rules = []
    world.rule(action=act, repeat=MINUTE)
    world.after(MINUTE, True, True, False)
    assert called == ["Queue firing"]
    assert world.teller.troubles == [("Queue", "its action failed: OSError: no")]
    assert [state for _, state, _ in world.teller.told] == ["firing", "repeated", "resolved"]


def test_secrets_in_a_finding_are_in_no_alert_and_in_no_file(world: World, tmp_path: Path) -> None:
    """Nor are those in what a condition raises."""
    secret = "hunter2" + "secret"
    world.after(MINUTE, Finding(True, f"password={secret}", details={"dsn": f"postgres://a:{secret}@db/x"}))
    world.after(MINUTE, ValueError(f"password={secret}"))
    assert "[REDACTED:" in world.teller.told[0][2]
    everything = repr(world.teller.alerts) + repr(world.teller.troubles) + (tmp_path / memory.NAME).read_text()
    assert secret not in everything


def test_whoever_leads_next_goes_on_where_this_one_stopped(world: World, tmp_path: Path) -> None:
    """What fires is not told again, and its end is told."""
    world.after(MINUTE, True)
    world.teller.deliver()
    world.engine.save_receipts()
    following = World(tmp_path, world.time)
    following.rule()
    following.after(MINUTE, True, False)
    assert following.teller.sent == []
    assert following.teller.told == [("Queue", "resolved", "")]
    assert following.teller.alerts[0].started == world.teller.alerts[0].started


def test_what_was_not_delivered_is_delivered_by_whoever_leads_next(world: World, tmp_path: Path) -> None:
    """By those notifiers alone that owe it; killed in between, people hear it twice rather than never."""
    world.after(MINUTE, True)
    following = World(tmp_path, world.time)
    assert following.teller.sent == [("slack", "Queue"), ("pagerduty", "Queue")]
    following.teller.deliver()
    following.engine.save_receipts()
    assert World(tmp_path, world.time).teller.sent == []


def test_a_rule_that_is_gone_is_resolved_when_it_is_missed_twice(world: World) -> None:
    """A process that has just started may not have added all of its rules yet."""
    world.after(MINUTE, True)
    rules, world.rules = world.rules, []
    world.after(MINUTE, True)
    world.rules = rules
    world.after(MINUTE, True)
    assert len(world.teller.told) == 1
    world.rules = []
    world.after(MINUTE, True, True, True)
    assert world.teller.told[1:] == [("Queue", "resolved", "The rule is no longer there.")]
    assert world.engine.known == {}


def test_times_are_moved_after_a_restart_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clock begins anew; how long something has lasted is known by the time of the day."""
    phase = Phase("firing", since=9_000.0, said=9_000.0, fired=(9_000.0,))
    memory.save(tmp_path, Memory(ORIGIN, 1, 60.0, 100_000.0, {"Queue": RuleMemory(phase=phase)}), clock=9_500.0)
    same = memory.load(tmp_path, clock=9_600.0, wall=100_100.0)
    assert same.rules["Queue"].phase == phase
    text = (tmp_path / memory.NAME).read_text()
    (tmp_path / memory.NAME).write_text(json.dumps({**json.loads(text), "boot": "another"}))
    moved = memory.load(tmp_path, clock=50.0, wall=100_200.0)
    assert moved.rules["Queue"].phase.since == 50.0 - 200.0 - 500.0


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"version": 2}', '{"version": 1, "rules": 3}'])
def test_a_damaged_memory_is_none(tmp_path: Path, damage: str) -> None:
    """The rules are evaluated as if nothing had been before."""
    (tmp_path / memory.NAME).write_text(damage)
    world = World(tmp_path)
    world.rule()
    world.after(MINUTE, True)
    assert world.teller.told == [("Queue", "firing", "")]


def test_any_byte_of_the_memory_may_be_wrong(world: World, tmp_path: Path) -> None:
    """Nothing is raised, whatever a file says."""
    world.after(MINUTE, Finding(True, "12 wait", 12, {"a": 1}))
    file = tmp_path / memory.NAME
    whole = file.read_bytes()
    for position in range(0, len(whole), 7):
        file.write_bytes(whole[:position] + b"9" + whole[position + 1 :])
        memory.load(tmp_path, clock=0.0, wall=0.0)
        file.write_bytes(whole[:position])
        assert memory.load(tmp_path, clock=0.0, wall=0.0) == Memory()


def test_people_are_told_though_nothing_can_be_written(tmp_path: Path) -> None:
    """A full disk is a bad reason for silence."""
    folder = tmp_path / "gone"
    world = World(folder)
    world.rule()
    with pytest.raises(OSError, match="No such file"):
        world.after(MINUTE, True)
    assert world.teller.told == [("Queue", "firing", "")]
    assert not folder.exists()
