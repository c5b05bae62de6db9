"""A program that makes numbered spans, log records and counts at a steady rate: ``emitter.py RATE [resolver file]``.

At SIGUSR1 it stops making them and says ``emitted N``; at the second one it says its accounts and ends. The resolver
file decides what becomes of look-ups of host names: ``ok``, ``fails`` or ``hangs``.
"""

from __future__ import annotations

import json
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry import metrics, trace

from tests.numbered import NUMBER

TICK = 0.01
LATE = 0.1
"""Seconds by which it may fall behind; what a machine that stood still longer than that has missed is not made up for
in one burst, which would be another test."""


def emit(rate: float, is_over: Callable[[], bool]) -> tuple[int, float]:
    """Make `rate` records a second of each signal until `is_over`; return how many, and the longest that one took."""
    tracer, log = trace.get_tracer("emitter"), logging.getLogger("emitter")
    log.propagate = True
    counter = metrics.get_meter("emitter").create_counter("test.emitted")
    made, longest, started = 0, 0.0, time.monotonic()
    while not is_over():
        started = max(started, time.monotonic() - made / rate - LATE)
        due = int((time.monotonic() - started) * rate)
        for number in range(made, due):
            before = time.perf_counter()
            with tracer.start_as_current_span("numbered", attributes={NUMBER: number}):
                log.warning("number %d", number, extra={NUMBER: number})
            counter.add(1)
            longest = max(longest, time.perf_counter() - before)
        made = due
        time.sleep(TICK)
    return made, longest


def resolve_as(file: Path) -> None:
    """Have look-ups of names other than this machine's behave as `file` says."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **named: Any) -> Any:
        if host != "backend.test":
            return real(host, *arguments, **named)
        if file.read_text() == "fails":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        while file.read_text() == "hangs":
            time.sleep(0.05)
        return real("127.0.0.1", *arguments, **named)

    socket.getaddrinfo = getaddrinfo


def main() -> None:
    """Emit, and say what was emitted."""
    signals: list[int] = []  # no Event: its lock may be held by the very thread that the signal interrupts
    logging.getLogger().addHandler(logging.NullHandler())
    signal.signal(signal.SIGUSR1, lambda number, frame: signals.append(number))
    if len(sys.argv) > 2:
        resolve_as(Path(sys.argv[2]))
    print("ready", flush=True)
    emitted, longest = emit(float(sys.argv[1]), lambda: len(signals) > 0)
    print(f"emitted {emitted} longest {longest:.6f}", flush=True)
    while len(signals) < 2:
        time.sleep(TICK)
    print(f"accounts {json.dumps(settled())}", flush=True)


def settled(within: float = 5.0) -> dict[str, Any]:
    """Return the accounts as soon as nothing is held; after `within` seconds, as they are."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        found = accounts()
        if not any(account["held"] for account in found.values()):
            return found
        time.sleep(0.01)
    return accounts()


def accounts() -> dict[str, Any]:
    """Return the accounts of this process by signal."""
    import gc

    from otel_forge.delivery.accounts import Accounts

    [found] = [thing for thing in gc.get_objects() if isinstance(thing, Accounts)]
    return {
        name: {
            "created": column.created,
            "delivered": column.delivered,
            "held": column.held,
            "dropped": {str(reason): items for reason, items in column.dropped.items()},
        }
        for name, column in ((name, getattr(account, "items", account)) for name, account in found.read().items())
    }


if __name__ == "__main__":
    main()
