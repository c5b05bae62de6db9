"""The long run of the state machine: ``python -m tests.delivery.spool.long_machine [steps]``, by default 20,000.

Every run draws new ones; a failure is printed as the shortest program that shows it, and the exit status is 1.
"""

from __future__ import annotations

import sys
import time

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.delivery.spool import machine


def main(wanted: int) -> None:
    """Run until `wanted` steps were made, and print how many there were in what time."""
    thorough = settings(
        max_examples=100,
        stateful_step_count=100,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    started = time.monotonic()
    while machine.steps["all"] < wanted:
        run_state_machine_as_test(machine.SpoolMachine, settings=thorough)
        print(f"{machine.steps} in {time.monotonic() - started:.0f} s: the model and the spool agree", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
