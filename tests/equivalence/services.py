"""Real services under opentelemetry-instrument, a sequence of requests to them, and all that arrived of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asset_forge.traffic import Address, Outcome, Request, send

from tests.otlp_receiver import OtlpReceiver, Received, free_port
from tests.programs import Program, Programs, get

ROOT = Path(__file__).parents[2]
PYTHONPATH = os.pathsep.join([str(ROOT), str(ROOT / "examples" / "asset_forge")])
PIPELINES = ("upstream", "lean")


@dataclass(frozen=True)
class Service:
    """A program that serves WSGI on a port of its own; `health` is a path by which it is found to be up."""

    name: str
    command: tuple[str, ...]
    health: str
    port: int = field(default_factory=free_port)
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def gunicorn(app: str, *options: str) -> tuple[str, ...]:
    """Return the command of a gunicorn with one worker."""
    return (
        "gunicorn",
        "--no-control-socket",
        "--keep-alive",
        "75",
        "--graceful-timeout",
        "3",
        *options,
        app,
        "--bind",
        "127.0.0.1:{port}",
    )


class Running:
    """Services that run through one pipeline, sending what they record to `receiver`."""

    def __init__(self, pipeline: str, services: Sequence[Service], receiver: OtlpReceiver, programs: Programs) -> None:
        self.services = services
        self._receiver = receiver
        self._programs = [self._start(programs, pipeline, service) for service in services]
        for service in services:
            assert get(service.url + service.health, timeout=60)[0] == 200

    def _start(self, programs: Programs, pipeline: str, service: Service) -> Program:
        return programs.instrumented(
            *(part.format(port=service.port) for part in service.command),
            flags=(),
            OTEL_FORGE_PIPELINE=pipeline,
            OTEL_EXPORTER_OTLP_ENDPOINT=self._receiver.url,
            OTEL_SERVICE_NAME=service.name,
            OTEL_METRIC_EXPORT_INTERVAL="3600000",  # once, at the end
            OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED="false",  # off by default in one, on in the other
            OTEL_FORGE_RUNTIME_METRICS="false",  # what each says of its own process is not the same
            PYTHONPATH=PYTHONPATH,
            **service.environ,
        )

    def send(self, service: Service, requests: Iterable[Request]) -> list[Outcome]:
        """Send `requests`, one after the other."""
        return [send(Address("127.0.0.1", service.port), request, 30) for request in requests]

    def stop(self) -> Received:
        """Stop the services, those first that call others, and return what arrived until they had ended."""
        for program in reversed(self._programs):
            program.process.send_signal(signal.SIGTERM)
            program.wait()
        return self._receiver.received

    def ports(self) -> dict[int, str]:
        """Return the name of each port."""
        return {service.port: service.name for service in self.services}
