"""Looks after the log files of a service: packs what was set aside, removes what is too old or too much.

Runs in a thread of its own for as long as there is something to do, in one process at a time. A file is
removed for its packed form only when that is complete and on the disk; whatever fails leaves the plain one.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from otel_forge.guard import guard
from otel_forge.logs.files.locking import sole
from otel_forge.logs.files.names import PACKING_SUFFIX, LogFile, age_in_days, files_of, stem_of
from otel_forge.logs.files.sink import remove, seal_now
from otel_forge.notices import Rationed

_CHUNK = 256 * 1024
_PACKED_LEVEL = 6
_JUMP = 3600.0
_DISTRUST = 86400.0


@dataclass(frozen=True)
class Bounds:
    """How long log files are kept, in days of their names, and how much of them, in bytes."""

    pack_after_days: int = 7
    remove_after_days: int = 30
    total_bytes: int = 100_000_000


class Calendar:
    """The wall clock, and whether to remove anything on its word.

    After a jump of over an hour against the clock that only counts, nothing is removed for its age
    until the wall clock has been steady for a day: a wrong date must not cost the logs.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] | None = None) -> None:
        self.now = wall
        self._steady = steady or _since_boot
        self._offset = wall() - self._steady()
        self._trusted_from = self._steady()

    def is_trusted(self) -> bool:
        """Return whether ages by this clock are to be believed."""
        steady = self._steady()
        offset = self.now() - steady
        if abs(offset - self._offset) > _JUMP:
            self._offset, self._trusted_from = offset, steady + _DISTRUST
        return steady >= self._trusted_from


def _since_boot() -> float:
    """Return seconds that also count while the machine sleeps, where the system has such a clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime(clock) if clock is not None else time.monotonic()


class Upkeep:
    """Keeps the log files of one service within their bounds."""

    def __init__(
        self,
        folder: Path,
        service: str,
        bounds: Bounds,
        *,
        calendar: Calendar | None = None,
        pack: Callable[[Path], None] | None = None,
        say: Rationed | None = None,
    ) -> None:
        self.folder = folder
        self.service = service
        self.bounds = bounds
        self.packing_failures = 0
        self.removed_for_age = 0
        self.removed_for_room = 0
        self._calendar = calendar or Calendar()
        self._pack = pack or pack_file
        self._say = say or Rationed()
        self._failed: set[Path] = set()
        self.forget_threads()

    def forget_threads(self) -> None:
        """Start anew in a forked child, where no other thread lives on."""
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None
        self._again = False

    def start(self) -> None:
        """See to everything in the background; when that is going on already, once more after it."""
        with self._mutex:
            self._again = True
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="otel-forge log files", daemon=True)
                with contextlib.suppress(RuntimeError):  # the interpreter is ending: the next process sees to it
                    thread.start()
                    self._thread = thread

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the background work is done."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _work(self) -> None:
        while True:
            with self._mutex:
                if not self._again:
                    self._thread = None
                    return
                self._again = False
            with guard("looking after log files"):
                self.run()

    def run(self) -> None:
        """See to everything now, unless another process does; it then sees to what is here as well."""
        self._failed = set()
        while self.folder.is_dir():
            try:
                with sole(self._lock_path()) as mine:
                    if not mine:
                        return
                    self._pass()
            except OSError as error:
                reason = error.strerror or error
                self._say(lambda: f"The log files in {self.folder} cannot be looked after ({reason}).")  # noqa: B023
                return
            if all(path in self._failed for path in self._to_pack()):  # else one was set aside since we looked
                return

    def pack_now(self, patience: float = 10.0) -> list[Path]:
        """Pack what was set aside and do nothing else; return what could not be packed. Raises OSError."""
        with sole(self._lock_path(), patience) as mine:
            if not mine:
                return []  # who is at it sees to what is here as well
            self._clear_leftovers()
            self._pack_all()
        return sorted(self._failed)

    def remove_all(self, patience: float = 10.0) -> tuple[int, int]:
        """Remove every log file of the service; return how many they were, and their bytes. Raises OSError."""
        count = size = 0
        with sole(self._lock_path(), patience) as mine:
            if not mine:
                raise TimeoutError(f"another process is packing the log files of {self.service}")
            for file in files_of(self.folder, self.service):
                size += _size(file.path)
                count += 1
                remove(file, patience)
        return count, size

    def _lock_path(self) -> Path:
        return self.folder / f".{stem_of(self.service)}.upkeep.lock"

    def _files(self) -> list[LogFile]:
        return [file for file in files_of(self.folder, self.service) if file.is_ours]

    def _to_pack(self) -> list[Path]:
        return [file.path for file in self._files() if file.is_sealed and not file.is_packed]

    def _pass(self) -> None:
        self._clear_leftovers()
        self._seal_days(self.bounds.pack_after_days)
        self._pack_all()
        if self._calendar.is_trusted():
            self._remove_old()
        self._make_room()

    def _clear_leftovers(self) -> None:
        """Remove what a killed process left: half-packed files, and plain ones whose packed form is complete."""
        stem = stem_of(self.service)
        for half in self.folder.glob(f"{stem}-*{PACKING_SUFFIX}"):
            half.unlink(missing_ok=True)
        files = self._files()
        packed = {(file.day, file.number) for file in files if file.is_packed}
        for file in files:
            if file.is_sealed and not file.is_packed and (file.day, file.number) in packed:
                file.path.unlink(missing_ok=True)

    def _seal_days(self, older_than: int) -> None:
        """Set whole days aside, so that they can be packed."""
        now = self._calendar.now()
        for file in self._files():
            if file.is_written and age_in_days(file.day, now) > older_than:
                with contextlib.suppress(OSError):  # somebody writes to it: next time
                    seal_now(file, patience=0.0)

    def _pack_all(self) -> None:
        for path in self._to_pack():
            try:
                self._pack(path)
            except Exception as error:  # noqa: BLE001 - whatever it is, the plain file stays and the next is tried
                self.packing_failures += 1
                self._failed.add(path)
                self._complain(path, getattr(error, "strerror", None) or error)

    def _complain(self, path: Path, reason: object) -> None:
        self._say(lambda: f"{path} cannot be packed ({reason}); it stays as it is.")

    def _remove_old(self) -> None:
        now = self._calendar.now()
        for file in self._files():
            if age_in_days(file.day, now) > self.bounds.remove_after_days:
                file.path.unlink(missing_ok=True)
                self.removed_for_age += 1

    def _make_room(self) -> None:
        """Come below the cap: by packing past days early, then by removing the oldest packed files."""
        if self._total() <= self.bounds.total_bytes:
            return
        self._seal_days(older_than=0)
        self._pack_all()
        excess = self._total() - self.bounds.total_bytes
        before = self.removed_for_room
        for file in self._files():
            if excess <= 0:
                break
            if file.is_packed:
                excess -= _size(file.path)
                file.path.unlink(missing_ok=True)
                self.removed_for_room += 1
        removed = self.removed_for_room - before
        if removed:
            self._say(lambda: self._room_text(removed))

    def _room_text(self, removed: int) -> str:
        return (
            f"The log files of {self.service} in {self.folder} took more than "
            f"{self.bounds.total_bytes / 1e6:g} MB; the {removed} oldest packed ones were removed."
        )

    def _total(self) -> int:
        return sum(_size(file.path) for file in self._files())


def pack_file(path: Path) -> None:
    """Replace a file that nobody writes to by its packed form; raise OSError and leave it where that fails."""
    half = path.with_name(path.name + PACKING_SUFFIX)
    packed = path.with_name(path.name + ".gz")
    try:
        _write_packed(path, half)
        half.replace(packed)
    except BaseException:
        with contextlib.suppress(OSError):
            half.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    path.unlink()


def _write_packed(path: Path, half: Path) -> None:
    """Write the packed form to the disk, with the owner's rights only and the time of the last line."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with path.open("rb") as plain, os.fdopen(os.open(half, flags, 0o600), "wb") as raw:
        with gzip.GzipFile(filename="", mode="wb", compresslevel=_PACKED_LEVEL, fileobj=raw) as packed:
            shutil.copyfileobj(plain, packed, _CHUNK)
        raw.flush()
        os.fsync(raw.fileno())
        written = os.fstat(plain.fileno())
        if plain.tell() != written.st_size:
            raise OSError(f"{path} changed while it was packed")
    os.utime(half, ns=(written.st_atime_ns, written.st_mtime_ns))


def _sync_folder(folder: Path) -> None:
    """Have the new name on the disk before the old one goes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
