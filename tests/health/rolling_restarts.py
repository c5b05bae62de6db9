"""Rolling restarts under load.

``python -m tests.health.rolling_restarts [--rounds 100] [--kind gthread] [--drain 1]`` prints how many requests were
answered, how many failed and how; it ends with status 1 if any did. With ``--drain 0`` it shows what a plain SIGTERM
costs behind a load balancer.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.health.fleet import Balancer, Instance, Users, roll
from tests.processes.servers import bin_of_servers
from tests.programs import Programs

KINDS = ("sync", "gthread", "gevent")


def rolled(programs: Programs, bin_folder: Path, kind: str, rounds: int, drain: str, users: int = 4) -> Balancer:
    """Return the balancer of two instances, after `rounds` restarts under load."""
    instances = [
        Instance(
            programs,
            kind,
            bin_folder=bin_folder,
            options=("--workers=2",),
            environ={"OTEL_FORGE_HEALTH_DRAIN": drain, "OTEL_FORGE_HEALTH_TIMEOUT": "20"},
        )
        for _ in range(2)
    ]
    with Balancer(instances) as balancer:
        for instance in instances:
            instance.start()
        for instance in instances:
            balancer.wait_until_ready(instance)
        with Users(balancer, users):
            roll(instances, balancer, rounds)
    for instance in instances:
        instance.signal(signal.SIGQUIT)  # without a drain
    return balancer


def main(arguments: list[str]) -> int:
    """Run as the command line says; return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--drain", default="1")
    given = parser.parse_args(arguments)
    failed = 0
    for kind in given.kind or KINDS:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder, Programs(Path(folder)) as programs:
            balancer = rolled(programs, bin_of_servers(), kind, given.rounds, given.drain)
        failed += len(balancer.failures)
        print(
            f"{kind}, drain {given.drain} s: {given.rounds} restarts in {time.monotonic() - started:.0f} s, "
            f"{balancer.succeeded} requests answered, {balancer.tried_elsewhere} tried elsewhere, "
            f"{len(balancer.failures)} failed {dict(Counter(balancer.failures)) or ''}",
            flush=True,
        )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
