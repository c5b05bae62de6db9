"""Health: checks of what the application needs, asked in the background; what probes read is the last answer.

``health.check("database", health.sqlalchemy(engine))`` is one line in an application;
`otel_forge.web.health.HealthRoutes` serves what comes of it. Each name is imported when it is first used.
``docs/health.md`` has the whole story.
"""

from __future__ import annotations

from otel_forge import lazily

TYPE_CHECKING = False  # as in `otel_forge`: without the import of typing
if TYPE_CHECKING:
    from otel_forge.health.checks import Check, Checks, check, down, is_ready, remove, required_down
    from otel_forge.health.dependencies import configured, http, redis, sqlalchemy
    from otel_forge.health.draining import drain, is_draining
    from otel_forge.health.pipeline import telemetry
    from otel_forge.health.resources import disk, file_descriptors, memory
    from otel_forge.health.results import Result

__all__ = [
    "Check",
    "Checks",
    "Result",
    "check",
    "configured",
    "disk",
    "down",
    "drain",
    "file_descriptors",
    "http",
    "is_draining",
    "is_ready",
    "memory",
    "redis",
    "remove",
    "required_down",
    "sqlalchemy",
    "telemetry",
]

_HOMES = {
    **dict.fromkeys(("Check", "Checks", "check", "down", "is_ready", "remove", "required_down"), "checks"),
    **dict.fromkeys(("configured", "http", "redis", "sqlalchemy"), "dependencies"),
    **dict.fromkeys(("drain", "is_draining"), "draining"),
    **dict.fromkeys(("disk", "file_descriptors", "memory"), "resources"),
    "Result": "results",
    "telemetry": "pipeline",
}

__getattr__, __dir__ = lazily.imported(globals(), _HOMES)
