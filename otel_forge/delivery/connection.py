"""One keep-alive connection to an HTTP server, with a deadline that holds for all of a request.

A socket's own timeout starts anew with every byte, so that a server which sends one byte a second can hold
a request for as long as it likes. Here the socket never blocks, and each wait is the business of a `Patience`,
which knows the deadline: from the lookup of the name and the TLS handshake to the last byte read.

The requests are written by hand, not by ``http.client.HTTPConnection``, whose methods other tools patch.
"""

from __future__ import annotations

import errno
import io
import os
import socket
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from otel_forge.delivery.lookup import Address, Lookup
from otel_forge.delivery.patience import CutShort, DeadlinePassed, Patience, ready

if TYPE_CHECKING:
    import ssl

MAX_ANSWER = 65536
"""Bytes of an answer's body that are read."""

_IN_PROGRESS = {0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR}


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

    def __init__(self, target: Target, context: Callable[[], ssl.SSLContext], *, lookup: Lookup | None = None) -> None:
        self._target = target
        self._context = context
        self._lookup = lookup or Lookup()
        self._socket: Any = None
        self._pid = 0

    def post(self, headers: Mapping[str, str], body: bytes, patience: Patience) -> Answer:
        """Send `body` and return the answer, as long as `patience` lasts.

        A kept connection that turns out to be closed is replaced once. Raises OSError (of which `DeadlinePassed`
        is one) or HTTPException.
        """
        request = self._head(headers, len(body)) + body
        if self._is_usable():
            try:
                return self._exchange(request, patience)
            except DeadlinePassed:
                raise
            except (ConnectionError, HTTPException):
                self.close()
        self._open(patience)
        return self._exchange(request, patience)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, request: bytes, patience: Patience) -> Answer:
        try:
            complete = self._send(request, patience)
            answer, keep = self._receive(patience)
        except BaseException:
            self.close()
            raise
        if not (keep and complete):
            self.close()
        return answer

    def _is_usable(self) -> bool:
        """Return whether the kept connection is this process's own and the other side has not closed it."""
        if self._socket is None:
            return False
        if self._pid == os.getpid() and not ready(self._socket, 0, reading=True):
            return True  # anything to read now can only be the end
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

    def _open(self, patience: Patience) -> None:
        through = self._target.proxy or self._target.url
        port = through.port or (443 if through.scheme == "https" else 80)
        self._socket = self._connect(through.hostname or "", port, patience)
        self._pid = os.getpid()
        try:
            if self._target.proxy and self._target.secure:
                self._tunnel(patience)
            if self._target.secure:
                self._secure(patience)
        except BaseException:
            self.close()
            raise

    def _connect(self, host: str, port: int, patience: Patience) -> socket.socket:
        """Connect to the first address that answers; each of several gets its share of the time."""
        error: OSError = OSError(f"no address for {host}")
        addresses = self._lookup.addresses(host, port, patience)
        for index, address in enumerate(addresses):
            try:
                return _connected(address, patience.share(len(addresses) - index))
            except CutShort:
                raise
            except OSError as failure:
                error = failure
        raise error

    def _tunnel(self, patience: Patience) -> None:
        proxy = self._target.proxy
        server = f"{self._target.url.hostname}:{self._target.url.port or 443}"
        lines = [f"CONNECT {server} HTTP/1.1", f"Host: {server}"]
        if proxy is not None and proxy.username:
            lines.append(f"Proxy-Authorization: {_basic(proxy)}")
        self._send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace"), patience)
        answer = HTTPResponse(_Incoming(self._socket, patience), method="CONNECT")  # type: ignore[arg-type]
        answer.begin()
        if answer.status != 200:
            raise ConnectionError(f"the proxy answered {answer.status} {answer.reason}")

    def _secure(self, patience: Patience) -> None:
        self._socket = self._context().wrap_socket(
            self._socket, server_hostname=self._target.url.hostname, do_handshake_on_connect=False
        )
        while True:
            try:
                return self._socket.do_handshake()  # type: ignore[no-any-return]
            except OSError as error:
                _wait_for_tls(self._socket, error, patience)

    def _send(self, data: bytes, patience: Patience) -> bool:
        """Send `data`; return False if the other side answers before it has all of it, which can only be a refusal."""
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                if patience.either(self._socket):
                    return False
            except (BrokenPipeError, ConnectionResetError):
                if ready(self._socket, 0, reading=True):
                    return False  # why it was closed may be there to read
                raise
            except OSError as error:
                _wait_for_tls(self._socket, error, patience)
        return True

    def _receive(self, patience: Patience) -> tuple[Answer, bool]:
        """Read an answer; also return whether the connection can be kept."""
        response = HTTPResponse(_Incoming(self._socket, patience), method="POST")  # type: ignore[arg-type]
        response.begin()
        try:
            body = response.read(MAX_ANSWER)
            complete = response.isclosed() or not response.read(1)
        except (OSError, HTTPException):  # the status says what became of the data; the rest was only words
            body, complete = b"", False
        answer = Answer(response.status, response.reason, response.headers, body)
        return answer, complete and not response.will_close


def _connected(address: Address, patience: Patience) -> socket.socket:
    family, kind, protocol, _, place = address
    candidate = socket.socket(family, kind, protocol)
    try:
        candidate.setblocking(False)
        _raise_for(candidate.connect_ex(place), _IN_PROGRESS)
        patience.writable(candidate)
        _raise_for(candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), {0})
        candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        candidate.close()
        raise
    return candidate


def _raise_for(code: int, fine: set[int]) -> None:
    if code not in fine:
        raise OSError(code, os.strerror(code))  # of the subclass that belongs to the number


def _wait_for_tls(connection: Any, error: OSError, patience: Patience) -> None:
    """Wait for what TLS says it needs, which for reading can be to write and the other way round; or raise `error`."""
    kind = type(error).__name__
    if kind == "SSLWantReadError":
        patience.readable(connection)
    elif kind == "SSLWantWriteError":
        patience.writable(connection)
    else:
        raise error


class _Incoming:
    """What ``HTTPResponse`` needs of a socket: a file to read from, here one that knows how long to wait."""

    def __init__(self, connection: Any, patience: Patience) -> None:
        self._file = io.BufferedReader(_Reader(connection, patience))

    def makefile(self, _mode: str) -> Any:
        return self._file


class _Reader(io.RawIOBase):
    def __init__(self, connection: Any, patience: Patience) -> None:
        super().__init__()
        self._connection = connection
        self._patience = patience
        self._waits_first = not hasattr(connection, "do_handshake")  # TLS may hold bytes that the socket has no more

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._waits_first:
                self._patience.readable(self._connection)
            else:
                self._patience.left()
            try:
                count: int = self._connection.recv_into(buffer)
            except BlockingIOError:
                self._patience.readable(self._connection)
            except OSError as error:
                _wait_for_tls(self._connection, error, self._patience)
            else:
                return count


def _basic(url: SplitResult) -> str:
    credentials = f"{unquote(url.username or '')}:{unquote(url.password or '')}"
    return f"Basic {b64encode(credentials.encode()).decode()}"
