"""Run a command that ends when the process that started it ends, even by ``kill -9`` (on Linux).

``python -m asset_forge.demo.leash PARENT_PID command …`` asks the kernel for a SIGTERM on the parent's death
and becomes the command; the request survives the exec. Elsewhere than on Linux it only becomes the command.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def tie_to_parent(parent_pid: int) -> bool:
    """Ask for SIGTERM when the parent dies; returns False if it is dead already."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    return os.getppid() == parent_pid


def main() -> None:
    """Tie this process to its parent and become the command."""
    parent_pid, command = int(sys.argv[1]), sys.argv[2:]
    if not tie_to_parent(parent_pid):
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
