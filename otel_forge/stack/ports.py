"""The ports of the stack: one table, read from settings, checked before anything is started."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psutil

from otel_forge.errors import PortTaken, SettingsError, StackError

PREFIX = "OTEL_FORGE_PORT_"


@dataclass(frozen=True)
class Port:
    """One port that a component listens on."""

    key: str
    default: int
    title: str

    @property
    def setting(self) -> str:
        """The environment variable that changes this port."""
        return PREFIX + self.key


OTLP_GRPC = Port("OTLP_GRPC", 4317, "OTLP over gRPC")
OTLP_HTTP = Port("OTLP_HTTP", 4318, "OTLP over HTTP")
COLLECTOR_HEALTH = Port("COLLECTOR_HEALTH", 13133, "Collector health")
COLLECTOR_METRICS = Port("COLLECTOR_METRICS", 8888, "Collector's own metrics")
PROMETHEUS = Port("PROMETHEUS", 9090, "Prometheus")
LOKI = Port("LOKI", 3100, "Loki")
LOKI_GRPC = Port("LOKI_GRPC", 9095, "Loki gRPC")
TEMPO = Port("TEMPO", 3200, "Tempo")
TEMPO_OTLP = Port("TEMPO_OTLP", 4327, "Tempo's OTLP intake")
TEMPO_GRPC = Port("TEMPO_GRPC", 9096, "Tempo gRPC")
ALERTMANAGER = Port("ALERTMANAGER", 9093, "Alertmanager")
GRAFANA = Port("GRAFANA", 3001, "Grafana")

PORTS = (
    OTLP_GRPC,
    OTLP_HTTP,
    COLLECTOR_HEALTH,
    COLLECTOR_METRICS,
    PROMETHEUS,
    LOKI,
    LOKI_GRPC,
    TEMPO,
    TEMPO_OTLP,
    TEMPO_GRPC,
    ALERTMANAGER,
    GRAFANA,
)


def ports_from_env(environ: Mapping[str, str]) -> dict[str, int]:
    """Return the number of every port by its key; raise SettingsError for a bad or doubled one."""
    numbers = {port.key: _number(port, environ) for port in PORTS}
    owner: dict[int, Port] = {}
    for port in PORTS:
        number = numbers[port.key]
        if number in owner:
            raise SettingsError(
                f"{owner[number].setting} and {port.setting} are both {number}; each needs a port of its own."
            )
        owner[number] = port
    return numbers


def _number(port: Port, environ: Mapping[str, str]) -> int:
    text = environ.get(port.setting, "").strip()
    if not text:
        return port.default
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    if not 1 <= number <= 65535:
        raise SettingsError(f"{port.setting}={text!r} is not a port from 1 to 65535.")
    return number


def check_free(ports: Iterable[Port], numbers: Mapping[str, int], host: str = "127.0.0.1") -> None:
    """Raise PortTaken, naming holders and settings, unless every one of these ports can be bound."""
    taken = [port for port in ports if not is_free(numbers[port.key], host, port.setting)]
    if not taken:
        return
    lines = [_taken_line(port, numbers[port.key]) for port in taken]
    raise PortTaken("\n".join(lines))


def is_free(number: int, host: str = "127.0.0.1", setting: str = "the port's setting") -> bool:
    """Tell whether a listener could be opened on this port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise StackError(f"Port {number} cannot be opened on {host} ({error.strerror}); set {setting}.") from error
    return True


def _taken_line(port: Port, number: int) -> str:
    return (
        f"Port {number} ({port.title}) is taken by {describe_holder(number)}. "
        f"Stop that process, or choose another port with {port.setting}."
    )


def describe_holder(number: int) -> str:
    """Say in a few words which process listens on this port."""
    pid = _listener(number)
    if pid is None:
        return "a process that this user may not see"
    try:
        process = psutil.Process(pid)
        command = " ".join(process.cmdline())
        text = f"pid {pid}, {process.name()} ({_shortened(command)})" if command else f"pid {pid}, {process.name()}"
        return text + _stack_hint(process)
    except psutil.Error:
        return f"pid {pid}"


def _listener(number: int) -> int | None:
    """Return the pid of the listener, where the system lets us see it."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == number:
                return connection.pid
    except psutil.AccessDenied:  # macOS without root: ask each of our own processes
        return _listener_among_own(number)
    return None


def _listener_among_own(number: int) -> int | None:
    for process in psutil.process_iter():
        try:
            connections = process.net_connections(kind="tcp")
        except psutil.Error:
            continue
        if any(c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == number for c in connections):
            return process.pid
    return None


def _stack_hint(process: psutil.Process) -> str:
    """Name the state folder when the holder belongs to another stack of ours."""
    parent = process.parent()
    words = parent.cmdline() if parent else []
    if "otel_forge.stack.supervisor" in words and words:
        return f" of another otel-forge stack (otel-forge down --state-dir {words[-1]})"
    return ""


def _shortened(command: str, limit: int = 120) -> str:
    return command if len(command) <= limit else command[: limit - 1] + "…"
