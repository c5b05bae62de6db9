"""The signals that reach the monitor, as a queue that can be waited for."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

STOPPING = (signal.SIGTERM, signal.SIGINT)
PASSED_ON = tuple(
    getattr(signal, name) for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT") if hasattr(signal, name)
)


class Signals:
    """Gathers the signals above, and wakes whoever waits when one comes or a child ends. For the main thread."""

    def __init__(self) -> None:
        self._come: deque[int] = deque()
        self._read, self._write = os.pipe()
        self._before: list[tuple[int, Any]] = []
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def __enter__(self) -> Signals:
        self._wakeup_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (*STOPPING, *PASSED_ON):
            if number != signal.SIGTERM and signal.getsignal(number) is signal.SIG_IGN:
                continue  # as under nohup, and the app ignores it as well
            self._before.append((number, signal.signal(number, self._note)))
        self._before.append((signal.SIGCHLD, signal.signal(signal.SIGCHLD, lambda number, frame: None)))
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._read)
        os.close(self._write)

    def wait(self, seconds: float) -> list[int]:
        """Wait until a signal comes or `seconds` have passed; return what has come."""
        if not self._come:
            select.select([self._read], [], [], max(0.0, seconds))
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        return [self._come.popleft() for _ in range(len(self._come))]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._come.append(number)


Wait = Callable[[float], list[int]]
