"""A `docker` that writes down how it was called and answers like compose, for an imagined set of containers."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

home = Path(os.environ["FAKE_DOCKER_HOME"])
arguments = sys.argv[1:]
kept = {name: value for name, value in os.environ.items() if name.startswith("OTEL_FORGE_")}
with (home / "calls").open("a") as calls:
    calls.write(json.dumps({"arguments": arguments, "environment": kept}) + "\n")

if arguments[0] == "version":
    if (home / "no-daemon").exists():
        sys.exit("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")
    print("28.2.2")
    sys.exit(0)
if arguments[1] == "version":
    if (home / "no-compose").exists():
        sys.exit("docker: 'compose' is not a docker command.")
    print("Docker Compose version v5.6.1")
    sys.exit(0)

SERVICES = ("collector", "prometheus", "loki", "tempo", "alertmanager", "grafana")
running = home / "running"
verb = arguments[5]
if verb == "up":
    if (home / "broken").exists():
        print("container otel-forge-loki-1 is unhealthy", file=sys.stderr)
        sys.exit(1)
    running.touch()
elif verb == "down":
    running.unlink(missing_ok=True)
elif verb == "ps" and running.exists():
    for service in (*SERVICES, "collector-volume"):
        health = "unhealthy" if (home / "sick").exists() and service == "loki" else "healthy"
        row = {"ID": service[:4], "Service": service, "State": "running", "Health": health, "Status": f"Up ({health})"}
        if service == "collector-volume":
            row.update({"State": "exited", "Health": ""})
        print(json.dumps(row))
elif verb == "logs":
    print("loki-1  | level=info msg=fine")
    print('loki-1  | level=error msg="no disk"')
