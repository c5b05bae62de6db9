"""The file system as the spool uses it: few operations, so that tests can put another one in its place.

The lock is a POSIX record lock: it goes away with its process however that ends, and a forked child does not have
it. Such locks do not conflict within one process, and closing any descriptor of the file gives the lock up; so
which ones this process holds is kept in a register, and a file in it is never opened a second time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Protocol

try:
    import fcntl
except ImportError:  # Windows: no record locks, so no spool
    fcntl = None  # type: ignore[assignment]

_NO_TRICKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_sync_data = getattr(os, "fdatasync", os.fsync)


class About(NamedTuple):
    """An open file: device and inode, how many names it has, and its size."""

    identity: tuple[int, int]
    links: int
    size: int


class Files(Protocol):
    """What the spool asks of a file system. Everything may raise OSError, `close` and `unlock` excepted."""

    def create(self, path: str) -> int:
        """Open a new regular file, readable by the user alone, for reading and writing; it must not exist."""

    def open(self, path: str, *, writable: bool = True) -> int:
        """Open a regular file that exists; a symbolic link or anything else but a file is refused."""

    def close(self, descriptor: int) -> None:
        """Close; never raises."""

    def write(self, descriptor: int, parts: Sequence[bytes], offset: int) -> int:
        """Write `parts` one after the other from `offset` on, in one call; return how many bytes were taken."""

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """Read up to `size` bytes from `offset` on; fewer only at the end of the file."""

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file to `size` bytes."""

    def sync(self, descriptor: int) -> None:
        """Wait until the file's data are on the disk."""

    def sync_directory(self, path: str) -> None:
        """Wait until the names in a directory are on the disk."""

    def about(self, descriptor: int) -> About:
        """Return which file is open there."""

    def status(self, path: str) -> os.stat_result:
        """Return what is known of `path` itself, links not followed."""

    def names(self, path: str) -> list[str]:
        """Return the names in a directory, sorted."""

    def make_directory(self, path: str) -> None:
        """Make a directory for the user alone; its parent exists."""

    def make_parents(self, path: str) -> None:
        """Make a directory for the user alone, and those above it where they are missing."""

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""

    def unlink(self, path: str) -> None:
        """Remove a file."""

    def rename(self, source: str, target: str) -> None:
        """Give a file another name, replacing what had it."""

    def user(self) -> int:
        """Return the user who must own what is trusted."""

    def lock(self, path: str) -> int | None:
        """Lock the file, which is made if need be; None if anyone holds the lock, this process included.

        The descriptor that is returned has the lock until it is given to `unlock`.
        """

    def unlock(self, descriptor: int) -> None:
        """Let go of a lock; never raises."""

    def forget(self) -> None:
        """Know of no locks, as a forked child must: they are its parent's."""


class OsFiles:
    """The real one."""

    def create(self, path: str) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_TRICKS, 0o600)

    def open(self, path: str, *, writable: bool = True) -> int:
        descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | _NO_TRICKS)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(f"{path} is not a regular file")
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def close(self, descriptor: int) -> None:
        with suppress(OSError):  # late write errors show at sync
            os.close(descriptor)

    def write(self, descriptor: int, parts: Sequence[bytes], offset: int) -> int:
        return os.pwritev(descriptor, parts, offset)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        data = os.pread(descriptor, size, offset)
        while len(data) < size:
            more = os.pread(descriptor, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        _sync_data(descriptor)

    def sync_directory(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | _NO_TRICKS)
        try:
            os.fsync(descriptor)
        finally:
            self.close(descriptor)

    def about(self, descriptor: int) -> About:
        status = os.fstat(descriptor)
        return About((status.st_dev, status.st_ino), status.st_nlink, status.st_size)

    def status(self, path: str) -> os.stat_result:
        return os.lstat(path)

    def names(self, path: str) -> list[str]:
        return sorted([child.name for child in Path(path).iterdir()])

    def make_directory(self, path: str) -> None:
        Path(path).mkdir(0o700)

    def make_parents(self, path: str) -> None:
        if not Path(path).parent.is_dir():
            self.make_parents(str(Path(path).parent))
        with suppress(FileExistsError):
            Path(path).mkdir(0o700)

    def remove_directory(self, path: str) -> None:
        Path(path).rmdir()

    def unlink(self, path: str) -> None:
        Path(path).unlink()

    def rename(self, source: str, target: str) -> None:
        Path(source).rename(target)

    def user(self) -> int:
        return os.geteuid() if hasattr(os, "geteuid") else 0

    def lock(self, path: str) -> int | None:
        if fcntl is None or not hasattr(os, "pwritev"):
            raise OSError("this system lacks the file operations that a spool needs")
        with _held.mutex:
            if _identity(path) in _held.files.values():
                return None
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _NO_TRICKS, 0o600)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                status = os.fstat(descriptor)
            except (BlockingIOError, PermissionError):
                self.close(descriptor)
                return None
            except BaseException:
                self.close(descriptor)
                raise
            _held.files[descriptor] = (status.st_dev, status.st_ino)
            return descriptor

    def unlock(self, descriptor: int) -> None:
        with _held.mutex:
            identity = _held.files.pop(descriptor, None)
            try:
                is_ours = self.about(descriptor).identity == identity
            except OSError:
                return
            if is_ours:  # else the application closed it, and has something else there now
                self.close(descriptor)

    def forget(self) -> None:
        if _held.process != os.getpid():
            _held.reset()


class _Held:
    """The locks of this process: descriptor -> device and inode."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.mutex = Lock()
        self.files: dict[int, tuple[int, int]] = {}
        self.process = os.getpid()


_held = _Held()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
