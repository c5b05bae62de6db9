"""H3 with all defaults: ``python -m tests.monitor.long_deadlock`` (about three minutes).

A deadlock of all threads of gunicorn's gthread worker, and of its sync worker: how long until another process answers.
Then requests of 20 s in every thread for a minute: no restart.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.monitor.sick import SickServer
from tests.programs import Programs

_WORKERS = {"gthread": ("--worker-class", "gthread", "--threads", "3"), "sync": ()}


def main() -> None:
    """Run both, and say what came of it."""
    for name, options in _WORKERS.items():
        with tempfile.TemporaryDirectory() as folder, Programs(Path(folder)) as programs:
            server = SickServer(programs, *options, options=())
            sick, began = server.pid(), time.monotonic()
            server.send("/deadlock", times=3 if name == "gthread" else 1, timeout=120)
            server.another_pid_than(sick, timeout=60)
            print(f"{name}: another process answers {time.monotonic() - began:.1f} s after the deadlock", flush=True)
            server.close()
    with tempfile.TemporaryDirectory() as folder, Programs(Path(folder)) as programs:
        server = SickServer(programs, *_WORKERS["gthread"], options=())
        for _ in range(3):
            server.send("/sleep/20.0", times=3, timeout=120)
            time.sleep(20)
        print(f"requests of 20 s for a minute: {len(server.restarts())} restarts", flush=True)
        server.close()


if __name__ == "__main__":
    main()
