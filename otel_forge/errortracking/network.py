"""Which errors are failed network requests: logged, but nothing that a developer must look at in Sentry.

A browser says "Network request failed"; Python's libraries say it with exceptions, which are known here by name so that
none of them is imported. Only the exception itself counts, not what it came from: an application that wraps a failed
request in an error of its own has said that it matters.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

BROWSER_TEXT = "Network request failed"

_CLASSES = {
    "builtins.ConnectionError",
    "socket.gaierror",
    "requests.exceptions.ConnectionError",
    "requests.exceptions.Timeout",
    "requests.exceptions.ChunkedEncodingError",
    "urllib3.exceptions.MaxRetryError",
    "urllib3.exceptions.ProtocolError",
    "urllib3.exceptions.TimeoutError",
    "urllib.error.URLError",
    "http.client.IncompleteRead",
    "httpx.TransportError",
    "httpcore.NetworkError",
    "httpcore.TimeoutException",
    "aiohttp.client_exceptions.ClientConnectionError",
    "aiohttp.client_exceptions.ServerTimeoutError",
}
_ANSWERS = {"urllib.error.HTTPError"}
_SOCKET_TIMEOUTS = ("timed out", "The read operation timed out", "The write operation timed out")


def is_network_error(error: BaseException | None, event: Mapping[str, Any] | None = None) -> bool:
    """Return whether `error`, or the text of the event, is a request that the network did not carry."""
    if error is not None and _is_by_class(error):
        return True
    return BROWSER_TEXT in _text(event or {})


def _is_by_class(error: BaseException) -> bool:
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    if names & _ANSWERS:
        return False
    return bool(names & _CLASSES) or (isinstance(error, TimeoutError) and _is_of_socket(error))


def _is_of_socket(error: TimeoutError) -> bool:
    """Tell a socket's timeout from those of queues, locks and tasks, which have the same class."""
    return error.errno == errno.ETIMEDOUT or (bool(error.args) and error.args[0] in _SOCKET_TIMEOUTS)


def _text(event: Mapping[str, Any]) -> str:
    """Return the event's message and the words of its outermost exception (the last in the list)."""
    logentry = event.get("logentry") or {}
    values = (event.get("exception") or {}).get("values") or [{}]
    parts = (event.get("message"), logentry.get("message"), logentry.get("formatted"), (values[-1] or {}).get("value"))
    return "\n".join(part for part in parts if isinstance(part, str))
