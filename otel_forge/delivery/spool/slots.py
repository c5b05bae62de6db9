"""Which worker of a service a process is: the lowest number that no other one has, held by a lock until it ends.

The worker that comes in place of one that was recycled, restarted or killed has its number, so `service.instance.id`
stays the same, and with it the series of a back end. The lock is a record lock, which a forked child does not inherit.
"""

from __future__ import annotations

import os
import secrets
import uuid

from otel_forge.delivery.spool.handle import Handle
from otel_forge.delivery.spool.ownership import SpoolDirectory

MOST_SLOTS = 1024
"""Processes of one service in one place; any more have an id that is theirs alone."""

_SEED, _SEED_SIZE = "seed", 32


class Slot:
    """The number of this process among those of its service that share a spool directory."""

    def __init__(self, directory: SpoolDirectory | None) -> None:
        self._directory = directory
        self._lock: Handle | None = None

    def instance_id(self) -> str:
        """Take a slot and return the id that goes with it; a random one where there is no place for locks."""
        if self._directory is not None:
            try:
                return self._of_slot(self._directory)
            except OSError:  # read-only, no locks, not ours: as without a directory
                pass
        return str(uuid.uuid4())

    def become_child(self) -> None:
        """Let go of what is the parent's, in a forked child."""
        if self._lock is not None and self._directory is not None:
            self._directory.files.forget()
            self._lock.close()
            self._lock = None

    def leave(self) -> None:
        """Give the number to others."""
        if self._lock is not None and self._directory is not None:
            self._directory.files.unlock(self._lock.descriptor)
            self._lock = None

    def _of_slot(self, directory: SpoolDirectory) -> str:
        directory.prepare()
        number = self._take(directory)
        if number is None:
            raise OSError("all numbers are taken")
        host = os.uname().nodename  # or copies of a disk, seed included, would be one
        return str(uuid.uuid5(uuid.UUID(bytes=self._seed(directory)), f"{host}/{directory.service_name}/{number}"))

    def _take(self, directory: SpoolDirectory) -> int | None:
        for number in range(MOST_SLOTS):
            descriptor = directory.files.lock(os.path.join(directory.service, f"slot-{number}"))
            if descriptor is not None:
                self._lock = Handle(directory.files, descriptor)
                return number
        return None

    @staticmethod
    def _seed(directory: SpoolDirectory) -> bytes:
        """Return random bytes that are the same for all processes of this user in this place."""
        files = directory.files
        path = os.path.join(directory.root, f"{_SEED}-{files.user()}")
        for _ in range(2):
            try:
                handle = Handle.opened(files, files.open(path, writable=False))
                try:
                    found = handle.read(_SEED_SIZE, 0)
                finally:
                    handle.close()
                return uuid.UUID(found.decode("ascii")).bytes
            except (FileNotFoundError, ValueError):  # not there yet, or damaged
                _make_seed(directory, path)
        raise OSError(f"{path} vanishes")


def _make_seed(directory: SpoolDirectory, path: str) -> None:
    """Put the file there as a whole; where two do so at once for the first time, the one that comes last stays."""
    files = directory.files
    draft = f"{path}.{os.getpid()}-{secrets.token_hex(4)}"
    handle = Handle.opened(files, files.create(draft))
    try:
        handle.write((secrets.token_hex(16).encode(),), 0)
    finally:
        handle.close()
    files.rename(draft, path)
