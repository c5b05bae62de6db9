"""An open file that notices when its descriptor is no longer its own."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from otel_forge.delivery.spool.files import Files


class Handle:
    """An open file, looked at before anything is done to it.

    Applications close descriptors that aren't theirs, when they turn into a daemon for instance, and get the same
    number for a file of their own. And people remove files: what is written to one without a name is lost.
    """

    __slots__ = ("_files", "_identity", "descriptor")

    def __init__(self, files: Files, descriptor: int) -> None:
        self._files = files
        self.descriptor = descriptor
        self._identity = files.about(descriptor).identity

    @classmethod
    def opened(cls, files: Files, descriptor: int) -> Handle:
        """Return the handle of a descriptor just opened, which is closed if that fails."""
        try:
            return cls(files, descriptor)
        except BaseException:
            files.close(descriptor)
            raise

    def is_linked(self) -> bool:
        """Tell whether this is still the file that was opened and has a name; raises OSError if that can't be told."""
        try:
            self._expect()
        except OSError as error:
            if error.errno in (errno.EBADF, errno.ENOENT):
                return False
            raise
        return True

    def write(self, parts: Sequence[bytes], offset: int) -> None:
        """Write all of `parts` from `offset` on; raises OSError, then any part of it may have been written."""
        self._expect()
        total = sum([len(part) for part in parts])
        written = self._files.write(self.descriptor, parts, offset)
        while written < total:
            more = self._files.write(self.descriptor, [b"".join(parts)[written:]], offset + written)
            if more <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written += more

    def read(self, size: int, offset: int) -> bytes:
        """Read up to `size` bytes from `offset` on."""
        self._expect(named=False)
        return self._files.read(self.descriptor, size, offset)

    def truncate(self, size: int) -> None:
        """Cut the file."""
        self._expect()
        self._files.truncate(self.descriptor, size)

    def sync(self) -> None:
        """Wait until the data are on the disk."""
        self._expect()
        self._files.sync(self.descriptor)

    def size(self) -> int:
        """Return the file's size."""
        return self._expect(named=False)

    def close(self) -> None:
        """Close the file if it is this one; never raises."""
        try:
            self._expect(named=False)
        except OSError as error:
            if error.errno == errno.EBADF:
                return
        self._files.close(self.descriptor)

    def _expect(self, *, named: bool = True) -> int:
        about = self._files.about(self.descriptor)
        if about.identity != self._identity:
            raise OSError(errno.EBADF, "the application closed a file of the spool")
        if named and not about.links:
            raise FileNotFoundError(errno.ENOENT, "a file of the spool was removed")
        return about.size
