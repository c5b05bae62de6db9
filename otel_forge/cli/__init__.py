"""The command `otel-forge`."""

from __future__ import annotations

import sys


def main() -> None:
    """Carry out the command line.

    ``run`` goes straight to the launcher: every start of the user's program waits for it, and importing the other
    commands takes longer than all that the launcher does.
    """
    if sys.argv[1:2] == ["run"]:
        from otel_forge import launcher

        sys.exit(launcher.main(sys.argv[2:]))
    from otel_forge.cli.commands import main as commands

    commands()
