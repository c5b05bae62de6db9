"""How long a probe takes while every dependency hangs: ``python -m tests.health.measure_probes [probes]``.

A real gunicorn (gthread, one worker) on loopback; prints the percentiles of each probe, in
milliseconds, and the threads of ours after it.
"""

from __future__ import annotations

import http.client
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.health.build import wait_for
from tests.health.fleet import Instance
from tests.health.holes import BlackHole
from tests.programs import Programs, get

PATHS = ("/live", "/ready", "/startup", "/api/health")


def main(probes: int) -> int:
    """Print the percentiles; return 1 if the 99th of any probe is above 5 ms."""
    is_fine = True
    with tempfile.TemporaryDirectory() as folder, Programs(Path(folder)) as programs, BlackHole() as hole:
        quick = {"OTEL_FORGE_HEALTH_INTERVAL": "0.5", "OTEL_FORGE_HEALTH_TIMEOUT": "0.3"}
        instance = Instance(programs, "gthread", environ={"BLACK_HOLE": str(hole.port), **quick})
        instance.start()
        wait_for(lambda: get(f"{instance.url}/ready")[0] == 503, 60)
        connection = http.client.HTTPConnection("127.0.0.1", instance.port)
        for path in PATHS:
            taken = sorted(_seconds(connection, path) for _ in range(probes // len(PATHS)))
            median, p99, worst = (taken[int(share * (len(taken) - 1))] * 1000 for share in (0.5, 0.99, 1))
            is_fine &= p99 <= 5
            print(f"{path}: median {median:.2f} ms, p99 {p99:.2f} ms, worst {worst:.2f} ms", flush=True)
        ours = json.loads(get(f"{instance.url}/threads")[1])["ours"]
        print(f"{ours} threads of ours for 4 checks, of which 2 hang; {hole.connections} calls of those two")
    return int(not is_fine)


def _seconds(connection: http.client.HTTPConnection, path: str) -> float:
    started = time.perf_counter()
    connection.request("GET", path)
    connection.getresponse().read()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
