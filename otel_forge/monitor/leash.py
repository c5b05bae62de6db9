"""Becomes a command that is asked to end (SIGTERM) when the process that started it dies, even by ``kill -9`` (Linux).

Run as a file, ``python -I -S leash.py PARENT_PID COMMAND…``: without site packages it takes a few milliseconds, and the
command's own environment is as it was. A ``preexec_fn`` would do the same, but is not safe in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_NOT_FOUND, _CANNOT_RUN = 127, 126


def main(parent: int, command: list[str]) -> int:
    """Tie this process to `parent` and become `command`; return an exit code only where that cannot be."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:  # it died before we could ask
        return 1
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and a command would inherit that
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - what the user has asked for
    except OSError as error:
        sys.stderr.write(f"otel-forge watch: {command[0]!r} cannot be run ({error.strerror}).\n")
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _CANNOT_RUN


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
