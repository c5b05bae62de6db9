"""An application with health routes, for every kind of server; what it depends on is said by the environment.

``BLACK_HOLE`` is a port that takes connections and never answers: database and image server are there then.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import time

from flask import Flask, request

from otel_forge import health
from otel_forge.web.health import HealthRoutes

app = Flask("probed")
HealthRoutes(app)
BLACK_HOLE = os.environ.get("BLACK_HOLE", "")


def connect() -> None:
    """Open a connection of a database driver, which begins with a greeting of the server."""
    with socket.create_connection(("127.0.0.1", int(BLACK_HOLE))) as connection:
        connection.recv(1)


if BLACK_HOLE:
    health.check("database", connect)
    health.check("imageServer", health.http(f"http://127.0.0.1:{BLACK_HOLE}/health", timeout=60), required=False)


@health.check("loop", required=False)
async def loop() -> None:
    """Run on an event loop, and say so."""
    await asyncio.sleep(0.01)
    print(f"checked in {os.getpid()}", file=sys.stderr, flush=True)


@health.check("second_loop", required=False)
async def second_loop() -> None:
    """Run on another one at the same time."""
    await asyncio.sleep(0.01)


@app.get("/work")
def work() -> str:
    """Take as many milliseconds as asked for; answer with the process id."""
    time.sleep(float(request.args.get("ms", "0")) / 1000)
    return str(os.getpid())


@app.get("/threads")
def threads() -> dict[str, int]:
    """Tell how many threads of ours there are."""
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("otel-forge health")]
    return {"ours": len(ours)}
