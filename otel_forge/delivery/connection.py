"""One keep-alive connection to an HTTP server, with a deadline that holds for all of a request.

A socket's own timeout starts anew with every byte, so that a server which sends one byte a second can hold
a request for as long as it likes. Here each wait gets what is left until the deadline, from connecting and
the TLS handshake to the last byte read. Only the lookup of a host name, which the operating system does in
one call, can't be cut short.

The requests are written by hand, not by ``http.client.HTTPConnection``, whose methods other tools patch.
"""

from __future__ import annotations

import io
import os
import select
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

if TYPE_CHECKING:
    import ssl

TOLERANCE = 0.02
"""Seconds by which a deadline may be missed."""

MAX_ANSWER = 65536
"""Bytes of an answer's body that are read."""


class DeadlinePassed(TimeoutError):
    """The time for a request is over."""


@dataclass(frozen=True)
class Answer:
    """Status, reason phrase, headers and the beginning of the body of an HTTP answer."""

    status: int
    phrase: str
    headers: HTTPMessage
    body: bytes


@dataclass(frozen=True)
class Target:
    """Where requests go: the server, by way of a proxy or not."""

    url: SplitResult
    proxy: SplitResult | None = None

    @classmethod
    def of(cls, endpoint: str, proxies: Mapping[str, str], bypasses: Callable[[str], bool]) -> Target:
        """Return the target of `endpoint`; `proxies` by scheme, `bypasses` says which hosts are reached directly."""
        url = urlsplit(endpoint)
        proxy = proxies.get(url.scheme) or proxies.get("all", "")
        if not proxy or bypasses(url.netloc.rpartition("@")[2]):
            return cls(url)
        return cls(url, urlsplit(proxy if "://" in proxy else f"http://{proxy}"))

    @property
    def secure(self) -> bool:
        """Whether the server speaks TLS."""
        return self.url.scheme == "https"

    @property
    def address(self) -> str:
        """Scheme, host and port: what a person needs to see, and no credentials."""
        return f"{self.url.scheme}://{self.host}"

    @property
    def host(self) -> str:
        """The server's name as a Host header has it."""
        return self.url.netloc.rpartition("@")[2]

    @property
    def request_target(self) -> str:
        """What the request line names: the path, or the whole address if a proxy is to fetch it."""
        path = (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")
        return f"http://{self.host}{path}" if self.proxy and not self.secure else path


class Connection:
    """Sends one request after the other; not for use by several threads at a time."""

    def __init__(
        self,
        target: Target,
        context: Callable[[], ssl.SSLContext],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._context = context
        self._clock = clock
        self._socket: Any = None
        self._allowed = 0.0
        self._pid = 0

    def post(self, headers: Mapping[str, str], body: bytes, deadline: float) -> Answer:
        """Send `body` and return the answer, all before `deadline` (of the clock).

        A kept connection that turns out to be closed is replaced once. Raises OSError (of which `DeadlinePassed`
        is one) or HTTPException.
        """
        request = self._head(headers, len(body)) + body
        if self._is_usable():
            try:
                return self._exchange(request, deadline)
            except DeadlinePassed:
                raise
            except (ConnectionError, HTTPException):
                self.close()
        self._open(deadline)
        return self._exchange(request, deadline)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, request: bytes, deadline: float) -> Answer:
        try:
            self._send(request, deadline)
            answer, keep = self._receive(deadline)
        except BaseException:
            self.close()
            raise
        if not keep:
            self.close()
        return answer

    def _is_usable(self) -> bool:
        """Return whether the kept connection is this process's own and the other side has not closed it."""
        if self._socket is None:
            return False
        if self._pid == os.getpid():
            readable, _, _ = select.select([self._socket], [], [], 0)
            if not readable:  # anything to read now can only be the end
                return True
        self.close()
        return False

    def _head(self, headers: Mapping[str, str], length: int) -> bytes:
        lines = [f"POST {self._target.request_target} HTTP/1.1", f"Host: {self._target.host}"]
        if self._target.url.username and "authorization" not in map(str.lower, headers):
            lines.append(f"Authorization: {_basic(self._target.url)}")
        if self._target.proxy and not self._target.secure and self._target.proxy.username:
            lines.append(f"Proxy-Authorization: {_basic(self._target.proxy)}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines.append(f"Content-Length: {length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def _open(self, deadline: float) -> None:
        through = self._target.proxy or self._target.url
        port = through.port or (443 if through.scheme == "https" else 80)
        self._socket = self._connect(through.hostname or "", port, deadline)
        self._allowed = 0.0
        self._pid = os.getpid()
        try:
            if self._target.proxy and self._target.secure:
                self._tunnel(deadline)
            if self._target.secure:
                self._secure(deadline)
        except BaseException:
            self.close()
            raise

    def _connect(self, host: str, port: int, deadline: float) -> socket.socket:
        error: OSError = OSError(f"no address for {host}")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            candidate = socket.socket(family, kind, protocol)
            try:
                candidate.settimeout(self._left(deadline))
                candidate.connect(address)
                candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as failure:
                candidate.close()
                error = failure
            else:
                return candidate
        raise error

    def _tunnel(self, deadline: float) -> None:
        proxy = self._target.proxy
        server = f"{self._target.url.hostname}:{self._target.url.port or 443}"
        lines = [f"CONNECT {server} HTTP/1.1", f"Host: {server}"]
        if proxy is not None and proxy.username:
            lines.append(f"Proxy-Authorization: {_basic(proxy)}")
        self._send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace"), deadline)
        answer = HTTPResponse(_Incoming(self._socket, lambda: self._allow(deadline)), method="CONNECT")  # type: ignore[arg-type]
        answer.begin()
        if answer.status != 200:
            raise ConnectionError(f"the proxy answered {answer.status} {answer.reason}")

    def _secure(self, deadline: float) -> None:
        self._allow(deadline)
        self._socket = self._context().wrap_socket(self._socket, server_hostname=self._target.url.hostname)

    def _send(self, data: bytes, deadline: float) -> None:
        if type(self._socket) is socket.socket:
            self._allow(deadline)
            self._socket.sendall(data)  # whose timeout is for all of it
            return
        view = memoryview(data)
        while view:  # over TLS it would be for each part
            self._allow(deadline)
            view = view[self._socket.send(view) :]

    def _allow(self, deadline: float) -> None:
        """Give the next wait what is left until `deadline`; to set it anew costs a system call."""
        left = self._left(deadline)
        if abs(left - self._allowed) > TOLERANCE:
            self._socket.settimeout(left)
            self._allowed = left

    def _receive(self, deadline: float) -> tuple[Answer, bool]:
        """Read an answer; also return whether the connection can be kept."""
        response = HTTPResponse(_Incoming(self._socket, lambda: self._allow(deadline)), method="POST")  # type: ignore[arg-type]
        response.begin()
        try:
            body = response.read(MAX_ANSWER)
            complete = response.isclosed() or not response.read(1)
        except (OSError, HTTPException):  # the status says what became of the data; the rest was only words
            body, complete = b"", False
        answer = Answer(response.status, response.reason, response.headers, body)
        return answer, complete and not response.will_close

    def _left(self, deadline: float) -> float:
        left = deadline - self._clock()
        if left <= 0:
            raise DeadlinePassed("timed out")
        return left


class _Incoming:
    """What ``HTTPResponse`` needs of a socket: a file to read from, here one that knows the deadline."""

    def __init__(self, connection: Any, allow: Callable[[], None]) -> None:
        self._file = io.BufferedReader(_Reader(connection, allow))

    def makefile(self, _mode: str) -> Any:
        return self._file


class _Reader(io.RawIOBase):
    def __init__(self, connection: Any, allow: Callable[[], None]) -> None:
        super().__init__()
        self._connection = connection
        self._allow = allow

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._allow()
        count: int = self._connection.recv_into(buffer)
        return count


def _basic(url: SplitResult) -> str:
    credentials = f"{unquote(url.username or '')}:{unquote(url.password or '')}"
    return f"Basic {b64encode(credentials.encode()).decode()}"
