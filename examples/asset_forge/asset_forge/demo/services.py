"""The services of the demo: what is started, on which port, with which command and environment."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from asset_forge.demo.state import DemoState

ROOT = Path(__file__).resolve().parents[2]
ACCESS_FORMAT = '%(t)s "%(m)s %(U)s" %(s)s %(B)s %(L)s'
PLACEHOLDER_KEY = "demo-placeholder"
DEFAULT_ENDPOINT = "http://127.0.0.1:4318"
RATE_LIMIT = "1000000 per minute"  # all traffic comes from one address
PROGRAMS = {"gunicorn": "gunicorn", "opentelemetry-instrument": "otel-forge", "otel-forge": "otel-forge"}


class DemoError(Exception):
    """The demo cannot do what was asked; the message says why and what to do."""


@dataclass(frozen=True)
class Telemetry:
    """How the services are instrumented; ``scrape`` adds a scrape endpoint to each worker of the API."""

    enabled: bool = True
    scrape: bool = False
    endpoint: str | None = None


@dataclass(frozen=True)
class Ports:
    """The ports of the three services, on 127.0.0.1."""

    api: int = 3004
    image_server: int = 3005
    ai_upstream: int = 3006


@dataclass(frozen=True)
class Service:
    """One service to start; the user's environment goes before its `defaults`, and its `environ` before that."""

    name: str
    label: str
    wsgi: str
    port: int
    port_option: str
    workers: int
    threads: int
    health: str
    environ: Mapping[str, str]
    defaults: Mapping[str, str] = field(default_factory=dict)
    is_watched: bool = False

    @property
    def url(self) -> str:
        """The address it answers at."""
        return f"http://127.0.0.1:{self.port}"


def demo_services(ports: Ports, state: DemoState, api_workers: int = 4, *, watch_api: bool = True) -> Sequence[Service]:
    """Return the services in the order in which they start; `otel-forge watch` looks after the API unless told not."""
    images = Service(
        name="image-server",
        label="image server",
        wsgi="asset_forge.image_server:application()",
        port=ports.image_server,
        port_option="--image-server-port",
        workers=1,
        threads=24,
        health="/health",
        environ={"FAULTS_FILE": str(state.faults("image-server")), "LOG_DIR": str(state.logs)},
    )
    ai = Service(
        name="ai-upstream",
        label="AI upstream",
        wsgi="asset_forge.ai_upstream:application()",
        port=ports.ai_upstream,
        port_option="--ai-upstream-port",
        workers=1,
        threads=24,
        health="/health",
        environ={"FAULTS_FILE": str(state.faults("ai-upstream")), "LOG_DIR": str(state.logs)},
    )
    api = _api(ports, state, api_workers, images.url, ai.url)
    return images, ai, replace(api, is_watched=watch_api)


def _api(ports: Ports, state: DemoState, workers: int, images_url: str, ai_url: str) -> Service:
    return Service(
        name="asset-forge",
        label="asset API",
        wsgi="asset_forge.wsgi:app",
        port=ports.api,
        port_option="--api-port",
        workers=workers,
        threads=4,
        health="/live",
        environ={
            "ASSET_FORGE_DATA_DIR": str(state.data),
            "DATABASE_URL": "",
            "LOG_DIR": str(state.logs),
            "IMAGE_SERVER_URL": images_url,
            "AI_UPSTREAM_URL": ai_url,
            "MESHY_API_KEY": PLACEHOLDER_KEY,
            "OPENAI_API_KEY": PLACEHOLDER_KEY,
        },
        defaults={"RATE_LIMIT": RATE_LIMIT},
    )


def command(service: Service, telemetry: Telemetry, state: DemoState) -> list[str]:
    """Return the command line of a service; raises DemoError when a program is not installed."""
    gunicorn = [
        *_launcher(service, telemetry),
        "gunicorn",
        service.wsgi,
        *("--bind", f"127.0.0.1:{service.port}"),
        *("--worker-class", "gthread", "--workers", str(service.workers), "--threads", str(service.threads)),
        # Longer than the callers keep a connection, so that no kept connection closes under a request.
        *("--keep-alive", "75", "--graceful-timeout", "5"),
        *("--access-logfile", str(state.access_log(service.name)), "--access-logformat", ACCESS_FORMAT),
        "--no-control-socket",
    ]
    return [program(part) if part in PROGRAMS else part for part in gunicorn]


def _launcher(service: Service, telemetry: Telemetry) -> list[str]:
    """Return what starts gunicorn: the restart monitor, which turns telemetry on by itself, or only telemetry."""
    if service.is_watched:
        plain = [] if telemetry.enabled else ["--plain", "--no-telemetry"]
        return ["otel-forge", "watch", "--live-url", f"{service.url}{service.health}", "--grace", "10", *plain, "--"]
    return ["opentelemetry-instrument"] if telemetry.enabled else []


def program(name: str) -> str:
    """Find a program beside this Python or on the PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise DemoError(f"{name} is not installed beside {sys.executable}: pip install {PROGRAMS[name]}")
    return found


def environment(service: Service, telemetry: Telemetry, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service: the caller's, its own settings, and its name for telemetry."""
    path = [str(ROOT), *filter(None, [environ.get("PYTHONPATH")])]
    made = {**service.defaults, **environ, "PYTHONPATH": ":".join(path), "PORT": str(service.port), **service.environ}
    if not telemetry.enabled:
        return made
    attributes = [
        "service.namespace=otel-forge-demo",
        "deployment.environment.name=development",
        *filter(None, [environ.get("OTEL_RESOURCE_ATTRIBUTES")]),
    ]
    made["OTEL_SERVICE_NAME"] = service.name
    made["OTEL_RESOURCE_ATTRIBUTES"] = ",".join(attributes)
    made["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint(telemetry, environ)
    if telemetry.scrape and service.name == "asset-forge":
        made["OTEL_METRICS_EXPORTER"] = "otlp,prometheus"
    return made


def endpoint(telemetry: Telemetry, environ: Mapping[str, str]) -> str:
    """Return where telemetry goes: as told, else as the environment says, else the local Collector."""
    return telemetry.endpoint or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or DEFAULT_ENDPOINT
