"""Whose directory is whose: each process has one of its own, `<root>/<service>/<pid>-<random>`, held by a lock.

What lies in a directory whose lock is free was left by a process that is dead. Its segments are renamed into the
directory of the one who found it, so a process holds one lock however many it inherits from, and a crash in the
middle leaves each segment in one of two places, never in both.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2s
from pathlib import Path
from threading import Lock

from otel_forge.delivery.spool.files import Files, OsFiles
from otel_forge.delivery.spool.handle import Handle

_LOCK = "lock"
_PROCESS = re.compile(r"\d+-[0-9a-f]{8}")
_REFUSED = re.compile(r"refused-[a-z]+\.seg")
_STATUS = re.compile(r"status\.json(\.new)?")
_ATTEMPTS = 5


class Untrusted(OSError):
    """A directory is not safely ours; the message says why."""


class SpoolDirectory:
    """The directory of this process, shared by its signals, made when first needed."""

    def __init__(self, root: Path | str, service: str, *, files: Files | None = None) -> None:
        self.files: Files = files or OsFiles()
        self.root = os.path.abspath(root)
        self.service_name = service
        self.service = os.path.join(self.root, service_slug(service))
        self._reset()

    def _reset(self) -> None:
        self.path = ""
        self._lock: Handle | None = None
        self._users: set[str] = set()
        self._mutex = Lock()
        self._claims = Lock()
        self._process = os.getpid()

    def enter(self, user: str, *, durable: bool) -> str:
        """Return the path of the directory, which is made and locked if need be; raises OSError.

        With `durable` its name is on the disk before this returns.
        """
        with self._mutex:
            if not self._is_there():
                self._make()
                if durable:
                    for parent in (self.path, self.service, self.root):
                        self.files.sync_directory(parent)
            self._users.add(user)
            return self.path

    def leave(self, user: str) -> None:
        """Let go of the directory when no signal uses it any more: unlock it, and remove it if nothing is in it.

        A signal that comes later, as at exit when another has been quicker, finds it again.
        """
        with self._mutex:
            self._users.discard(user)
            if self._lock is not None and not self._users:
                if self._tidy(self.path):
                    self.path = ""
                self.files.unlock(self._lock.descriptor)
                self._lock = None

    def forget(self) -> None:
        """Be as new, as a forked child must; the parent keeps its lock, which never was the child's."""
        if self._process != os.getpid():
            self.files.forget()
            if self._lock is not None:
                self._lock.close()
            self._reset()

    def others(self) -> list[str]:
        """Return the directories of other processes, dead or alive; none if they can't be seen."""
        try:
            return [
                os.path.join(self.service, name)
                for name in self.files.names(self.service)
                if _PROCESS.fullmatch(name) and os.path.join(self.service, name) != self.path
            ]
        except (OSError, ValueError):
            return []

    @contextmanager
    def claim(self, path: str) -> Iterator[list[str]]:
        """Hold a dead process's directory for a moment; yields the names in it, none if someone lives there.

        The signals of a process take turns, or one would take another's hold for somebody alive.
        """
        with self._claims:
            descriptor = self._claimed(path)
            try:
                yield [] if descriptor is None else self.files.names(path)
            finally:
                if descriptor is not None:
                    self._tidy(path)
                    self.files.unlock(descriptor)

    def _claimed(self, path: str) -> int | None:
        self._check(self.root, also_root=True)
        self._check(self.service)
        self._check(path)
        if not self.files.names(path):  # its maker died, or has just begun and will notice
            self.files.remove_directory(path)
            return None
        return self._locked(path)

    def _tidy(self, path: str) -> bool:
        """Move what was refused to where people find it, and remove the directory if no segments are left.

        Return whether it is removed; if that fails, an empty one stays, which the next process removes.
        """
        try:
            names = self.files.names(path)
            for name in names:
                if _REFUSED.fullmatch(name):
                    self.files.rename(os.path.join(path, name), os.path.join(self.service, name))
            if all(name == _LOCK or _REFUSED.fullmatch(name) or _STATUS.fullmatch(name) for name in names):
                for name in filter(_STATUS.fullmatch, names):
                    self.files.unlink(os.path.join(path, name))
                self.files.unlink(os.path.join(path, _LOCK))
                self.files.remove_directory(path)
                return True
        except OSError:
            pass
        return False

    def _is_there(self) -> bool:
        """Tell whether the directory is made, locked and not removed; raises OSError if that can't be told."""
        if not self.path:
            return False
        if self._lock is not None:
            if self._lock.is_linked() and self._exists():
                return True
            self.files.unlock(self._lock.descriptor)
            self._lock = None
        descriptor = self._locked(self.path)  # only the lock may have gone, and the segments be there still
        if descriptor is None:
            self.path = ""
            return False
        self._lock = self._handle(descriptor)
        return True

    def _exists(self) -> bool:
        try:
            self.files.status(os.path.join(self.path, _LOCK))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def prepare(self) -> None:
        """Make the directory of the service; raises OSError, also if it is not safely ours."""
        self._ensure(self.root)
        self._ensure(self.service)

    def _make(self) -> None:
        self.prepare()
        for _ in range(_ATTEMPTS):
            path = os.path.join(self.service, f"{os.getpid()}-{secrets.token_hex(4)}")
            self.files.make_directory(path)
            try:
                descriptor = self._locked(path)
            except OSError:
                self._tidy(path)
                raise
            if descriptor is not None:
                self._lock = self._handle(descriptor)
                self.path = path
                return
        raise OSError(f"directories in {self.service} vanish as soon as they are made")

    def _handle(self, descriptor: int) -> Handle:
        try:
            return Handle(self.files, descriptor)
        except OSError:
            self.files.unlock(descriptor)
            raise

    def _locked(self, path: str) -> int | None:
        """Lock a directory; None if someone has it, or removed it before it was locked."""
        try:
            descriptor = self.files.lock(os.path.join(path, _LOCK))
        except FileNotFoundError:
            return None
        if descriptor is None:
            return None
        try:
            if self.files.about(descriptor).links:
                return descriptor
        except OSError:
            self.files.unlock(descriptor)
            raise
        self.files.unlock(descriptor)
        return None

    def _ensure(self, path: str) -> None:
        try:
            self.files.status(path)
        except FileNotFoundError:
            self.files.make_parents(path)
        self._check(path, also_root=path == self.root)

    def _check(self, path: str, *, also_root: bool = False) -> None:
        """Raise if someone else could read or write what is put there.

        Only the root may be root's or writable for others, as a temporary directory or a mounted volume is.
        """
        status = self.files.status(path)
        if stat.S_ISLNK(status.st_mode):
            raise Untrusted(f"{path} is a symbolic link")
        if not stat.S_ISDIR(status.st_mode):
            raise Untrusted(f"{path} is not a directory")
        if status.st_uid != self.files.user() and not (also_root and status.st_uid == 0):
            raise Untrusted(f"{path} belongs to another user (uid {status.st_uid})")
        if not also_root and status.st_mode & 0o022:
            raise Untrusted(f"{path} can be written to by other users")


def service_slug(service: str) -> str:
    """Return the name of a service as the name of a directory: different services, different directories."""
    slug = re.sub(r"[^a-z0-9._-]+", "-", service.lower()).strip("-.")[:60] or "service"
    return slug if slug == service else f"{slug}-{blake2s(service.encode(errors='replace'), digest_size=4).hexdigest()}"
