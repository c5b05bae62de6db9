"""An annotation in Grafana for each restart, with its reason; whether it can be made never matters to the restart."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

from otel_forge.redaction import policy

_TIMEOUT = 5.0


class Annotations:
    """Posts annotations to the Grafana at `url`, each on a thread of its own; nothing without url and token."""

    def __init__(self, url: str, token: str, say: Callable[[str], object]) -> None:
        self._url = f"{url.rstrip('/')}/api/annotations" if url and token else ""
        self._token = token
        self._say = say
        self._threads: list[Thread] = []

    def add(self, text: str, tags: Sequence[str]) -> None:
        """Post an annotation of this moment; returns at once."""
        if self._url:
            body = {"time": round(time.time() * 1000), "tags": list(tags), "text": policy().text(text)}
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = Thread(target=self._post, args=(body,), name="otel-forge watch annotation", daemon=True)
            self._threads.append(thread)
            thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until all are posted, so many seconds at the most for each: before the process ends."""
        for thread in self._threads:
            thread.join(seconds)

    def _post(self, body: dict[str, Any]) -> None:
        import requests

        try:
            answer = requests.post(
                self._url,
                json=body,
                auth=self._authorize,  # not as a header: requests would put what it finds in ~/.netrc in its place
                timeout=_TIMEOUT,
                allow_redirects=False,
            )
        except Exception as error:  # noqa: BLE001 - also what urllib3 and http.client say of odd settings
            self._say(f"Grafana has no annotation of this: {type(error).__name__}.")
        else:
            if not answer.ok:
                self._say(f"Grafana has no annotation of this: it answered {answer.status_code}.")

    def _authorize(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request
