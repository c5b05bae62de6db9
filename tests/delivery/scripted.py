"""A TCP server that answers requests by a script, byte for byte, and keeps what it received."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

Behaviour = Callable[[socket.socket, Event], None]
"""Does with a connection, after a whole request was read, whatever it likes."""


@dataclass
class Seen:
    """A request: request line and headers in one text, and the body."""

    head: str
    body: bytes
    connection: int


@dataclass
class Scripted:
    """The requests so far, in order, and how many connections were opened."""

    url: str
    requests: list[Seen] = field(default_factory=list)
    connections: int = 0


def answer(status: str = "200 OK", body: bytes = b"", headers: Sequence[str] = (), keep: bool = True) -> Behaviour:
    """Return a proper answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    if not keep:
        lines.append("Connection: close")
    return raw(("\r\n".join(lines) + "\r\n\r\n").encode() + body, close=not keep)


def raw(data: bytes, *, close: bool = False) -> Behaviour:
    """Return an answer of these very bytes."""

    def send(connection: socket.socket, ending: Event) -> None:
        connection.sendall(data)
        if close:
            connection.close()

    return send


def hang(connection: socket.socket, ending: Event) -> None:
    """Never answer."""
    ending.wait(60)


def trickle(connection: socket.socket, ending: Event) -> None:
    """Send a byte of the answer every twentieth of a second."""
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n" + b"x" * 600:
        if ending.wait(0.05):
            return
        try:
            connection.sendall(bytes([byte]))
        except OSError:
            return


def reset(connection: socket.socket, ending: Event) -> None:
    """Break the connection off."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()


@contextmanager
def scripted(*behaviours: Behaviour, context: ssl.SSLContext | None = None) -> Iterator[Scripted]:
    """Serve on a free port; the n-th request gets the n-th behaviour, and the last one stays."""
    listener = socket.create_server(("127.0.0.1", 0))
    scheme = "http" if context is None else "https"
    server = Scripted(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")
    ending = Event()

    def serve(connection: socket.socket, number: int) -> None:
        try:
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            while not ending.is_set() and (seen := _read(connection, number)) is not None:
                server.requests.append(seen)
                behaviours[min(len(server.requests), len(behaviours)) - 1](connection, ending)
        except OSError:
            pass
        finally:
            connection.close()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            server.connections += 1
            Thread(target=serve, args=(connection, server.connections), daemon=True).start()

    Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        ending.set()
        listener.close()


def _read(connection: socket.socket, number: int) -> Seen | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    length = next(
        (int(line.split(":")[1]) for line in text.split("\r\n") if line.lower().startswith("content-length")), 0
    )
    while len(body) < length:
        body += connection.recv(65536)
    return Seen(text, body, number)


def eventually(condition: Callable[[], object], timeout: float = 10.0) -> None:
    """Wait until `condition` holds; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("did not come true in time")
        time.sleep(0.005)
