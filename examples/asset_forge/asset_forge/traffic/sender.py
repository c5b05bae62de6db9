"""Sending one request, and knowing what became of it.

Every request has a connection of its own. It costs a little, and there is never a doubt whether a kept
connection was closed by the server before or after it read the request.
"""

from __future__ import annotations

import http.client
import ipaddress
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from asset_forge.traffic.plan import Request

USER_AGENT = "asset-forge-traffic/1"
_CHUNK = 64 * 1024


class NotLoopback(ValueError):
    """Traffic was asked for that would leave this machine."""


@dataclass(frozen=True)
class Address:
    """Where requests go."""

    host: str
    port: int


@dataclass(frozen=True)
class Outcome:
    """What became of a request.

    status: of the response, or None. failure: None; ``not_sent`` (no connection, so the server saw nothing);
    ``timeout`` or ``broken`` without a status (the server may have seen the request or not);
    ``cut`` with a status (the head of the response came, its body did not come in full).
    """

    status: int | None
    failure: str | None = None


def loopback_address(url: str) -> Address:
    """Read an address on this machine; raises NotLoopback for every other, without asking a name server."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise NotLoopback(f"{url!r} is not an address.") from error
    if parts.scheme != "http" or parts.username is not None or parts.path not in ("", "/") or parts.query:
        raise NotLoopback(f"{url!r} is not of the form http://127.0.0.1:3004.")
    if not _is_loopback(host):
        raise NotLoopback(f"{url!r} is not on this machine; traffic goes to 127.x.x.x, ::1 or localhost only.")
    return Address(host, 80 if port is None else port)


def send(address: Address, request: Request, timeout_s: float) -> Outcome:
    """Send a request and read the whole response; timeout_s bounds each step and the reading as a whole."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)
    try:
        try:
            connection.connect()
        except OSError:
            return Outcome(None, "not_sent")
        return _exchange(connection, request, timeout_s)
    finally:
        connection.close()


def _exchange(connection: http.client.HTTPConnection, request: Request, timeout_s: float) -> Outcome:
    headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close", **dict(request.headers)}
    try:
        connection.request(request.method, request.path, request.body, headers)
        response = connection.getresponse()
    except TimeoutError:
        return Outcome(None, "timeout")
    except (OSError, http.client.HTTPException):
        return Outcome(None, "broken")
    deadline = time.monotonic() + timeout_s
    try:
        while response.read(_CHUNK):
            if time.monotonic() > deadline:
                return Outcome(response.status, "cut")
        # A body shorter than its Content-Length is reported by an unsized read only.
        complete = not response.length
    except (OSError, http.client.HTTPException):
        complete = False
    return Outcome(response.status, None if complete else "cut")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
