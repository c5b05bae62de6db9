"""The checks of an application: registered in one line each, asked in the background, read without waiting.

``health.check("database", health.sqlalchemy(engine))`` registers with the checks of the process. One thread looks after
all of them; each call runs on a thread of its own (see `otel_forge.health.attempts`), so there are never more threads
than checks, and one, however long dependencies hang. They begin in the process that serves, at its first request or
probe, or when a gunicorn worker has loaded the application: never before a fork.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard
from otel_forge.health.attempts import Attempt, Function
from otel_forge.health.background import Background
from otel_forge.health.draining import is_draining
from otel_forge.health.reporting import Telling
from otel_forge.health.results import FAIL, PASS, WARN, Status
from otel_forge.health.watched import Check as Check
from otel_forge.health.watched import Known as Known
from otel_forge.health.watched import Watched
from otel_forge.metrics import traffic
from otel_forge.settings import HealthSettings, Settings

F = TypeVar("F", bound=Callable[..., Any])

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,63}")
MOST_CHECKS = 100


class Checks:
    """A set of checks. An application has one, that of the functions of this module; a test may make its own.

    `settings` holds the defaults; without them they are read from the environment when they are first needed.
    """

    def __init__(
        self,
        settings: HealthSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        meter: Any = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._wall = wall
        self._telling = Telling(self, meter)
        self._watched: dict[str, Watched] = {}
        self.background = Background(self.advance, clock)
        on_fork_in_child(self._renew)

    @property
    def settings(self) -> HealthSettings:
        """The defaults of checks."""
        if self._settings is None:
            self._settings = Settings.from_env(os.environ).health
        return self._settings

    @overload
    def check(
        self,
        name: str,
        function: None = None,
        *,
        required: bool = True,
        timeout: float | None = None,
        interval: float | None = None,
        fall: int | None = None,
        rise: int | None = None,
        component_type: str = "",
    ) -> Callable[[F], F]: ...

    @overload
    def check(
        self,
        name: str,
        function: F,
        *,
        required: bool = True,
        timeout: float | None = None,
        interval: float | None = None,
        fall: int | None = None,
        rise: int | None = None,
        component_type: str = "",
    ) -> F: ...

    def check(
        self,
        name: str,
        function: Any = None,
        *,
        required: bool = True,
        timeout: float | None = None,
        interval: float | None = None,
        fall: int | None = None,
        rise: int | None = None,
        component_type: str = "",
    ) -> Any:
        """Register a check, or decorate its function; a second one of the same name takes the place of the first.

        `function` (sync or async) returns None or True where all is well, False where it isn't, or a `Result`; what it
        raises is a failure. `required` says whether readiness falls with it. It is called every `interval` seconds
        and given up after `timeout` seconds; `fall` failures in a row make it ill and `rise` successes well again.
        `component_type` is that of ``application/health+json``: component, datastore or system.
        Raises ValueError or TypeError for what can't be used.
        """
        if function is None:
            return lambda decorated: self.check(
                name,
                decorated,
                required=required,
                timeout=timeout,
                interval=interval,
                fall=fall,
                rise=rise,
                component_type=component_type,
            )
        defaults = self.settings
        registered = Check(
            name,
            function,
            required and not getattr(function, "is_never_required", False),
            defaults.timeout if timeout is None else timeout,
            defaults.interval if interval is None else interval,
            defaults.fall if fall is None else fall,
            defaults.rise if rise is None else rise,
            component_type or getattr(function, "component_type", "component"),
        )
        self._register(registered)
        return function

    def remove(self, name: str) -> None:
        """Forget the check `name`, if there is one."""
        self._watched = {other: watched for other, watched in self._watched.items() if other != name}

    def known(self) -> Mapping[str, tuple[Check, Known]]:
        """Return what is known of each check by now, in the order of registration; waits for nothing."""
        return {name: (watched.check, watched.known) for name, watched in self._watched.items()}

    def status(self) -> Status:
        """Return how it stands: ``fail`` where a required check is ill or unknown, ``warn`` where another one is."""
        worst = PASS
        for check, known in self.known().values():
            if check.required and known.status in (FAIL, None):
                return FAIL
            if known.status != PASS:
                worst = WARN
        return worst

    def down(self) -> tuple[str, ...]:
        """Return the names of all checks that are ill, required or not; those that have no result yet are not."""
        return tuple(name for name, (_, known) in self.known().items() if known.status == FAIL)

    def required_down(self) -> tuple[str, ...]:
        """Return the names of the required checks that are ill; those that have no result yet are not."""
        return tuple(name for name, (check, known) in self.known().items() if check.required and known.status == FAIL)

    def has_started(self) -> bool:
        """Return whether each required check has passed once in this process."""
        return all(known.has_passed for check, known in self.known().values() if check.required)

    def advance(self, now: float) -> float:
        """Do what there is to do at `now`; return when there will be something again. For the background loop."""
        following = math.inf
        for name, watched in self._watched.items():
            with guard(f"the health check {name}"):
                following = min(following, watched.advance(now))
        return following

    def start(self, may_begin: Callable[[], bool] = lambda: True) -> None:
        """Begin to call the checks in this process, if that has not begun, as soon as `may_begin` says so."""
        if not self.background.is_started:
            with guard("starting the health checks"):
                self.background.start(may_begin, self._telling.begin)
                traffic.serves()

    def stop(self) -> None:
        """Call no checks any more; what is known of them stays."""
        self.background.stop()

    def _register(self, check: Check) -> None:
        _validate(check)
        if len(self._watched) >= MOST_CHECKS and check.name not in self._watched:
            raise ValueError(f"{check.name!r} is one check too many: there can be {MOST_CHECKS}.")
        self._watched = {**self._watched, check.name: self._watch(check)}
        self.background.wake()

    def _watch(self, check: Check) -> Watched:
        return Watched(check, start=self._start, noted=self._telling.noted, wall=self._wall)

    def _start(self, name: str, function: Function, timeout: float) -> Attempt:
        return Attempt(name, function, timeout, self._clock, self.background.wake)

    def _renew(self) -> None:
        """Know nothing in a forked child: connections are its parent's, and so are the threads."""
        self.background.forget()
        self._watched = {name: self._watch(watched.check) for name, watched in self._watched.items()}


def _validate(check: Check) -> None:
    if not isinstance(check.name, str) or not _NAME.fullmatch(check.name):
        raise ValueError(
            f"{check.name!r} is no name for a check: a letter, then letters, digits, '_', '-' and '.', 64 at the most."
        )
    if not callable(check.function):
        raise TypeError(f"The check {check.name!r} needs a function, not {type(check.function).__name__!r}.")
    for what, value in (("timeout", check.timeout), ("interval", check.interval)):
        if not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise ValueError(f"{what}={value!r} of the check {check.name!r} is not a number of seconds above 0.")
    for what, value in (("fall", check.fall), ("rise", check.rise)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{what}={value!r} of the check {check.name!r} is not a whole number from 1 up.")


checks = Checks()
"""The checks of this process."""

check = checks.check
remove = checks.remove
down = checks.down
required_down = checks.required_down


def is_ready() -> bool:
    """Return whether this process wants requests: no required check is ill or unknown, and it does not drain."""
    return checks.status() != FAIL and not is_draining()
