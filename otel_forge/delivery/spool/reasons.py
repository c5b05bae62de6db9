"""Why the file system refused, in words for people."""

from __future__ import annotations

import errno
import os

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the user's disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EMFILE: "the process has too many open files",
    errno.ENFILE: "the system has too many open files",
    errno.EIO: "the disk reports an input/output error",
    errno.ENOENT: "the directory was removed",
    errno.ENOLCK: "the file system has no locks",
}


def reason(error: Exception, path: str) -> str:
    """Return what went wrong at `path`; an error that has no number says it itself."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    return f"{_REASONS.get(error.errno, os.strerror(error.errno))} ({path})"
