"""Flood control: one log statement that fires without end does not bury the others.

In each window, the first so many records of a (logger, template) pass; the rest is counted, and the number is said in
one record when the window is over. ERROR and above always pass. Counts are exact: what passed and what was said to be
suppressed add up to what was logged.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import RLock
from weakref import ref

from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard
from otel_forge.logs.record import FIELDS, WHOLE, template_of

_MOST_TEMPLATES = 4096
_LONGEST_KEY = 256


@dataclass
class _Window:
    """The records of one template since `start`."""

    start: float
    level: int
    passed: int = 0
    suppressed: int = 0


class FloodControl:
    """Lets `limit` records of each template pass in `seconds`; asked once or more for each record, it counts it once.

    `said` receives the record that says how many were suppressed. `counted` receives (logger, number) with it.
    """

    def __init__(
        self,
        limit: int,
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        counted: Callable[[str, int], None] = lambda name, number: None,
    ) -> None:
        self.limit = limit
        self.seconds = seconds
        self.suppressed = 0
        self._counted = counted
        self._clock = clock
        self._windows: dict[tuple[str, str], _Window] = {}
        self._lock = RLock()
        self._decided: dict[int, tuple[ref[logging.LogRecord], bool]] = {}
        on_fork_in_child(self._begin_anew)

    def admits(self, record: logging.LogRecord) -> bool:
        """Return whether `record` may be shown; the same record gets the same answer from every view that asks."""
        if record.levelno >= logging.ERROR or record.name in WHOLE or isinstance(record, Summary):
            return True
        key = id(record)
        with self._lock:
            decided = self._decided.get(key)
            if decided is not None and decided[0]() is record:
                return decided[1]
            answer, summaries = self._decide(record)
            self._decided[key] = (ref(record, lambda _, key=key: self._forget(key)), answer)  # type: ignore[misc]
        self._say(summaries)
        return answer

    filter = admits
    """The control can be added to any handler as a filter."""

    def flush(self, everything: bool = False) -> None:
        """Say what was suppressed in windows that are over; with `everything`, in the current ones, too."""
        now = self._clock()
        with self._lock:
            over = [k for k, window in self._windows.items() if everything or now - window.start >= self.seconds]
            summaries = [summary for key in over for summary in self._closed(key, now)]
        self._say(summaries)

    def _begin_anew(self) -> None:
        """Begin anew in a forked child: what its parent suppressed, the parent says."""
        self._lock = RLock()
        self._windows.clear()
        self._decided.clear()
        self.suppressed = 0

    def _decide(self, record: logging.LogRecord) -> tuple[bool, list[Summary]]:
        template = template_of(record)
        key = (record.name, template if len(template) <= _LONGEST_KEY else f"{template[:_LONGEST_KEY]}…{len(template)}")
        now = self._clock()
        window = self._windows.get(key)
        summaries: list[Summary] = []
        if window is not None and now - window.start >= self.seconds:
            summaries, window = self._closed(key, now), None
        if window is None:
            if len(self._windows) >= _MOST_TEMPLATES:
                summaries += self._make_room(now)
                if len(self._windows) >= _MOST_TEMPLATES:
                    return True, summaries  # more templates than can be told apart: nothing is suppressed
            window = self._windows[key] = _Window(now, record.levelno)
        if window.passed < self.limit:
            window.passed += 1
            return True, summaries
        window.suppressed += 1
        window.level = max(window.level, record.levelno)
        self.suppressed += 1
        return False, summaries

    def _closed(self, key: tuple[str, str], now: float) -> list[Summary]:
        window = self._windows.pop(key)
        return (
            [Summary(key[0], window.level, key[1], window.suppressed, now - window.start)] if window.suppressed else []
        )

    def _make_room(self, now: float) -> list[Summary]:
        over = [key for key, window in self._windows.items() if now - window.start >= self.seconds]
        return [summary for key in over for summary in self._closed(key, now)]

    def _forget(self, key: int) -> None:
        decided = self._decided.get(key)
        if decided is not None and decided[0]() is None:
            self._decided.pop(key, None)

    def _say(self, summaries: Iterable[Summary]) -> None:
        """Show each summary to telemetry and to the views that ask us; handlers of others have seen every record."""
        for summary in summaries:
            with guard("saying how many log records were suppressed"):
                self._counted(summary.name, summary.suppressed)
                logger = logging.getLogger(summary.name)
                if self is _current:
                    for listener in _listeners:
                        listener(logger, summary)
                _show(logger, summary, self)


class Summary(logging.LogRecord):
    """The record that says how many like it were suppressed."""

    def __init__(self, name: str, level: int, template: str, suppressed: int, seconds: float) -> None:
        message = f"{template} … {suppressed:,} more of this in {max(seconds, 0):.0f} s"
        super().__init__(name, level, "", 0, message, None, None)
        self.__dict__[FIELDS] = {"template": template, "suppressed": suppressed}

    @property
    def suppressed(self) -> int:
        """How many records were suppressed."""
        number: int = self.__dict__[FIELDS]["suppressed"]
        return number


def _show(speaker: logging.Logger, summary: Summary, control: FloodControl) -> None:
    logger: logging.Logger | None = speaker
    while logger is not None:
        for handler in logger.handlers:
            if control in (getattr(handler, "flood", None), *handler.filters) and handler.level <= summary.levelno:
                handler.handle(summary)
        logger = logger.parent if logger.propagate else None


_current: FloodControl | None = None


def set_current(control: FloodControl | None) -> None:
    """Make `control` the one that telemetry asks as well; None for none."""
    global _current
    _current = control


def current() -> FloodControl | None:
    """Return the control of this process, if it has one."""
    return _current


_listeners: list[Callable[[logging.Logger, logging.LogRecord], object]] = []


def listen(listener: Callable[[logging.Logger, logging.LogRecord], object]) -> Callable[[], None]:
    """Tell `listener`, which is telemetry, each logger and what was suppressed of it; return how to stop."""
    _listeners.append(listener)
    return lambda: _listeners.remove(listener) if listener in _listeners else None


def is_admitted(record: logging.LogRecord) -> bool:
    """Return whether the flood control of this process, if it has one, lets `record` pass."""
    return _current is None or _current.admits(record)


def say_what_is_left() -> None:
    """Say what was suppressed until now: the process ends."""
    if _current is not None:
        _current.flush(everything=True)
