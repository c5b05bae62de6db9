"""What the system knows of this process: read when somebody asks, from ``/proc`` on Linux and with psutil elsewhere.

Always of the process that asks, so that a forked worker reads its own.
"""

from __future__ import annotations

import os
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

_STAT, _STATM, _DESCRIPTORS = "/proc/self/stat", "/proc/self/statm", "/proc/self/fd"
_THREADS, _STARTED = 17, 19
"""Fields of ``/proc/self/stat`` after the name, from 0 (proc(5): num_threads and starttime)."""


class Usage(NamedTuple):
    """What a process has used since it began: seconds of CPU, and how often it was switched and faulted."""

    user: float
    system: float
    voluntary_switches: int
    involuntary_switches: int
    minor_faults: int
    major_faults: int


class Memory(NamedTuple):
    """Bytes of physical memory in use, and of virtual memory."""

    resident: int
    virtual: int


class Process(Protocol):
    """This process; what the system does not tell raises OSError."""

    def memory(self) -> Memory: ...
    def threads(self) -> int: ...
    def file_descriptors(self) -> int: ...
    def uptime(self) -> float: ...


def usage() -> Usage:
    """Return what this process has used (getrusage(2)); raises OSError where the system does not tell."""
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError as error:  # Windows, or an application with a module of that name
        raise OSError("no getrusage") from error
    used = getrusage(RUSAGE_SELF)
    return Usage(used.ru_utime, used.ru_stime, used.ru_nvcsw, used.ru_nivcsw, used.ru_minflt, used.ru_majflt)


class LinuxProcess:
    """This process as ``/proc`` shows it."""

    def __init__(self) -> None:
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._ticks = os.sysconf("SC_CLK_TCK")

    def memory(self) -> Memory:
        """Return the memory in use."""
        virtual, resident, *_ = _read(_STATM).split()
        return Memory(int(resident) * self._page, int(virtual) * self._page)

    def threads(self) -> int:
        """Return the number of threads, those that are not Python's included."""
        return int(_fields()[_THREADS])

    def file_descriptors(self) -> int:
        """Return the number of open file descriptors, by a listing.

        The size of that folder, which Linux tells since 6.2 without a listing, is too large once many have been closed
        (seen on 6.18: 19 for 14).
        """
        return len(os.listdir(_DESCRIPTORS)) - 1  # noqa: PTH208 - without the one that the listing has open

    def uptime(self) -> float:
        """Return the seconds since the process began."""
        return max(time.clock_gettime(time.CLOCK_BOOTTIME) - int(_fields()[_STARTED]) / self._ticks, 0.0)


class PortableProcess:
    """This process as psutil shows it, which is imported for the first reading."""

    def memory(self) -> Memory:
        """Return the memory in use."""
        found = self._process().memory_info()
        return Memory(found.rss, found.vms)

    def threads(self) -> int:
        """Return the number of threads, those that are not Python's included."""
        return int(self._process().num_threads())

    def file_descriptors(self) -> int:
        """Return the number of open file descriptors."""
        try:
            return int(self._process().num_fds())
        except AttributeError as error:  # Windows
            raise OSError("no file descriptors") from error

    def uptime(self) -> float:
        """Return the seconds since the process began."""
        return max(time.time() - float(self._process().create_time()), 0.0)

    @staticmethod
    def _process() -> Any:
        import psutil

        return psutil.Process()


@lru_cache(maxsize=1)
def this_process() -> Process:
    """Return what reads this process on this system."""
    return LinuxProcess() if sys.platform == "linux" and Path(_STAT).exists() else PortableProcess()


def _fields() -> list[bytes]:
    """Return the fields of ``/proc/self/stat`` after the name, which may have spaces and parentheses."""
    return _read(_STAT).rpartition(b")")[2].split()


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a third of the time of Path.read_bytes
        return file.read()
