"""A web application that can be made sick in every way the monitor knows, for real servers."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from flask import Flask

app = Flask("sick")
_held = threading.Lock()
_held.acquire()
_eaten: list[bytearray] = []
_silent, _other_end = socket.socketpair()
_pool = ThreadPoolExecutor(8)


@app.get("/live")
def live() -> str:
    """Be alive."""
    return "alive"


@app.get("/ready")
def ready() -> tuple[str, int]:
    """Lack something."""
    return "the database is down", 503


@app.get("/pid")
def pid() -> str:
    """Say which process answers."""
    return str(os.getpid())


@app.get("/deadlock")
def deadlock() -> str:
    """Wait for a lock that nobody gives back."""
    wait_for_ever()
    return "never"


def wait_for_ever() -> None:
    """Hold up the thread."""
    _held.acquire()  # the stuck line


@app.get("/block")
def block() -> str:
    """Stop the whole thread, also that of an event loop: gevent knows nothing of this call."""
    return str(os.read(os.pipe()[0], 1))


@app.get("/upstream")
def upstream() -> str:
    """Wait for an answer of somebody who never gives one."""
    return str(_silent.recv(1))


@app.get("/pooled")
def pooled() -> str:
    """Have another thread wait for such an answer."""
    return _pool.submit(upstream).result()


@app.get("/sleep/<float:seconds>")
def sleep(seconds: float) -> str:
    """Take that long."""
    time.sleep(seconds)
    return "slept"


@app.get("/compute/<float:seconds>")
def compute(seconds: float) -> str:
    """Hold the interpreter for as long as it lets one."""
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        number = sum(range(1000))
    return str(number)


@app.get("/eat/<int:megabytes>")
def eat(megabytes: int) -> str:
    """Take memory, and keep it."""
    _eaten.append(bytearray(os.urandom(1)) * (megabytes << 20))
    return "eaten"
