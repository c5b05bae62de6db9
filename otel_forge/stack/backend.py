"""What `otel-forge` drives, whichever engine does the work: the interface and what it answers with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from otel_forge.errors import StackError
from otel_forge.stack import ports
from otel_forge.stack.ports import Port

ENGINES = ("docker", "native")
Report = Callable[[str], None]

RUNNING = "running"
DEGRADED = "degraded"
STOPPED = "stopped"

API_ONLY = ("Loki", "Tempo")


@dataclass(frozen=True)
class ComponentStatus:
    """One component as it is now."""

    name: str
    status: str
    pid: int | None = None
    restarts: int = 0
    since: float = 0.0
    """Unix time of the last change of status, or 0 where the engine does not say."""
    detail: str = ""
    container: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether it does its work."""
        return self.status == "ready"


@dataclass(frozen=True)
class StackStatus:
    """The whole stack as it is now."""

    engine: str
    status: str
    components: Sequence[ComponentStatus] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    detail: str = ""
    state_dir: str = ""
    password_file: str = ""
    notes: Sequence[str] = ()
    already_running: bool = False
    api_only: Sequence[str] = API_ONLY
    """The titles of addresses that serve no web pages."""


class Backend(Protocol):
    """One engine of the stack."""

    @property
    def name(self) -> str:
        """The engine's name."""

    def up(self, timeout: float) -> StackStatus:
        """Start everything, or find it running; raise StackError where that cannot be."""

    def down(self, *, data: bool) -> bool:
        """Stop everything and free its ports; with `data` remove what was stored; tell whether anything ran."""

    def status(self) -> StackStatus:
        """Look at everything now."""

    def restart(self, names: Sequence[str], timeout: float) -> list[str]:
        """Restart these components, or all, with their configuration read anew; return their names."""

    def logs(self, names: Sequence[str], *, lines: int, follow: bool, errors: bool) -> Iterator[str]:
        """Yield the last lines of these components, or of all; with `follow` those to come, for ever."""


def addresses(numbers: Mapping[str, int], running: Sequence[str]) -> dict[str, str]:
    """Return the addresses a person wants to know, by what they are for."""
    wanted: list[tuple[str, Port, str]] = [
        ("collector", ports.OTLP_HTTP, "OTLP over HTTP"),
        ("collector", ports.OTLP_GRPC, "OTLP over gRPC"),
        ("prometheus", ports.PROMETHEUS, "Prometheus"),
        ("loki", ports.LOKI, "Loki"),
        ("tempo", ports.TEMPO, "Tempo"),
        ("alertmanager", ports.ALERTMANAGER, "Alertmanager"),
        ("grafana", ports.GRAFANA, "Grafana"),
    ]
    return {title: f"http://127.0.0.1:{numbers[port.key]}" for name, port, title in wanted if name in running}


def known_names(names: Sequence[str], allowed: Sequence[str]) -> list[str]:
    """Return the names without repetition; raise StackError naming those that are not allowed."""
    unknown = [name for name in names if name not in allowed]
    if unknown:
        raise StackError(f"{', '.join(unknown)} is not a component here; there are {', '.join(allowed)}.")
    return list(dict.fromkeys(names))
