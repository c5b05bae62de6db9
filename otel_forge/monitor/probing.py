"""The liveness probe: asks the app for a sign of life, on a thread of its own.

Any answer is life, whatever its status: a 503 of a health endpoint says that something the app needs is down, and that
no restart mends. Only silence counts: no connection, or no answer in time. A question that cannot be put, as when the
name of the host is not known at the moment, says nothing of the app.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

_LONGEST_READ = 65536


def ask(url: str, timeout: float) -> str:
    """Return "" if an answer came within `timeout` seconds, else why not. Raises OSError if it could not be asked."""
    parts = urlsplit(url)
    host = parts.hostname or "127.0.0.1"
    if parts.scheme == "https":
        unverified = ssl._create_unverified_context()  # noqa: S323 - it asks this machine, which has no name there
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parts.port, timeout=timeout, context=unverified
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    try:
        connection.request("GET", path, headers={"User-Agent": "otel-forge-watch", "Connection": "close"})
        connection.getresponse().read(_LONGEST_READ)
    except (ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return ""


class Probe:
    """Asks `url` every `interval` seconds from `start` on, and remembers when the last answer came."""

    def __init__(
        self,
        url: str,
        interval: float,
        timeout: float,
        *,
        ask: Callable[[str, float], str] = ask,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._interval = interval
        self._timeout = timeout
        self._ask = ask
        self._clock = clock
        self._era = 0
        self._stopped = threading.Event()
        self.answered: float | None = None
        """When the last answer came; None if the app has not answered since it was started."""
        self.failure = ""
        """Why the last try failed; empty if it did not."""
        self.is_silent = False
        """Whether the app was asked last and did not answer."""

    def start(self) -> None:
        """Begin, where there is an address to ask."""
        if self._url:
            threading.Thread(target=self._run, name="otel-forge watch probe", daemon=True).start()

    def stop(self) -> None:
        """End."""
        self._stopped.set()

    def forget(self) -> None:
        """Begin anew, as after a restart: the app counts as silent only once it has answered."""
        self._era += 1
        self.answered, self.failure, self.is_silent = None, "", False

    def try_once(self) -> None:
        """Ask once; an answer to a question from before the restart does not count."""
        era = self._era
        try:
            failure = self._ask(self._url, self._timeout)
            is_silent = bool(failure)
        except Exception as error:  # noqa: BLE001 - no address is a reason to stop looking after the app
            failure, is_silent = f"it cannot be asked: {error}", False
        if era == self._era:
            self.failure, self.is_silent = failure, is_silent
            if not failure:
                self.answered = self._clock()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.try_once()
            self._stopped.wait(self._interval)
