"""A dependency that hangs: connections are made, and nothing ever comes back."""

from __future__ import annotations

import socket
from contextlib import AbstractContextManager, suppress
from threading import Event, Thread


class BlackHole(AbstractContextManager["BlackHole"]):
    """Listens on `port`, takes every connection and reads nothing; `connected` is set by the first one."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listening.getsockname()[1]
        self.connected = Event()
        self._kept: list[socket.socket] = []
        Thread(target=self._accept, daemon=True).start()

    @property
    def connections(self) -> int:
        """How many connections there were."""
        return len(self._kept)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._kept.append(self._listening.accept()[0])
                self.connected.set()

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._kept:
            connection.close()
