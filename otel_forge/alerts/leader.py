"""One of the processes of a service on a machine evaluates its rules and tells people: the one that holds a lock.

The kernel drops the lock when its holder dies, however it dies, and the next process that asks has it.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from otel_forge.delivery.spool.ownership import service_slug

LOCK = "leader.lock"
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


class Leadership:
    """The lock in `folder`, as one process sees it; without a folder each process leads for itself."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / LOCK
        self._descriptor: int | None = None
        self._has_resigned = False

    def is_mine(self) -> bool:
        """Return whether this process leads, which it does from now on if nobody else does. Raises OSError."""
        if self._has_resigned:
            return False
        if self._path is None:
            return True
        if self._descriptor is not None and not _is_the_file(self._descriptor, self._path):
            self.give_up()  # somebody has removed the folder: others would not see our lock
        if self._descriptor is None:
            self._descriptor = _locked(self._path)
        return self._descriptor is not None

    def give_up(self) -> None:
        """Let another process lead."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with suppress(OSError):
                os.close(descriptor)

    def resign(self) -> None:
        """Let another process lead, for good."""
        self._has_resigned = True
        self.give_up()

    forget = give_up
    """In a forked child, too: closing its copy of the descriptor leaves the parent its lock."""


def _locked(path: Path) -> int | None:
    """Return the descriptor of the locked file; None if another process has it."""
    fcntl = _fcntl()
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:  # a file system without locks: as without a folder
        return descriptor
    return descriptor


def is_led(folder: Path) -> bool:
    """Return whether a living process leads in `folder`."""
    fcntl = _fcntl()
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _fcntl() -> Any:
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    return fcntl


def _is_the_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


def folder_of(state: Path, service: str, environment: str) -> Path:
    """Return where the processes of a service find each other."""
    return state / "alerts" / service_slug(f"{service}.{environment}" if environment else service)


def made(folder: Path) -> Path:
    """Make `folder`, for this user alone; raises OSError, also if another user could write there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise OSError(f"{folder} is no folder")
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
        raise OSError(f"{folder} can be written to by other users")
    return folder
