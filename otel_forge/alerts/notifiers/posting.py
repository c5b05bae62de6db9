"""One HTTP request with an address that is a secret: nobody prints it, neither the libraries below nor an exception."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

from otel_forge.alerts.sending import Later, Refused
from otel_forge.delivery.answers import retry_after
from otel_forge.version import VERSION

JSON_TYPE = "application/json; charset=utf-8"
_MOST_BYTES = 4096
_AGAIN = frozenset((408, 425, 429))


@dataclass(frozen=True)
class Reply:
    """What came back: the status, the beginning of the body, and the seconds of Retry-After, if any."""

    status: int
    text: str
    retry_after: float | None = None

    def check(self, reason: str = "") -> None:
        """Return if the request was taken; else raise Later or Refused, with `reason` behind the status."""
        if 200 <= self.status < 300:
            return
        said = f"HTTP {self.status}{f', {reason}' if reason else ''}"
        if self.status in _AGAIN or self.status >= 500:
            raise Later(said, self.retry_after)
        raise Refused(said)


def body_of(document: Mapping[str, Any]) -> bytes:
    """Return a document as JSON in UTF-8, whatever is in its texts."""
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace")


def post(url: str, body: bytes, timeout: float, headers: Mapping[str, str] | None = None) -> Reply:
    """Post `body` and return the reply. Raises Later if there is none, Refused if that will not change."""
    import requests  # where nothing is told, nobody needs it

    sent = {"Content-Type": JSON_TYPE, "User-Agent": f"otel-forge/{VERSION}", **(headers or {})}
    with _unheard():
        try:
            with requests.post(
                url, data=body, headers=sent, timeout=timeout, allow_redirects=False, stream=True
            ) as response:
                wait = retry_after(response.headers.get("Retry-After", ""), datetime.now(timezone.utc))
                return Reply(response.status_code, _beginning(response), wait)
        except requests.exceptions.SSLError as error:
            failure: Exception = _no_tls(error)
        except requests.exceptions.Timeout:
            failure = Later("no answer in time")
        except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema):
            failure = Refused("the address cannot be used")
        except requests.exceptions.ProxyError:
            failure = Later("the proxy does not let it pass")
        except (requests.exceptions.RequestException, OSError) as error:
            failure = Later(_in_words(error))
    raise failure from None  # the exceptions of requests print the address


def _no_tls(error: Exception) -> Exception:
    """Return what to make of TLS that failed: a certificate stays as it is, a connection that broke may come back."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Refused("the certificate is not trusted")
    return Later("no TLS connection could be made")


def _beginning(response: Any) -> str:
    """Return the beginning of the body; what was answered holds, whatever becomes of that."""
    try:
        body: bytes = response.raw.read(_MOST_BYTES, decode_content=True)
        return body.decode("utf-8", "replace").strip()
    except Exception:  # noqa: BLE001 - of urllib3, of sockets
        return ""


def _in_words(error: Exception) -> str:
    text = str(error)
    known = {
        "Connection refused": "connection refused",
        "Name or service not known": "unknown host",
        "nodename nor servname": "unknown host",
        "Failed to resolve": "unknown host",
        "Temporary failure in name resolution": "name resolution failed",
        "Connection reset": "connection reset",
        "Remote end closed": "connection closed by the other side",
        "No route to host": "no route to host",
        "Network is unreachable": "network unreachable",
    }
    return next((words for sign, words in known.items() if sign in text), type(error).__name__)


def host_of(url: str) -> str:
    """Return what may be shown of an address that is a secret: its host."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


class _Posting(threading.local):
    """Whether this thread is posting."""

    now = False


_posting = _Posting()


def _is_not_ours(record: logging.LogRecord) -> bool:
    return not _posting.now


@contextmanager
def _unheard() -> Iterator[None]:
    """Keep from the log what urllib3 says of the requests of this thread: at DEBUG it prints whole addresses."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        is_theirs = name == "urllib3" or name.startswith("urllib3.")
        if is_theirs and isinstance(logger, logging.Logger) and _is_not_ours not in logger.filters:
            logger.addFilter(_is_not_ours)
    _posting.now = True
    try:
        yield
    finally:
        _posting.now = False
