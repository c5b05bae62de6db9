"""The service that the ``upstream`` request asks: answers everything at once with the same few bytes."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from benchmarks.subject import control

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\npreview"


class Answering(asyncio.Protocol):
    """One connection, kept alive; requests have no body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request in `data`."""
        self._transport.write(_ANSWER * data.count(b"\r\n\r\n"))


def main() -> None:
    """Serve, and tell the harness where."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(Answering, "127.0.0.1", 0))
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    threading.Thread(target=loop.run_forever, daemon=True).start()
    control.serve(lambda _: {"address": address})


if __name__ == "__main__":
    main()
