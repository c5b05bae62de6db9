"""The monitor's decisions over hours, by a clock that the test moves, of an app that the test plays."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeter

from otel_forge.health.heartbeat import DRAINING, REQUEST
from otel_forge.monitor.annotating import Annotations
from otel_forge.monitor.judging import Judge, Patience
from otel_forge.monitor.measuring import Measures
from otel_forge.monitor.notifying import ServiceManager
from otel_forge.monitor.probing import Probe
from otel_forge.monitor.rationing import Ration
from otel_forge.monitor.reporting import GivenUp, Reports
from otel_forge.monitor.sampling import Host, ProcessSample, Sample
from otel_forge.monitor.watching import Monitor
from otel_forge.settings import Settings

PID = 2**22 + 1  # which no process has


class PlayedApp:
    """Runs until `lifetime` seconds of the world's clock have passed, or a signal ends it."""

    def __init__(self, world: World, lifetime: float) -> None:
        self.pid = PID
        self._world = world
        self.ends = world.now + lifetime
        self.signals: list[int] = []

    def ended(self) -> int | None:
        if signal.SIGTERM in self.signals:
            return 143
        return 3 if self._world.now >= self.ends else None

    def send(self, number: int) -> None:
        self.signals.append(number)

    def kill(self) -> None:
        """Do nothing: it has ended."""

    def last_output(self) -> list[str]:
        return []


class World:
    """Everything around a monitor: a clock, an app, and what is said of it. `script` is called at each wait."""

    def __init__(self, folder: Path, *, lifetime: float = 1e9, memory: int = 0, cpu: float = 0.0) -> None:
        self.now = 1000.0
        self.folder = folder
        self.lifetime, self.memory, self.cpu = lifetime, memory, cpu
        self.apps: list[PlayedApp] = []
        self.said: list[str] = []
        self.calls: list[GivenUp] = []
        self.script: Callable[[], list[int]] = lambda: []

    def start(self) -> PlayedApp:
        self.apps.append(PlayedApp(self, self.lifetime))
        return self.apps[-1]

    def wait(self, seconds: float) -> list[int]:
        self.now += max(seconds, 0.01)
        return self.script()

    def take(self, root: int | None) -> Sample:
        one = ProcessSample(PID, 1, "app", "running", 0.0, self.memory, 0, 1, 0, 0.0)
        return Sample(self.now, Host(self.cpu, 0.0, 0.0), (one,))

    def keep(self, *_: object) -> Path:
        return self.folder / "incident"

    def run(self, seconds: float, *, answers: Callable[[], str] = lambda: "", **settings: str) -> int:
        """Let a monitor run until that time has passed, then ask it to end; return its exit code."""
        until, script = self.now + seconds, self.script
        self.script = lambda: [signal.SIGTERM] if self.now >= until else script()
        own = Settings.from_env({f"OTEL_FORGE_WATCH_{name}": text for name, text in settings.items()}).watch
        probe = Probe("", 2, 5, ask=lambda url, timeout: answers(), clock=lambda: self.now)
        world: Any = self
        monitor = Monitor(
            own,
            self.folder,
            start=world.start,
            reports=Reports(
                "shop", Measures(NoOpMeter("test")), Annotations("", "", print), lambda text: self.said.append(text)
            ),
            collector=world,
            wait=lambda pause: self._wait_and_probe(pause, probe),
            sampler=world,
            probe=probe,
            judge=Judge(Patience(own.patience, own.busy_patience, own.memory_limit), own.windows),
            ration=Ration(*own.restarts, own.first_delay, chance=lambda: 0.5),
            manager=ServiceManager({}),
            gave_up=self.calls.append,
            clock=lambda: self.now,
        )
        return monitor.run()

    def _wait_and_probe(self, pause: float, probe: Probe) -> list[int]:
        signals = self.wait(pause)
        probe.try_once()
        return signals


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., World]:
    """Makes a world in a folder of its own."""
    return lambda **options: World(tmp_path, **options)


@pytest.mark.gate
def test_an_hour_in_which_the_app_answers_is_an_hour_without_restarts(world: Callable[..., World]) -> None:
    """H3: whatever the answers say, 503 included; 1,800 looks."""
    one = world()
    assert one.run(3600) == 143
    assert (len(one.apps), one.said, one.calls) == (1, [], [])


@pytest.mark.gate
def test_a_crash_loop_ends_at_the_fourth_crash(world: Callable[..., World]) -> None:
    """H3: three restarts in ten minutes with growing pauses, then the app's exit code, and somebody is called once."""
    one = world(lifetime=5)
    assert one.run(3600) == 3
    assert len(one.apps) == 4
    assert one.now < 1600
    [call] = one.calls
    assert (call.service, call.evidence.reason, call.restarts) == ("shop", "exited", 3)


def test_a_crash_now_and_then_is_no_loop(world: Callable[..., World]) -> None:
    """One in five minutes goes on for ever."""
    one = world(lifetime=300)
    assert one.run(36_000) == 143
    assert len(one.apps) > 100
    assert one.calls == []


def test_a_sick_app_that_restarts_do_not_help_runs_on_and_calls_once(world: Callable[..., World]) -> None:
    """In all of an hour: it is left as it is, to be looked at."""
    one = world(memory=2 << 20)
    assert one.run(3600, MEMORY_LIMIT="1MiB") == 143
    assert len(one.apps) == 4
    assert len(one.calls) == 1
    assert sum("is not restarted any more" in text for text in one.said) == 1


def test_silence_after_an_answer_is_evidence(world: Callable[..., World]) -> None:
    """Within 30 s of the last answer the app is started anew."""
    one, silent_from = world(), 1100.0
    restarted: list[float] = []

    def answers() -> str:
        if len(one.apps) > 1:
            restarted.append(one.now)
        return "no answer" if len(one.apps) == 1 and one.now >= silent_from else ""

    one.run(600, answers=answers)
    assert len(one.apps) == 2
    assert restarted[0] - silent_from < 30


def test_an_app_that_is_asked_seldom_is_not_silent_in_between(world: Callable[..., World]) -> None:
    """An interval longer than patience is no evidence: only a question without an answer is."""
    one = world()
    assert one.run(3600, INTERVAL="60") == 143
    assert (len(one.apps), one.said) == (1, [])


def test_an_app_that_never_answers_is_mentioned_once(world: Callable[..., World]) -> None:
    """It may be the address that is wrong; whatever it is, it is no reason for a restart."""
    one = world()
    assert one.run(3600, answers=lambda: "refused", LIVE_URL="http://127.0.0.1:8000/live") == 143
    [said] = one.said
    assert "and has not answered http://127.0.0.1:8000/live yet (refused); until it has" in said
    assert len(one.apps) == 1


def test_a_folder_that_is_gone_is_said_and_the_rest_goes_on(world: Callable[..., World]) -> None:
    """Memory is still looked at."""
    one = world(memory=2 << 20)
    one.folder = one.folder / "gone"
    one.run(10, MEMORY_LIMIT="1MiB")
    assert (
        "heartbeats count for nothing while their folder cannot be written (No such file or directory)" in one.said[0]
    )
    assert len(one.apps) > 1


def test_somebody_is_called_again_after_a_while_of_health(world: Callable[..., World]) -> None:
    """No restart is left by then; that it is sick once more must not go unnoticed."""
    one = world(memory=2 << 20)

    def come_and_go() -> list[int]:
        one.memory = 2 << 20 if one.now < 2000 or one.now > 4000 else 0
        return []

    one.script = come_and_go
    assert one.run(5000, MEMORY_LIMIT="1MiB") == 143
    assert (len(one.apps), len(one.calls)) == (4, 2)


def test_that_a_sick_app_is_gone_is_told_as_well(world: Callable[..., World]) -> None:
    """After it was told that it is sick."""
    one = world(memory=2 << 20)

    def die() -> list[int]:
        one.apps[-1].ends = min(one.apps[-1].ends, 3000.0)
        return []

    one.script = die
    assert one.run(3600, MEMORY_LIMIT="1MiB") == 3
    assert [call.evidence.reason for call in one.calls] == ["memory_limit", "exited"]


def test_a_request_with_evidence_is_granted_at_once(world: Callable[..., World]) -> None:
    """At the first look at which there is any, rather than at the second; and the request is gone."""
    one = world(memory=2 << 20)
    (one.folder / REQUEST).write_text(json.dumps({"pid": 1, "reason": "API Down"}))
    one.run(1, MEMORY_LIMIT="1MiB")
    assert len(one.said) == 1
    assert one.said[0].startswith("watch: restarting shop (restart 1): its processes take 2,097,152 bytes")
    assert "; the app asked for it: API Down." in one.said[0]
    assert not (one.folder / REQUEST).exists()


def test_a_share_that_is_too_high_is_said_once(world: Callable[..., World]) -> None:
    """Once again when it is well; and no restart follows."""
    one = world(cpu=95.0)

    def calm_down() -> list[int]:
        one.cpu = 95.0 if one.now < 1300 else 20.0
        return []

    one.script = calm_down
    one.run(600)
    assert one.said == [
        "watch: the host's cpu is at 95 %, above 80 %.",
        "watch: the host's cpu is well again, at 20 %.",
    ]
    assert len(one.apps) == 1


def test_draining_is_over_when_the_app_is_started_anew(world: Callable[..., World]) -> None:
    """What the last end has left must not lower the new app's readiness."""
    one = world()
    (one.folder / DRAINING).touch()
    one.run(1)
    assert not (one.folder / DRAINING).exists()
