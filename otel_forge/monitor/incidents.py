"""What is kept of an app before it is restarted: a folder for each incident, readable by this user only.

``stacks.txt`` has the stacks of all threads, ``log.txt`` the last lines of its log files, ``output.txt`` those of its
output where that passes through us, ``state.json`` the rest. No secret stands in any of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from otel_forge.guard import guard
from otel_forge.logs.files.entries import EVERYTHING
from otel_forge.logs.files.reading import last_lines, look
from otel_forge.redaction import policy

LINES = 100


class Incidents:
    """Keeps the last `most` incidents in `folder`."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder = folder
        self._most = most

    def keep(self, reason: str, texts: Mapping[str, str], state: Mapping[str, Any]) -> Path:
        """Write an incident, remove the oldest beyond the bound, and return its folder."""
        place = self._new_folder(reason)
        for name, text in texts.items():
            _write(place / name, _clean(text))
        _write(place / "state.json", json.dumps(policy().mapping(state), indent=1, default=str) + "\n")
        self._remove_oldest()
        return place

    def _new_folder(self, reason: str) -> Path:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stem = f"{time.strftime('%Y-%m-%dT%H-%M-%SZ', time.gmtime())}-{reason}"
        for number in range(1000):
            place = self.folder / (f"{stem}-{number}" if number else stem)
            with contextlib.suppress(FileExistsError):
                place.mkdir(mode=0o700)
                return place
        raise FileExistsError(stem)

    def _remove_oldest(self) -> None:
        there = sorted(path for path in self.folder.iterdir() if path.is_dir())
        for place in there[: max(0, len(there) - self._most)]:
            shutil.rmtree(place, ignore_errors=True)


def last_log_lines(log_folder: str, service: str, lines: int = LINES) -> str:
    """Return the last lines of the service's log files; empty where it writes none."""
    if not log_folder:
        return ""
    with guard("reading the last log lines"):
        found = last_lines(look(Path(log_folder).expanduser(), service), lines, EVERYTHING)
        return "".join(f"{line.decode('utf-8', 'replace')}\n" for line in found)
    return ""


def _clean(text: str) -> str:
    """Return the text without secrets, line by line: that is how the policy expects text."""
    redact = policy().text
    return "".join(redact(line) for line in text.splitlines(keepends=True))


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
        file.write(text)


def remove_dead(folder: Path, is_alive: Callable[[int], bool] = psutil.pid_exists) -> None:
    """Remove what processes that are gone have left in the watch folder."""
    for path in folder.iterdir():
        pid = path.name.lstrip(".").split(".")[0]
        if path.suffix in (".beat", ".stacks") and pid.isdecimal() and not is_alive(int(pid)):
            path.unlink(missing_ok=True)
