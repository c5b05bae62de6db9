"""A program that makes numbered records and ends in some way: ``ending.py WAY FIRST [seconds between records]``."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time

from tests.processes.parents import make

LAST_BATCH = 50


def main(way: str, first: int, between: float) -> None:
    """Make records, then end as told, right after the last one."""
    if way == "goes on":
        for number in itertools.count(first):
            make(number)
            print(f"made {number}", flush=True)
            time.sleep(between)
    for number in range(first, first + LAST_BATCH):
        make(number)
    if way == "exit":
        sys.exit(3)
    if way == "exception":
        raise ValueError("not caught")
    if way in ("SIGTERM", "SIGINT"):
        os.kill(os.getpid(), getattr(signal, way))
        time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.0)
