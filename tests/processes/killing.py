"""What a SIGKILL costs: ``python -m tests.processes.killing [rounds]``, by default 20 for each case.

A real program makes 200 numbered spans and log records a second and is killed at random points; the next one delivers
what it left. What is missing then was in memory alone; it is shown in records and as time before the kill.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from statistics import median

from tests import faults
from tests.delivery.test_faults import CHECKOUT, INSTRUMENT
from tests.faults import Fault, FaultProxy
from tests.numbered import NumberedReceiver
from tests.processes import ending
from tests.programs import Programs

BETWEEN = 0.005
CASES: list[tuple[str, Fault]] = [
    (policy, fault) for policy in ("always", "interval", "never") for fault in (faults.healthy, faults.refuse)
]


def lost_in_one_kill(folder: Path, policy: str, fault: Fault, seconds: float) -> tuple[int, int]:
    """Return how many of the spans and log records that a program reported as made never arrived, the larger of the
    two, and how many were made."""
    with (
        NumberedReceiver() as receiver,
        FaultProxy(receiver.url) as proxy,
        Programs(folder) as programs,
    ):
        settings = {
            "PYTHONPATH": str(CHECKOUT),
            "OTEL_SERVICE_NAME": "killed",
            "OTEL_FORGE_PIPELINE": "lean",
            "OTEL_EXPORTER_OTLP_ENDPOINT": proxy.url,
            "OTEL_FORGE_SPOOL_DIR": str(folder / "spool"),
            "OTEL_FORGE_SPOOL_FSYNC": policy,
        }
        proxy.be(fault)
        program = programs.start(INSTRUMENT, "python", str(ending.__file__), "goes on", "0", str(BETWEEN), **settings)
        program.wait_for_output("made 200\n")
        time.sleep(seconds)  # the random point at which it is killed
        os.kill(program.pid, signal.SIGKILL)
        program.wait(10)
        made = 1 + max(int(line.split()[1]) for line in program.out.splitlines() if line.startswith("made "))
        proxy.be(faults.healthy)
        heir = programs.start(INSTRUMENT, "python", str(ending.__file__), "exit", "1000000", **settings)
        heir.wait(30)
        receiver.wait_for(
            lambda _: not receiver.tally.missing("traces", range(1_000_000, 1_000_000 + ending.LAST_BATCH))
        )
        return max(len(receiver.tally.missing(name, range(made))) for name in ("traces", "logs")), made


def main(rounds: int) -> int:
    """Print what was lost in each case; return 1 if it was a second's records or more, or anything with `always`."""
    random, is_fine = Random(), True
    for policy, fault in CASES:
        lost = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                lost.append(lost_in_one_kill(Path(folder), policy, fault, random.random())[0])
        worst = max(lost)
        is_fine &= worst * BETWEEN < 1.0 and (policy != "always" or worst == 0)
        print(
            f"{policy}, {fault.__name__}: {rounds} kills, median {median(lost):.0f} lost "
            f"({median(lost) * BETWEEN:.2f} s), worst {worst} ({worst * BETWEEN:.2f} s)",
            flush=True,
        )
    return int(not is_fine)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
