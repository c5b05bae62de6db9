"""Host names to addresses, off the delivery thread: the operating system's lookup can hang and can't be cut short."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, Thread
from typing import Any

from otel_forge.delivery.patience import Patience

Address = tuple[Any, ...]
"""Family, kind, protocol, canonical name and address, as ``socket.getaddrinfo`` returns them."""

Resolve = Callable[[str, int], Sequence[Address]]


def resolve_by_system(host: str, port: int) -> Sequence[Address]:
    """Return the addresses of `host` as the operating system knows them; raises OSError."""
    return socket.getaddrinfo(_encoded(host), port, type=socket.SOCK_STREAM)


def _encoded(host: str) -> str | bytes:
    """Return a host as `getaddrinfo` takes it without a codec; as text where the application has put its own function.

    The codec takes 7 ms to import when it is first used. In a process that is forked meanwhile, as by gunicorn's
    master, the lock of that import would never be free again, and the first request that needs the codec would hang.
    """
    is_original = getattr(socket.getaddrinfo, "__module__", "") == "socket"
    return host.encode() if is_original and host.isascii() else host


class Lookup:
    """Looks up the addresses of one host; an answer serves one connection, so that a move of the host is noticed.

    A lookup that hangs goes on in its thread; the next request waits for the same one.
    """

    def __init__(self, resolve: Resolve = resolve_by_system) -> None:
        self._resolve = resolve
        self._pending: _Pending | None = None

    def addresses(self, host: str, port: int, patience: Patience) -> Sequence[Address]:
        """Return the addresses of `host`; raises OSError, of which DeadlinePassed is one."""
        with suppress(OSError):
            return socket.getaddrinfo(_encoded(host), port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        pending = self._pending
        if pending is None or pending.pid != os.getpid():  # a forked child has not the thread that looks it up
            pending = self._pending = _Pending(lambda: self._resolve(host, port))
        patience.set(pending.done)
        self._pending = None
        return pending.result()


class _Pending:
    """A lookup on its way."""

    def __init__(self, look_up: Callable[[], Sequence[Address]]) -> None:
        self.pid = os.getpid()
        self.done = Event()
        self._look_up = look_up
        self._found: Sequence[Address] = ()
        self._error: Exception | None = None
        try:
            Thread(target=self._run, name="otel-forge-lookup", daemon=True).start()
        except RuntimeError:  # no thread can be had any more, as when the interpreter goes down
            self._run()

    def _run(self) -> None:
        try:
            self._found = self._look_up()
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error
        self.done.set()

    def result(self) -> Sequence[Address]:
        if self._error is not None:
            raise self._error
        return self._found
