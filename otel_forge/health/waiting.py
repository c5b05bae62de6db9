"""What a thread of this process waits for, as the kernel tells it (Linux; elsewhere nothing is known).

A request that has hung on a lock for long may be deadlocked. One that waits for the network hangs on somebody else,
and to restart the application would mend nothing: the monitor has to tell the two apart. So it is with a lock that is
given up after a time, and with a request that waits for another thread of ours which itself waits for the network.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

LOCK, NETWORK, SLEEP, RUNNING, OTHER, UNKNOWN = "lock", "network", "sleep", "running", "other", "unknown"

_X86_64 = {
    LOCK: (202, 220, 449, 455),
    NETWORK: (0, 1, 7, 19, 20, 23, 42, 43, 44, 45, 46, 47, 232, 270, 271, 281, 288, 299, 307, 441),
    SLEEP: (35, 230),
}
_AARCH64 = {
    LOCK: (98, 192, 449, 455),
    NETWORK: (22, 63, 64, 65, 66, 72, 73, 202, 203, 206, 207, 211, 212, 242, 243, 269, 441),
    SLEEP: (101, 115),
}
_TABLES = {"x86_64": _X86_64, "aarch64": _AARCH64}
_LONG_ARGUMENTS = {"455": 5}
"""Which argument of a system call that waits for a lock is its timeout, where that is not the fourth."""
_OWN_THREADS = ("otel-forge", "Otel")


def kinds_of(machine: str) -> Mapping[str, str]:
    """Return by number of system call, as text, what a thread in it waits for; empty for an unknown machine."""
    table = _TABLES.get(machine, {})
    return {str(number): kind for kind, numbers in table.items() for number in numbers}


_KINDS = kinds_of(os.uname().machine) if hasattr(os, "uname") else {}


def waits_for(thread: int) -> str:
    """Return what the thread with this native id waits for: one of the words above. Never raises."""
    try:
        with open(f"/proc/self/task/{thread}/syscall", encoding="ascii") as file:  # noqa: PTH123 - without pathlib
            return kind_in(file.read())
    except (OSError, ValueError):
        return UNKNOWN


def kind_in(text: str, kinds: Mapping[str, str] = _KINDS) -> str:
    """Return what the content of a ``syscall`` file of proc(5) means."""
    number, *arguments = text.split() or [""]
    if number == RUNNING:
        return RUNNING
    kind = kinds.get(number, OTHER) if kinds and number else UNKNOWN
    timeout = arguments[_LONG_ARGUMENTS.get(number, 4) - 1 :][:1]
    return SLEEP if kind == LOCK and timeout and int(timeout[0], 16) else kind


def kinds_of_waits(threads: Mapping[int, int], ask: Callable[[int], str] = waits_for) -> set[str]:
    """Return what threads wait for, given by identifier and native id.

    One that waits for another thread (a future, a queue, an event, its end) waits for what that does: other threads
    that wait for the network or the like are taken for the ones that are meant.
    """
    kinds = {thread: ask(native) for thread, native in threads.items()}
    frames = sys._current_frames() if LOCK in kinds.values() else {}
    asking = {thread for thread, kind in kinds.items() if kind == LOCK and _waits_for_a_thread(frames.get(thread))}
    busy = {ask(native) for native in _others(threads)} - {LOCK, SLEEP, UNKNOWN} if asking else set()
    return {kind for thread, kind in kinds.items() if not (busy and thread in asking)} | busy


def _waits_for_a_thread(frame: FrameType | None) -> bool:
    """Return whether Python's own `threading` holds the thread up, and not a lock that the application takes."""
    return frame is not None and frame.f_code.co_filename == threading.__file__


def _others(requests: Mapping[int, int]) -> Iterator[int]:
    """Yield the native ids of threads that may work for requests: neither theirs, nor the main one, nor ours."""
    for thread in threading.enumerate():
        known = thread.ident in requests or thread is threading.main_thread()
        if not known and thread.native_id is not None and not thread.name.startswith(_OWN_THREADS):
            yield thread.native_id
