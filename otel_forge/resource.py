"""Who is speaking: the resource that every record carries.

`service.name` comes from ``OTEL_SERVICE_NAME`` or ``OTEL_RESOURCE_ATTRIBUTES``; without either it is
guessed from the command line, because a service called ``unknown_service`` cannot be found again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from opentelemetry.sdk.resources import Resource, ServiceInstanceIdResourceDetector

from otel_forge.settings import Settings

DISTRO_NAME = "otel-forge"

_PLAIN_NAMES = {
    "app",
    "main",
    "__main__",
    "wsgi",
    "asgi",
    "server",
    "run",
    "manage",
    "application",
    "index",
    "api",
    "src",
}
_SERVERS = {"gunicorn", "uwsgi", "hypercorn", "uvicorn", "waitress-serve", "daphne", "granian", "flask", "celery"}
_MODULE_REFERENCE = re.compile(r"^([A-Za-z_][\w]*(?:\.[A-Za-z_][\w]*)*):[\w.()'\" =,]+$")
_APP_OPTIONS = {"--app", "-A"}


@dataclass(frozen=True)
class ServiceName:
    """The name of the service and where it was found; `guessed` when nobody set it."""

    name: str
    guessed: bool


def service_name(settings: Settings, argv: Sequence[str], folder: Path) -> ServiceName:
    """Return the set name of the service, or the best guess from the command line `argv` and the working `folder`."""
    name = settings.service_name or settings.resource_attributes.get("service.name", "")
    return ServiceName(name, guessed=False) if name else ServiceName(guess_service_name(argv, folder), guessed=True)


def guess_service_name(argv: Sequence[str], folder: Path) -> str:
    """Return a name for the program that `argv` (as in ``sys.orig_argv``) runs in `folder`.

    A package or module wins (``gunicorn shop.wsgi:app`` and ``python -m shop`` are `shop`), then a script
    (``python billing.py`` is `billing`); names that say nothing, such as ``app.py``, give way to their folder's.
    """
    return _module_name(argv) or _script_name(argv, folder) or _folder_name(folder)


def _module_name(argv: Sequence[str]) -> str:
    for previous, word in zip(argv, argv[1:], strict=False):
        reference = _MODULE_REFERENCE.match(word)
        if reference and any(PurePath(argument).name in _SERVERS for argument in argv[:3]):
            return _first_telling(reference.group(1).split("."))
        if previous in _APP_OPTIONS:
            return _first_telling(re.split(r"[.:]", PurePath(word).stem))
        if previous == "-m" and word not in _SERVERS:
            return _first_telling(word.split("."))
    return ""


def _script_name(argv: Sequence[str], folder: Path) -> str:
    for word in argv[1:]:
        if not word.endswith(".py"):
            continue
        script = folder / word
        return _first_telling([script.stem]) or _folder_name(script.parent)
    program = PurePath(argv[1]).name if len(argv) > 1 and not argv[1].startswith("-") else ""
    return "" if program in _SERVERS else _first_telling([PurePath(program).stem])


def _first_telling(names: Sequence[str]) -> str:
    return next((name for name in names if name and name.lower() not in _PLAIN_NAMES), "")


def _folder_name(folder: Path) -> str:
    resolved = folder.resolve()
    return resolved.name if resolved.name.lower() not in _PLAIN_NAMES else resolved.parent.name or "app"


def build_resource(settings: Settings, name: ServiceName, version: str) -> Resource:
    """Return the resource: what the settings say, the service's name, and who made the telemetry.

    Detectors named in ``OTEL_EXPERIMENTAL_RESOURCE_DETECTORS`` take part as upstream has it; the
    user's own attributes win over all of them.
    """
    return Resource.create(
        {
            "telemetry.distro.name": DISTRO_NAME,
            "telemetry.distro.version": version,
            **settings.resource_attributes,
            "service.name": name.name,
        }
    )


def generated_instance_id() -> str:
    """Return the `service.instance.id` that the SDK makes up in this process: any other was chosen by somebody."""
    return str(ServiceInstanceIdResourceDetector().detect().attributes["service.instance.id"])
