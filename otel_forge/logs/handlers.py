"""Handlers that write lines: to a stream here, to daily files in `otel_forge.logs.files`.

Logging may happen at the worst of times: in a ``__repr__`` that is called to write a record, in a finaliser or a signal
handler while a line is being written, in a child that was forked meanwhile, when the interpreter is nearly gone. So a
line is made before the lock is taken, a record that comes in the midst of a write waits for its end, a fork waits for
the line to be written, and what fails is counted and goes no further.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from typing import Any, Protocol
from weakref import WeakSet

from otel_forge.fork import on_fork_in_child
from otel_forge.logs.flood import FloodControl
from otel_forge.notices import Rationed

_DEEPEST = 3
_PATIENCE_AT_FORK = 0.5


class View(Protocol):
    """What makes a line of a record: `JsonView`, `ConsoleView`."""

    def line(self, record: logging.LogRecord) -> str: ...


class _Depth(threading.local):
    """How many records this thread is writing, one because of the other."""

    now = 0


_depth = _Depth()


class LineHandler(logging.Handler):
    """Hands the line that `view` makes of a record to `write`, which a subclass provides."""

    def __init__(self, view: View, *, flood: FloodControl | None = None) -> None:
        super().__init__()
        self.view = view
        self.flood = flood
        self.failures = 0
        self._waiting: deque[str] = deque()
        self._writer = 0
        self._complain = Rationed()
        _all.add(self)
        on_fork_in_child(self._begin_anew)

    def write(self, text: str) -> None:
        """Write `text`, which ends with a line feed; called by one thread at a time. What it raises is counted."""
        raise NotImplementedError

    def handle(self, record: logging.LogRecord) -> bool:
        """Write `record` unless a filter or the flood control holds it back; unlike logging's own, format unlocked."""
        passed: Any = self.filter(record)
        if not passed or (self.flood is not None and not self.flood.admits(record)):
            return False
        self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`. Never raises."""
        if _depth.now >= _DEEPEST:
            self.failures += 1
            return
        _depth.now += 1
        try:
            self._put(self.view.line(record) + "\n")
        except Exception as error:  # noqa: BLE001 - a closed or full sink, an interpreter at its end
            self._failed(error)
        finally:
            _depth.now -= 1

    def _begin_anew(self) -> None:
        """Begin anew in a forked child, in which nobody is writing."""
        self.createLock()
        self._writer = 0
        self._waiting.clear()

    def _put(self, text: str) -> None:
        if self._writer == threading.get_ident():
            self._waiting.append(text)  # a finaliser or a signal handler logs while this thread writes
            return
        self.acquire()
        try:
            self._writer = threading.get_ident()
            try:
                self.write(text)
                while self._waiting:
                    self.write(self._waiting.popleft())
            finally:
                self._writer = 0
        finally:
            self.release()

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        if not sys.is_finalizing():
            why = f"{type(error).__name__}: {error}"
            self._complain(lambda: f"log records cannot be written ({why}); {self.failures:,} lost so far.")


class StreamLines(LineHandler):
    """Writes lines to ``sys.stdout`` or ``sys.stderr``, whatever that is at the moment, or to a stream of its own.

    What a handler of the application shows on the terminal already is left to that one.
    """

    def __init__(self, view: View, stream: Any, *, flood: FloodControl | None = None) -> None:
        super().__init__(view, flood=flood)
        self._stream = stream

    def handle(self, record: logging.LogRecord) -> bool:
        """Write `record`, unless the application itself has it written to the terminal."""
        return not is_shown_by_others(record) and super().handle(record)

    def write(self, text: str) -> None:
        """Write `text` and flush; what the stream's encoding lacks is written as an escape."""
        stream = getattr(sys, self._stream) if isinstance(self._stream, str) else self._stream
        if stream is None:
            return
        try:
            stream.write(text)
        except UnicodeEncodeError:
            stream.write(text.encode(stream.encoding, "backslashreplace").decode(stream.encoding))
        stream.flush()


def is_shown_by_others(record: logging.LogRecord) -> bool:
    """Return whether a handler that is not ours writes `record` to standard output or standard error."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        for handler in logger.handlers:
            if not isinstance(handler, LineHandler) and handler.level <= record.levelno and is_terminal(handler):
                return True
        logger = logger.parent if logger.propagate else None
    return False


def is_terminal(handler: logging.Handler) -> bool:
    """Return whether `handler` is one that writes to standard output or standard error."""
    if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
        return handler.stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return type(handler).__module__ == "rich.logging"


_all: WeakSet[LineHandler] = WeakSet()
_held: list[LineHandler] = []


def _before_fork() -> None:
    """Wait until no line is half written: the stream's own lock would stay locked in the child for ever."""
    for handler in list(_all):
        lock: Any = handler.lock
        if lock is not None and lock.acquire(timeout=_PATIENCE_AT_FORK):
            _held.append(handler)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_held.clear)
