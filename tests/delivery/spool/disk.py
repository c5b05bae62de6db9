"""A disk in memory that can be full, lose power and be looked into, and file operations that fail on command."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import cast

from otel_forge.delivery.spool.files import About, Files

USER = 1000


class Killed(BaseException):
    """The process ended here."""


class Inode:
    """A file: what a read returns, and what would be left if the power went out."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.data = bytearray()
        self.synced = b""
        self.floor = 0
        self.name_synced = False
        self.links = 1


class Disk:
    """Directories and files; `room` is how many bytes are free, None for enough."""

    def __init__(self) -> None:
        self.directories = {"/", "/var"}
        self.files: dict[str, Inode] = {}
        self.locks: dict[int, object] = {}
        self.room: int | None = None
        self.numbers = count(1)

    def segments(self, signal: str) -> dict[str, Inode]:
        """Return the segments of a signal, in any directory."""
        return {path: inode for path, inode in self.files.items() if Path(path).name.startswith(signal + "-")}

    def lose_power(self, random: Random) -> None:
        """Keep what was synced; of the rest, anything may be there or not, or zeros in its place."""
        for path, inode in list(self.files.items()):
            if not inode.name_synced and random.random() < 0.5:
                del self.files[path]
                continue
            end = random.randint(inode.floor, max(inode.floor, len(inode.data)))
            choice = random.randrange(4)
            if choice == 0:
                inode.data = bytearray(inode.synced)
            elif choice == 1:
                inode.data[end:] = b""
            elif choice == 2:
                inode.data[end:] = bytes(len(inode.data) - end)


class DiskFiles:
    """The files of a disk as one process sees them; `kill` is its end."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.opened: dict[int, Inode] = {}
        self._descriptors = count(3)

    def kill(self) -> None:
        """Let go of everything, as the kernel does for a process that is no more."""
        self.opened.clear()
        self.disk.locks = {number: owner for number, owner in self.disk.locks.items() if owner is not self}

    def create(self, path: str) -> int:
        self._parent(path)
        if path in self.disk.files:
            raise _error(errno.EEXIST)
        inode = self.disk.files[path] = Inode(next(self.disk.numbers))
        return self._descriptor(inode)

    def open(self, path: str, *, writable: bool = True) -> int:
        return self._descriptor(self._inode(path))

    def close(self, descriptor: int) -> None:
        self.opened.pop(descriptor, None)

    def write(self, descriptor: int, parts: Sequence[bytes], offset: int) -> int:
        data = self._open(descriptor).data
        new = b"".join(parts)
        room = self.disk.room
        if room is not None:
            grows = offset + len(new) - len(data)
            if grows > room:
                new = new[: max(len(new) - (grows - room), 0)]
                if not new:
                    raise _error(errno.ENOSPC)
            self.disk.room = room - max(offset + len(new) - len(data), 0)
        data[offset : offset + len(new)] = new
        return len(new)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        return bytes(self._open(descriptor).data[offset : offset + size])

    def truncate(self, descriptor: int, size: int) -> None:
        inode = self._open(descriptor)
        if self.disk.room is not None:
            self.disk.room += len(inode.data) - size
        del inode.data[size:]
        inode.floor = min(inode.floor, size)

    def sync(self, descriptor: int) -> None:
        inode = self._open(descriptor)
        inode.synced = bytes(inode.data)
        inode.floor = len(inode.data)

    def sync_directory(self, path: str) -> None:
        for name, inode in self.disk.files.items():
            inode.name_synced = inode.name_synced or os.path.dirname(name) == path

    def about(self, descriptor: int) -> About:
        inode = self._open(descriptor)
        return About((1, inode.number), inode.links, len(inode.data))

    def status(self, path: str) -> os.stat_result:
        if path in self.disk.directories:
            return os.stat_result((stat.S_IFDIR | 0o700, 0, 1, 2, USER, USER, 0, 0, 0, 0))
        inode = self._inode(path)
        return os.stat_result((stat.S_IFREG | 0o600, inode.number, 1, 1, USER, USER, len(inode.data), 0, 0, 0))

    def names(self, path: str) -> list[str]:
        if path not in self.disk.directories:
            raise _error(errno.ENOENT)
        return sorted(
            Path(name).name
            for name in [*self.disk.files, *self.disk.directories]
            if os.path.dirname(name) == path and name != path
        )

    def make_directory(self, path: str) -> None:
        self._parent(path)
        if path in self.disk.directories:
            raise _error(errno.EEXIST)
        self.disk.directories.add(path)

    def make_parents(self, path: str) -> None:
        while path not in self.disk.directories:
            self.disk.directories.add(path)
            path = os.path.dirname(path)

    def remove_directory(self, path: str) -> None:
        if self.names(path):
            raise _error(errno.ENOTEMPTY)
        self.disk.directories.remove(path)

    def unlink(self, path: str) -> None:
        inode = self._inode(path)
        if self.disk.room is not None:
            self.disk.room += len(inode.data)
        inode.links = 0
        del self.disk.files[path]

    def rename(self, source: str, target: str) -> None:
        inode = self._inode(source)
        self._parent(target)
        if target in self.disk.files:
            self.unlink(target)
        del self.disk.files[source]
        self.disk.files[target] = inode

    def user(self) -> int:
        return USER

    def lock(self, path: str) -> int | None:
        self._parent(path)
        inode = self.disk.files.get(path)
        if inode is None:
            inode = self.disk.files[path] = Inode(next(self.disk.numbers))
            inode.name_synced = True
        if inode.number in self.disk.locks:
            return None
        self.disk.locks[inode.number] = self
        return self._descriptor(inode)

    def unlock(self, descriptor: int) -> None:
        inode = self.opened.pop(descriptor)
        del self.disk.locks[inode.number]

    def forget(self) -> None:
        pass

    def _descriptor(self, inode: Inode) -> int:
        descriptor = next(self._descriptors)
        self.opened[descriptor] = inode
        return descriptor

    def _open(self, descriptor: int) -> Inode:
        if descriptor not in self.opened:
            raise _error(errno.EBADF)
        return self.opened[descriptor]

    def _inode(self, path: str) -> Inode:
        if path not in self.disk.files:
            raise _error(errno.ENOENT)
        return self.disk.files[path]

    def _parent(self, path: str) -> None:
        if os.path.dirname(path) not in self.disk.directories:
            raise _error(errno.ENOENT)


class Watched:
    """Files whose every operation is told to `before` first, which may raise instead of letting it happen."""

    NEVER_RAISE = frozenset({"close", "unlock", "forget", "user"})

    def __init__(self, files: object, before: Callable[[str], None]) -> None:
        self._files = files
        self._before = before

    def __getattr__(self, name: str) -> Callable[..., object]:
        method: Callable[..., object] = getattr(self._files, name)
        if name in self.NEVER_RAISE:
            return method

        def call(*arguments: object, **named: object) -> object:
            self._before(name)
            return method(*arguments, **named)

        return call


def watched(files: object, before: Callable[[str], None]) -> Files:
    """Return `files` with `before` called ahead of each operation that may fail."""
    return cast(Files, Watched(files, before))


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
