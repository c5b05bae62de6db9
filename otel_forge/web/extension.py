"""`Forge`: everything that otel-forge does for a Flask app, in one line."""

from __future__ import annotations

from typing import Any

from flask import Flask

from otel_forge.web.boundary import ErrorBoundary
from otel_forge.web.health import HealthRoutes
from otel_forge.web.rate_limits import RateLimits
from otel_forge.web.request_log import RequestLog, surround

_EXTENSION = "otel_forge"


class Forge:
    """Installs the parts in an app: ``Forge(app)``, or ``init_app`` later.

    Each of `health`, `request_log` and `error_boundary` is True for the part as it comes, False for none, or a part
    made with options of your own: ``Forge(app, request_log=RequestLog(incoming=True))``. `rate_limits` is the app's
    limiter (of Flask-Limiter) or a `RateLimits`. `init_app` raises ValueError if the app has a `Forge` already.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        health: bool | HealthRoutes = True,
        request_log: bool | RequestLog = True,
        error_boundary: bool | ErrorBoundary = True,
        rate_limits: Any = None,
    ) -> None:
        self._health: Any = HealthRoutes() if health is True else health
        self._request_log = RequestLog() if request_log is True else request_log
        self._error_boundary = ErrorBoundary() if error_boundary is True else error_boundary
        is_limiter = rate_limits is not None and not isinstance(rate_limits, RateLimits)
        self._rate_limits = RateLimits(limiter=rate_limits) if is_limiter else rate_limits
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Install the parts in `app`."""
        if _EXTENSION in app.extensions:
            raise ValueError(f"The app {app.name!r} has a Forge already.")
        app.extensions[_EXTENSION] = self
        for part in (self._health, self._rate_limits, self._error_boundary, self._request_log):
            if part:
                part.init_app(app)
        if not self._request_log:
            surround(app, None)  # the alert rules ask how many requests there are and how many fail
