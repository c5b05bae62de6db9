"""The names of log files, and what they say about order and age.

``<service>-2026-11-23.log`` is written to; ``<service>-2026-11-23.1.log`` was the first that a rotation set
aside that day and ``.log.gz`` is the same packed. Numbers go up, so that setting one aside renames no other.
What logrotate makes of the first (``.log.1``, ``.log-20261124``, ``.gz``) is read, and otherwise left to logrotate.
"""

from __future__ import annotations

import calendar
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(
    r"(?P<service>.+)-(?P<day>\d{4}-\d\d-\d\d)(?:\.(?P<number>\d+))?\.log(?P<foreign>[.-]\d+)?(?P<packed>\.gz)?"
)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST_STEM = 128
PACKING_SUFFIX = ".gz.tmp"
SECONDS_A_DAY = 86400


@dataclass(frozen=True)
class LogFile:
    """One log file as its name tells it; `number` is None for the one that is written to."""

    path: Path
    service: str
    day: str
    number: int | None = None
    foreign: str = ""
    """What logrotate put behind the name."""
    is_packed: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether no other tool has renamed it."""
        return not self.foreign

    @property
    def is_written(self) -> bool:
        """Whether it is the one of its day that lines are appended to."""
        return self.number is None and not self.foreign and not self.is_packed

    @property
    def is_sealed(self) -> bool:
        """Whether a rotation of ours has set it aside."""
        return self.number is not None and not self.foreign

    @property
    def order(self) -> tuple[str, int, int]:
        """A key by which the files of a service come in the order in which they were written."""
        if self.foreign.startswith("."):
            return self.day, 1, -int(self.foreign[1:])  # logrotate counts the other way: .1 is the newest
        if self.foreign:
            return self.day, 1, int(self.foreign[1:])
        return (self.day, 2, 0) if self.number is None else (self.day, 0, self.number)


def stem_of(service: str) -> str:
    """Return the service's name as files bear it: without separators, leading dots and overlong text."""
    safe = _UNSAFE.sub("_", service)[:_LONGEST_STEM]
    return f"_{safe[1:]}" if safe.startswith(".") else safe or "_"


def day_of(seconds: float) -> str:
    """Return the UTC day of a Unix time: days that have no daylight saving, on machines in any time zone."""
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def age_in_days(day: str, now: float) -> int:
    """Return how many days before today a day of a file name was; a name that is no date counts as today."""
    try:
        then = calendar.timegm(time.strptime(day, "%Y-%m-%d"))
    except ValueError:
        return 0
    return int(now // SECONDS_A_DAY - then / SECONDS_A_DAY)


def written_path(folder: Path, service: str, day: str) -> Path:
    """Return the path of the file that lines of that day are appended to."""
    return folder / f"{stem_of(service)}-{day}.log"


def parse(path: Path) -> LogFile | None:
    """Return what the name says, or None for a file that is no log of ours."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        return None
    number = found["number"]
    return LogFile(
        path,
        service=found["service"],
        day=found["day"],
        number=int(number) if number else None,
        foreign=found["foreign"] or "",
        is_packed=found["packed"] is not None,
    )


def files_in(folder: Path) -> list[LogFile]:
    """Return all log files of a folder in order; none where there is no such folder.

    Raises OSError for a folder that cannot be read.
    """
    try:
        names = os.listdir(folder)  # noqa: PTH208 - half the time of iterdir, and a follower asks often
    except FileNotFoundError:
        return []
    found = (parse(folder / name) for name in names)
    return sorted((file for file in found if file is not None), key=lambda file: (file.service, file.order))


def files_of(folder: Path, service: str) -> list[LogFile]:
    """Return the log files of one service in the order in which they were written."""
    stem = stem_of(service)
    return [file for file in files_in(folder) if file.service == stem]


def next_sealed_path(file: LogFile, siblings: Iterable[LogFile]) -> Path:
    """Return the name under which the written file `file` is to be set aside."""
    numbers = [other.number for other in siblings if other.day == file.day and other.number is not None]
    return file.path.with_name(f"{file.service}-{file.day}.{max(numbers, default=0) + 1}.log")
