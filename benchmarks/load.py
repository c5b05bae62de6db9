"""The load generator: a process of its own with one thread, raw connections that are kept, and no library.

Full load: every connection asks again at once. Paced: requests are due at fixed times, whether or not the server
keeps up, and latency counts from when a request was due (so a stall is not hidden by waiting for it).
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import deque
from typing import Any

from benchmarks.spread import percentile
from benchmarks.subject import control
from benchmarks.subject.requests_by_kind import Kind, kind_named, raw_request

_GRACE = 20.0


class Connection:
    """One connection; `asked` is when its open request was due, 0 when it has none."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.asked = 0.0
        self.read = b""

    def answer(self) -> int:
        """Read what is there; return the status of a response that is complete, or 0."""
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionError("the server closed a connection that had a request open")
        self.read += part
        end = self.read.find(b"\r\n\r\n")
        if end < 0:
            return 0
        begins = self.read.lower().find(b"content-length:", 0, end)
        length = int(self.read[begins + 15 : self.read.find(b"\r\n", begins)])
        if len(self.read) < end + 4 + length:
            return 0
        status = int(self.read[9:12])
        self.read = b""
        return status


class Run:
    """One run against one server."""

    def __init__(self, port: int, kind: Kind, connections: int) -> None:
        self._kind = kind
        self._requests = [raw_request(kind, number) for number in range(1000)]
        self._selector = selectors.DefaultSelector()
        self._connections = [Connection(port) for _ in range(connections)]
        self._number = 0
        self.latencies: list[float] = []
        self.wrong = 0
        for connection in self._connections:
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def full(self, seconds: float) -> float:
        """Ask as fast as the server answers; return how long it took until the last answer."""
        started = time.perf_counter()
        ending = started + seconds
        for connection in self._connections:
            self._ask(connection, time.perf_counter())
        while any(connection.asked for connection in self._connections):
            for connection in self._answered(_GRACE):
                if time.perf_counter() < ending:
                    self._ask(connection, time.perf_counter())
        return time.perf_counter() - started

    def paced(self, seconds: float, rate: float) -> float:
        """Ask `rate` times a second at even distances; return how long it took until the last answer."""
        started = time.perf_counter()
        due = deque(started + number / rate for number in range(int(seconds * rate)))
        idle = deque(self._connections)
        while due or len(idle) < len(self._connections):
            now = time.perf_counter()
            while due and idle and due[0] <= now:
                self._ask(idle.popleft(), due.popleft())
            wait = max(0.0, due[0] - now) if due and idle else _GRACE
            idle.extend(self._answered(wait, may_be_none=bool(due and idle)))
        return time.perf_counter() - started

    def close(self) -> None:
        """Close all connections."""
        self._selector.close()
        for connection in self._connections:
            connection.socket.close()

    def _ask(self, connection: Connection, due: float) -> None:
        connection.asked = due
        connection.socket.sendall(self._requests[self._number % len(self._requests)])
        self._number += 1

    def _answered(self, wait: float, *, may_be_none: bool = False) -> list[Connection]:
        ready = self._selector.select(wait)
        if not ready and not may_be_none:
            raise TimeoutError(f"no answer within {_GRACE:.0f} s")
        done = []
        for key, _ in ready:
            connection: Connection = key.data
            if status := connection.answer():
                self.latencies.append(time.perf_counter() - connection.asked)
                self.wrong += status != self._kind.status
                connection.asked = 0.0
                done.append(connection)
        return done


def handle(command: dict[str, Any]) -> dict[str, Any]:
    """Carry out one run: `port`, `kind`, `connections`, `seconds`, and `rate` (0: full load)."""
    run = Run(command["port"], kind_named(command["kind"]), command["connections"])
    try:
        rate = command["rate"]
        took = run.paced(command["seconds"], rate) if rate else run.full(command["seconds"])
    finally:
        run.close()
    ordered = sorted(run.latencies)
    return {
        "requests": len(ordered),
        "wrong": run.wrong,
        "throughput": len(ordered) / took,
        "p50_ms": percentile(ordered, 0.50) * 1e3,
        "p99_ms": percentile(ordered, 0.99) * 1e3,
        "latencies_ms": [latency * 1e3 for latency in ordered],
    }


if __name__ == "__main__":
    control.serve(handle)
