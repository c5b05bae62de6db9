"""Checks of what an application needs from outside: a database, a service, Redis, a key that must be configured.

Each function returns a check function for ``health.check``. What it uses is imported when it is first called, and it
makes no telemetry: checks run where recorders record nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable
from typing import Any
from urllib.parse import urlsplit

from otel_forge.health.results import FAIL, PASS, Result

DATASTORE = "datastore"


class Probe:
    """A check function that knows what kind of component it looks at, for ``application/health+json``."""

    def __init__(
        self, function: Callable[[], Any], component_type: str = "component", *, is_never_required: bool = False
    ) -> None:
        self._function = function
        self.component_type = component_type
        self.is_never_required = is_never_required

    def __call__(self) -> Any:
        """Look; see `Checks.check` for what is returned."""
        return self._function()


def sqlalchemy(engine: Any) -> Probe:
    """Check a database: a connection of SQLAlchemy's `engine` answers ``SELECT 1``.

    A pool that has no connection left is a failure, too. Raises TypeError for an asynchronous engine, whose
    connections belong to the application's event loop: write a coroutine function for that.
    """
    if hasattr(engine, "sync_engine"):
        raise TypeError("health.sqlalchemy() takes an Engine; for an AsyncEngine write a check that is a coroutine.")

    def ask() -> None:
        from sqlalchemy import select

        with engine.connect() as connection:
            connection.execute(select(1)).scalar()

    return Probe(ask, DATASTORE)


def http(url: str, *, timeout: float = 5.0) -> Probe:
    """Check a service: a GET of `url` is answered with a status of 2xx; each wait takes `timeout` seconds at the most.

    Redirects are not followed. Raises ValueError for an address that is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("health.http() takes an address such as http://127.0.0.1:8080/health.")

    def ask() -> Result:
        import requests

        headers = {"User-Agent": "otel-forge-health", "Connection": "close"}
        with requests.get(url, timeout=timeout, headers=headers, stream=True, allow_redirects=False) as answer:
            status = answer.status_code
        is_well = 200 <= status < 300
        return Result(PASS) if is_well else Result(FAIL, f"status {status}", reason=f"status {status}")

    return Probe(ask)


def redis(client: Any) -> Probe:
    """Check Redis, or whatever has a ``ping``: `client.ping()`, which may be a coroutine function, is answered."""

    def ask() -> Any:
        answer = client.ping()
        return answer if isawaitable(answer) else answer is not False

    return Probe(ask, DATASTORE)


def configured(name: str, value: str | None | Callable[[], str | None]) -> Probe:
    """Check that a setting such as an API key is there; `value` may be a function that gets it. It is never shown.

    `name` is what the detail calls it: ``MESHY_API_KEY is not set``.
    """

    def ask() -> Result:
        found = value() if callable(value) else value
        return Result(PASS) if found and found.strip() else Result(FAIL, f"{name} is not set", reason="not set")

    return Probe(ask)
