"""The services of the demo: what is started, on which port, with which command and environment."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asset_forge.demo.state import DemoState

ROOT = Path(__file__).resolve().parents[2]
ACCESS_FORMAT = '%(t)s "%(m)s %(U)s" %(s)s %(B)s %(L)s'
PLACEHOLDER_KEY = "demo-placeholder"
DEFAULT_ENDPOINT = "http://127.0.0.1:4318"


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
    """One process to start."""

    name: str
    label: str
    wsgi: str
    port: int
    port_option: str
    workers: int
    threads: int
    health: str
    environ: Mapping[str, str]

    @property
    def url(self) -> str:
        """The address it answers at."""
        return f"http://127.0.0.1:{self.port}"


def demo_services(ports: Ports, state: DemoState, api_workers: int = 4) -> Sequence[Service]:
    """Return the services in the order in which they start."""
    images = Service(
        name="image-server",
        label="image server",
        wsgi="asset_forge.image_server:application()",
        port=ports.image_server,
        port_option="--image-server-port",
        workers=1,
        threads=24,
        health="/health",
        environ={"FAULTS_FILE": str(state.faults("image-server"))},
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
        environ={"FAULTS_FILE": str(state.faults("ai-upstream"))},
    )
    return images, ai, _api(ports, state, api_workers, images.url, ai.url)


def _api(ports: Ports, state: DemoState, workers: int, images_url: str, ai_url: str) -> Service:
    return Service(
        name="asset-forge",
        label="asset API",
        wsgi="asset_forge.wsgi:app",
        port=ports.api,
        port_option="--api-port",
        workers=workers,
        threads=4,
        health="/api/health",
        environ={
            "ASSET_FORGE_DATA_DIR": str(state.data),
            "DATABASE_URL": "",
            "IMAGE_SERVER_URL": images_url,
            "AI_UPSTREAM_URL": ai_url,
            "MESHY_API_KEY": PLACEHOLDER_KEY,
            "OPENAI_API_KEY": PLACEHOLDER_KEY,
        },
    )


def command(service: Service, telemetry: Telemetry, state: DemoState) -> list[str]:
    """Return the command line of a service; raises DemoError when a program is not installed."""
    gunicorn = [
        *(["opentelemetry-instrument"] if telemetry.enabled else []),
        "gunicorn",
        service.wsgi,
        *("--bind", f"127.0.0.1:{service.port}"),
        *("--worker-class", "gthread", "--workers", str(service.workers), "--threads", str(service.threads)),
        # Longer than the callers keep a connection, so that no kept connection closes under a request.
        *("--keep-alive", "75", "--graceful-timeout", "5"),
        *("--access-logfile", str(state.access_log(service.name)), "--access-logformat", ACCESS_FORMAT),
        "--no-control-socket",
    ]
    return [program(part) if part in ("opentelemetry-instrument", "gunicorn") else part for part in gunicorn]


def program(name: str) -> str:
    """Find a program beside this Python or on the PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        package = "otel-forge" if name == "opentelemetry-instrument" else name
        raise DemoError(f"{name} is not installed beside {sys.executable}: pip install {package}")
    return found


def environment(service: Service, telemetry: Telemetry, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service: the caller's, its own settings, and its name for telemetry."""
    path = [str(ROOT), *filter(None, [environ.get("PYTHONPATH")])]
    made = {**environ, "PYTHONPATH": ":".join(path), "PORT": str(service.port), **service.environ}
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
