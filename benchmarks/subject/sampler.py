"""A sampling profiler of all threads that weighs each sample with the CPU time its thread really used.

A timer's signal interrupts the main thread between two instructions, wherever it is; there every thread's stack is
looked at. (A sampling *thread* would see mostly the places where others let go of the GIL.) A thread that waited since
the last sample used no CPU time, and so weighs nothing.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import defaultdict
from types import FrameType
from typing import Any

_SWITCH_INTERVAL = 0.0002
_SHOWN = 200

Costs = dict[tuple[str, str], float]


class Sampler:
    """Samples from entry to exit, which must be in the main thread; `report` then returns the costs."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._own: Costs = defaultdict(float)
        self._inclusive: Costs = defaultdict(float)
        self._clocks: dict[int, float] = {}
        self._names: dict[int, str] = {}
        self._switch_interval = sys.getswitchinterval()
        self._before: Any = None
        self._busy = False
        self.samples = 0

    def __enter__(self) -> Sampler:
        sys.setswitchinterval(_SWITCH_INTERVAL)
        self._before = signal.signal(signal.SIGALRM, self._sample)
        signal.setitimer(signal.ITIMER_REAL, self._interval, self._interval)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)
        sys.setswitchinterval(self._switch_interval)

    def report(self, requests: int) -> dict[str, Any]:
        """Return microseconds of CPU per request by thread and function: in itself, and with what it called."""
        by_thread: dict[str, float] = defaultdict(float)
        for (thread, _), seconds in self._own.items():
            by_thread[thread] += seconds / requests * 1e6
        return {
            "samples": self.samples,
            "threads": by_thread,
            "own": _ordered(self._own, requests),
            "inclusive": _ordered(self._inclusive, requests),
        }

    def _sample(self, number: int, frame: FrameType | None) -> None:
        if self._busy:
            return
        self._busy = True
        mine = threading.get_ident()
        for thread, top in sys._current_frames().items():
            self._weigh(thread, frame if thread == mine else top)
        self.samples += 1
        self._clocks[mine] = time.thread_time()  # sampling itself is nobody's cost
        self._busy = False

    def _weigh(self, thread: int, frame: FrameType | None) -> None:
        try:
            now = time.clock_gettime(time.pthread_getcpuclockid(thread))
        except OSError:
            return  # it ended between the two calls
        used = now - self._clocks.get(thread, now)
        self._clocks[thread] = now
        if used <= 0 or frame is None:
            return
        name = self._name(thread)
        self._own[name, _place(frame)] += used
        places = set()
        current: FrameType | None = frame
        while current is not None:
            places.add(_place(current))
            current = current.f_back
        for place in places:
            self._inclusive[name, place] += used

    def _name(self, thread: int) -> str:
        if thread not in self._names:
            self._names.update({one.ident: one.name for one in threading.enumerate() if one.ident is not None})
        return self._names.get(thread, "?")


def _place(frame: FrameType) -> str:
    code = frame.f_code
    folders = code.co_filename.rsplit("site-packages/", 1)[-1].split("/")
    return f"{'/'.join(folders[-3:])}:{code.co_firstlineno} {getattr(code, 'co_qualname', code.co_name)}"


def _ordered(costs: Costs, requests: int) -> list[tuple[str, str, float]]:
    ordered = sorted(costs.items(), key=lambda item: -item[1])
    return [(thread, place, seconds / requests * 1e6) for (thread, place), seconds in ordered[:_SHOWN]]
