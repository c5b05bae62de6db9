"""The handler of the daily file, which turns to standard error while the disk refuses."""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from otel_forge.fork import on_fork_in_child
from otel_forge.logs.files.sink import PATIENCE, DailyFile
from otel_forge.logs.files.upkeep import Bounds, Upkeep
from otel_forge.logs.flood import FloodControl
from otel_forge.logs.handlers import LineHandler, View
from otel_forge.notices import notice
from otel_forge.settings import LogFileSettings

_RETRY_AFTER = 1.0
_PATIENCE_WHILE_FAILING = 0.01
_handlers: weakref.WeakSet[FileHandler] = weakref.WeakSet()


class LineFile(Protocol):
    """What takes the lines: DailyFile, or a file that fails in a test."""

    def append(self, line: bytes, patience: float = ...) -> None:
        """Write a line or raise OSError."""

    def close(self) -> None:
        """Let go of the file."""


class FileHandler(LineHandler):
    """Writes each record as one line of a file.

    While the file cannot be written the lines go to `fallback`, standard error unless another is given; that is said
    once, and the file is tried again every second.
    """

    def __init__(
        self,
        file: LineFile,
        view: View,
        *,
        place: object = "the log file",
        upkeep: Upkeep | None = None,
        flood: FloodControl | None = None,
        fallback: Callable[[str], None] | None = None,
        say: Callable[[str], None] = notice,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(view, flood=flood)
        self.file = file
        self.upkeep = upkeep
        self.diverted = 0
        """Lines that went to the fallback."""
        self._place = place
        self._fallback = fallback or _to_standard_error
        self._say = say
        self._clock = clock
        self._retry_at: float | None = None
        self._diverted_before = 0
        _handlers.add(self)

    def write(self, text: str) -> None:
        """Append a line to the file, or to the fallback. Whatever the view has made of the record, it is one line."""
        if self._retry_at is not None and self._clock() < self._retry_at:
            self._divert(text)
            return
        try:
            self.file.append(_one_line(text), PATIENCE if self._retry_at is None else _PATIENCE_WHILE_FAILING)
        except OSError as error:
            self._fail(error)
            self._divert(text)
            return
        if self._retry_at is not None:
            self._recover()

    def close(self) -> None:
        """Let go of the file; a record after this opens it again."""
        self.file.close()
        super().close()

    def problems(self) -> dict[str, int]:
        """Return what went wrong so far in this process, by kind.

        Lines diverted to the fallback and lines that failed there, too; rests of lines removed after a kill; files that
        could not be set aside or packed; files removed for want of room.
        """
        problems = {"diverted": self.diverted, "failed": self.failures}
        for name in ("torn", "sealing_failures"):
            problems[name] = getattr(self.file, name, 0)
        for name in ("packing_failures", "removed_for_room"):
            problems[name] = getattr(self.upkeep, name, 0)
        return problems

    def start_anew(self) -> None:
        """Let go, in a forked child, of what belongs to the parent: its open file, whose lock is one for both."""
        self.file.close()
        if self.upkeep is not None:
            self.upkeep.forget_threads()

    def _fail(self, error: OSError) -> None:
        self.file.close()
        if self._retry_at is None:
            self._diverted_before = self.diverted
            reason = error.strerror or error
            self._say(f"{self._place} cannot be written ({reason}); log lines go to standard error until it can.")
        self._retry_at = self._clock() + _RETRY_AFTER

    def _recover(self) -> None:
        self._retry_at = None
        missing = self.diverted - self._diverted_before
        self._say(f"{self._place} can be written again; {missing} lines went to standard error meanwhile.")

    def _divert(self, text: str) -> None:
        self.diverted += 1
        self._fallback(text)


def build(settings: LogFileSettings, service: str, view: View, *, flood: FloodControl | None = None) -> FileHandler:
    """Return the handler that writes the service's records to the folder of the settings."""
    folder = Path(settings.folder).expanduser().absolute()  # the application may change its working folder
    bounds = Bounds(settings.pack_after_days, settings.remove_after_days, settings.total_bytes)
    upkeep = Upkeep(folder, service, bounds)
    file = DailyFile(folder, service, settings.file_bytes, on_change=upkeep.start)
    return FileHandler(file, view, place=f"LOG_DIR={folder}", upkeep=upkeep, flood=flood)


def _one_line(text: str) -> bytes:
    body = text.removesuffix("\n")
    if "\n" in body or "\r" in body:
        body = body.replace("\n", "\\n").replace("\r", "\\r")
    return f"{body}\n".encode("utf-8", "backslashreplace")


def _to_standard_error(text: str) -> None:
    stream = sys.stderr
    if stream is None:
        return
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):  # closed, or full as well: the counter has it
        pass


def _start_anew_after_fork() -> None:
    for handler in list(_handlers):
        handler.start_anew()


on_fork_in_child(_start_anew_after_fork)
