"""A Collector started from one of the shipped configurations, with the stores' stand-ins behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.stack_config.conftest import FreePorts, StartServer
from tests.stack_config.servers import Server
from tests.stack_config.stores import Stores
from tests.stack_config.telemetry import send

PORTS = ("OTLP_GRPC", "OTLP_HTTP", "COLLECTOR_HEALTH", "COLLECTOR_METRICS")


@dataclass
class CollectorRun:
    """A configuration, where its state is, and the process while it runs."""

    binary: Path
    config: Path
    stores: Stores
    start: StartServer
    environ: dict[str, str]
    server: Server | None = field(default=None)

    @classmethod
    def prepare(
        cls, binary: Path, config: Path, stores: Stores, start: StartServer, ports: FreePorts, state: Path
    ) -> CollectorRun:
        """Choose free ports and a state folder; nothing is started."""
        environ = ports(*(f"OTEL_FORGE_PORT_{key}" for key in PORTS))
        environ |= stores.environ() | {"FORGE_STATE": str(state)}
        environ["FORGE_OTLP_SELF"] = f"http://127.0.0.1:{environ['OTEL_FORGE_PORT_OTLP_HTTP']}"
        return cls(binary, config, stores, start, environ)

    def up(self) -> CollectorRun:
        """Start it and return once it says it is healthy."""
        command = [str(self.binary), f"--config={self.config}"]
        self.server = self.start(command, ready=self.health, environ=self.environ)
        return self

    @property
    def health(self) -> str:
        return f"http://127.0.0.1:{self.environ['OTEL_FORGE_PORT_COLLECTOR_HEALTH']}/"

    @property
    def own_metrics(self) -> str:
        return f"http://127.0.0.1:{self.environ['OTEL_FORGE_PORT_COLLECTOR_METRICS']}/metrics"

    @property
    def endpoint(self) -> str:
        return self.environ["FORGE_OTLP_SELF"]

    @property
    def log(self) -> str:
        """What it has written since it was last started."""
        assert self.server is not None
        return self.server.log

    def send(self, *requests: Any) -> None:
        """Send requests as an app would; each must be accepted."""
        for request in requests:
            assert send(self.endpoint, request) == 200
