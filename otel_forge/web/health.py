"""The health routes of a Flask app: ``/live``, ``/ready``, ``/startup`` and ``/api/health``.

They are answered in front of the app, so none of its ``before_request`` functions and no WSGI middleware that it has
by then can fail or hang a probe, and none of them makes a span or a line in the request log. An answer is made of what
the background loop knows: a probe waits for no dependency.
"""

from __future__ import annotations

import hmac
import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard
from otel_forge.health import checks as registered
from otel_forge.health import draining, paths, report, termination
from otel_forge.health.checks import Checks
from otel_forge.health.reporting import Probes
from otel_forge.health.results import FAIL, PASS
from otel_forge.health.results import shown as shown_text

JSON, HEALTH_JSON = "application/json", "application/health+json"
DRAINING, STARTING = "draining", report.STARTING
_OK, _METHOD_NOT_ALLOWED, _UNAVAILABLE = "200 OK", "405 Method Not Allowed", "503 Service Unavailable"
_RETRY_AFTER = "5"
_METHODS = ("GET", "HEAD")
_EXTENSION = "otel_forge.health"

Answer = tuple[str, report.Document]


class HealthRoutes:
    """Answers the health probes of an app: ``HealthRoutes(app)``, or ``init_app`` later.

    Each path may be another one, or None for none. `checks` are those of ``health.check`` unless given. `token` takes
    the place of ``OTEL_FORGE_HEALTH_TOKEN``. With `traced` probes make spans like any request. Raises ValueError for a
    path that does not begin with a slash, or that is there twice.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        live: str | None = "/live",
        ready: str | None = "/ready",
        startup: str | None = "/startup",
        report: str | None = "/api/health",
        checks: Checks | None = None,
        token: str | None = None,
        traced: bool = False,
    ) -> None:
        self._checks = checks or registered.checks
        self._token = token
        self._is_traced = traced
        named = {"live": live, "ready": ready, "startup": startup, "health": report}
        self._probes = _by_path(named)
        self._answers: dict[str, Callable[[bool, bool], Answer]] = {
            "live": self._live,
            "ready": self._ready,
            "startup": self._startup,
            "health": self._report,
        }
        self._counter: Probes | None = None
        self._renew()
        on_fork_in_child(self._renew)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Answer the probes of `app` from now on, and let its readiness fall when the process is to end."""
        if self._token is None:
            self._token = self._checks.settings.token
        setattr(app, "wsgi_app", _Entry(self, app.wsgi_app, self._probes, self._checks))  # noqa: B010 - as mypy wants it
        app.extensions[_EXTENSION] = self
        if not self._is_traced:
            paths.add(self._probes)
        background = self._checks.background
        termination.install(
            self._checks.settings.drain,
            is_watched=lambda: background.is_alive,
            worker_started=lambda worker: self._checks.start(lambda: worker.booted),
        )

    def answer(self, probe: str, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a probe, as a WSGI application does."""
        status, document = (_OK, {"status": PASS}) if probe == "live" else (_UNAVAILABLE, {"status": FAIL})
        wants_health_json, extra = False, []
        if environ.get("REQUEST_METHOD") not in _METHODS:
            status, document, extra = _METHOD_NOT_ALLOWED, {"status": FAIL}, [("Allow", ", ".join(_METHODS))]
        else:
            with guard("answering a health probe"):  # which, should it fail, is no reason to end the process
                self._checks.start()
                wants_health_json = _prefers_health_json(environ.get("HTTP_ACCEPT", ""))
                status, document = self._answers[probe](wants_health_json, self._is_authorized(environ))
        if status == _UNAVAILABLE:
            extra = [("Retry-After", _RETRY_AFTER)]
        self._count(probe, status)
        body = json.dumps(document).encode() + b"\n"
        headers = [
            ("Content-Type", HEALTH_JSON if wants_health_json else JSON),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            *extra,
        ]
        start_response(status, headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]

    def _live(self, wants_health_json: bool, with_details: bool) -> Answer:
        """Tell whether this process turns at all; no dependency has a say in it."""
        if self._checks.background.is_lost():
            return _UNAVAILABLE, {"status": FAIL}
        document: report.Document = {"status": PASS}
        if with_details:
            document |= {"pid": os.getpid(), "uptime": self._uptime(), DRAINING: draining.is_draining()}
        return _OK, document

    def _ready(self, wants_health_json: bool, with_details: bool) -> Answer:
        """Tell whether this process wants requests."""
        status, known, drain = self._checks.status(), self._checks.known(), draining.current()
        shown = report.health_json if wants_health_json else report.statuses
        document = shown(FAIL if drain else status, known, with_details=with_details)
        if drain is not None:
            document["reason"] = DRAINING
            if with_details:
                document["output"] = shown_text(drain.reason)
        elif any(check.required and state.status is None for check, state in known.values()):
            document["reason"] = STARTING
        return _UNAVAILABLE if drain or status == FAIL else _OK, document

    def _startup(self, wants_health_json: bool, with_details: bool) -> Answer:
        """Tell whether everything that is required has been there once."""
        status = PASS if self._checks.has_started() else FAIL
        shown = report.health_json if wants_health_json else report.statuses
        document = shown(status, self._checks.known(), with_details=with_details)
        if status == FAIL:
            document["reason"] = STARTING
        return _OK if status == PASS else _UNAVAILABLE, document

    def _report(self, wants_health_json: bool, with_details: bool) -> Answer:
        """Tell how everything is: in the handbook's shape, or as the draft has it."""
        known = self._checks.known()
        if wants_health_json:
            status = self._checks.status()
            document = report.health_json(status, known, with_details=with_details)
            return _UNAVAILABLE if status == FAIL else _OK, document
        document = report.handbook(known, now=time.time(), uptime=self._uptime(), memory=self._memory.now())
        if with_details:
            document["checks"] = report.details(known)
        return _OK if document["status"] == report.HEALTHY else _UNAVAILABLE, document

    def _is_authorized(self, environ: dict[str, Any]) -> bool:
        """Return whether the client sent the token; compared in a time that tells nothing of it."""
        scheme, _, sent = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
        if not self._token or scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(sent.strip().encode("latin-1", "replace"), self._token.encode())

    def _count(self, probe: str, status: str) -> None:
        with guard("counting a health probe"):
            if self._counter is None:
                self._counter = Probes()
            self._counter.count(probe, int(status[:3]))

    def _uptime(self) -> float:
        return round(time.monotonic() - self._started, 3)

    def _renew(self) -> None:
        self._started = time.monotonic()
        self._memory = report.Memory(time.monotonic)


class _Entry:
    """Stands in front of an app: what is no probe costs one look into a dict."""

    def __init__(self, routes: HealthRoutes, app: Callable[..., Any], probes: dict[str, str], checks: Checks) -> None:
        self._routes = routes
        self._app = app
        self._probes = probes
        self._checks = checks
        self._background = checks.background

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """Answer a probe; pass everything else on."""
        probe = self._probes.get(environ.get("PATH_INFO", ""))
        if probe is not None:
            return self._routes.answer(probe, environ, start_response)
        if not self._background.is_started:
            self._checks.start()
        return self._app(environ, start_response)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)


def _by_path(named: dict[str, str | None]) -> dict[str, str]:
    """Return the probes by path."""
    given = {probe: path for probe, path in named.items() if path is not None}
    for probe, path in given.items():
        if not path.startswith("/"):
            raise ValueError(f"The path of the {probe} probe, {path!r}, does not begin with a slash.")
    by_path = {path: probe for probe, path in given.items()}
    if len(by_path) < len(given):
        raise ValueError(f"Two health probes have the same path: {', '.join(given.values())}.")
    return by_path


def _prefers_health_json(accept: str) -> bool:
    """Return whether a client names ``application/health+json`` and does not like plain JSON better."""
    if HEALTH_JSON not in accept:
        return False
    accepted = parse_accept_header(accept, MIMEAccept)
    quality = accepted.quality(HEALTH_JSON)
    return quality > 0 and quality >= accepted.quality(JSON)
