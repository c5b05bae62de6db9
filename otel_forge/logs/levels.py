"""Levels that change while processes run, and go back by themselves.

``otel-forge logs level`` writes the changes to a small file in the state folder of the user; every process of that
user that runs with otel-forge looks at the file once a second (one ``stat``) and follows. A change ends at its time
whatever becomes of the file, and a level that the application has set itself meanwhile is left alone.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from otel_forge.environment import own_folder

_MOST_BYTES = 65_536
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}


@dataclass(frozen=True)
class LevelChange:
    """A level for a logger ("" is the root logger) until a time (seconds since 1970), in one service or in all ("")."""

    logger: str
    level: int
    until: float
    service: str = ""


def level_number(text: str) -> int:
    """Return the level named by `text`, or written in it as a number; raises ValueError for anything else."""
    named = LEVELS.get(text.strip().lower())
    return int(text) if named is None else named


def levels_file(environ: Mapping[str, str]) -> Path:
    """Return where the changes of this user stand."""
    return own_folder(environ, "OTEL_FORGE_STATE_DIR", "XDG_STATE_HOME", ".local/state") / "log-levels.json"


def read_changes(file: Path) -> list[LevelChange]:
    """Return the changes in `file`; a missing, damaged or foreign one holds none."""
    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            if status.st_uid not in (os.getuid(), 0) or status.st_mode & _OTHERS_MAY_WRITE:
                return []
            changes = [LevelChange(**change) for change in json.loads(opened.read(_MOST_BYTES))["changes"]]
    except (OSError, ValueError, TypeError, KeyError):
        return []
    return [change for change in changes if _is_sound(change)]


def _is_sound(change: LevelChange) -> bool:
    texts = isinstance(change.logger, str) and isinstance(change.service, str)
    return texts and type(change.level) is int and isinstance(change.until, (int, float))


def write_changes(file: Path, changes: Iterable[LevelChange]) -> None:
    """Put `changes` in the place of what `file` holds, in one step."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps({"changes": [asdict(change) for change in changes]}))
    draft.chmod(0o600)
    draft.replace(file)


class LevelWatch:
    """Follows the changes in a file, for the service of this process."""

    def __init__(self, file: Path, service: str, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._service = service
        self._clock = clock
        self._seen: tuple[int, ...] = ()
        self._changes: Sequence[LevelChange] = ()
        self._before: dict[str, tuple[int, int]] = {}
        """For each changed logger the level that it had and the level that we gave it."""

    def look(self) -> None:
        """Read the file if it is another than last time, and set the levels that are due now."""
        seen = self._signature()
        if seen != self._seen:
            self._seen, self._changes = seen, read_changes(self._file) if seen else ()
        if self._changes or self._before:
            now = self._clock()
            due = {c.logger: c.level for c in self._changes if c.until > now and c.service in ("", self._service)}
            self._apply(due)

    def close(self) -> None:
        """Put every level back."""
        self._apply({})

    def _apply(self, due: Mapping[str, int]) -> None:
        for name in [name for name in self._before if name not in due]:
            before, ours = self._before.pop(name)
            logger = _logger(name)
            if logger.level == ours:
                logger.setLevel(before)
        for name, level in due.items():
            logger = _logger(name)
            before = self._before[name][0] if name in self._before else logger.level
            if self._before.get(name) != (before, level):
                self._before[name] = before, level
                logger.setLevel(level)

    def _signature(self) -> tuple[int, ...]:
        try:
            status = self._file.stat()
        except OSError:
            return ()
        return status.st_mtime_ns, status.st_ino, status.st_size


def _logger(name: str) -> logging.Logger:
    return logging.getLogger(name or None)
