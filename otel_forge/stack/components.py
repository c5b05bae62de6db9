"""The one table of what the stack runs: names, command lines, ports, readiness and order.

Both engines read it. `native` fills the flags with loopback addresses and folders below the state
folder; `docker-compose.yml` carries the same flags with the container's addresses and folders, which
`compose_command()` returns and a test compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from otel_forge.stack import ports
from otel_forge.stack.ports import Port
from otel_forge.stack.settings import StackSettings

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Place:
    """Where a component runs: the address it binds, its config and data folders and the port numbers."""

    bind: str
    config: str
    data: str
    ports: Mapping[str, int]
    retention: Mapping[str, str]

    def fill(self, text: str) -> str:
        """Replace `{bind}`, `{config}`, `{data}`, `{PORT_KEY}` and `{SETTING}` in a template."""
        return text.format(bind=self.bind, config=self.config, data=self.data, **self.ports, **self.retention)


@dataclass(frozen=True)
class Component:
    """One server of the stack, and all that either engine must know about it."""

    name: str
    title: str
    engine: str
    """The binary's name for `otel_forge.stack.engines.engine_path`."""
    ports: tuple[Port, ...]
    arguments: tuple[str, ...]
    """The command line after the binary, as templates for `Place.fill`."""
    ready: str
    """The path and port of the readiness check: `{bind}` and port templates apply."""
    config: str
    """The folder of the bundle that holds its configuration."""
    container_config: str
    container_data: str
    after: tuple[str, ...] = ()
    """Components that must be ready before this one starts."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables it gets natively, as templates."""
    stop_grace: float = 10.0
    """Seconds between SIGTERM and SIGKILL."""

    def command(self, place: Place) -> list[str]:
        """Return the arguments for one place."""
        return [place.fill(argument) for argument in self.arguments]

    def variables(self, place: Place) -> dict[str, str]:
        """Return the environment variables of this component for one place."""
        return {name: place.fill(value) for name, value in self.environment.items()}


_PLACE = {"FORGE_BIND": "{bind}", "FORGE_STATE": "{data}"}


def _port_settings(*wanted: Port) -> dict[str, str]:
    return {port.setting: "{" + port.key + "}" for port in wanted}


_URLS = {
    "FORGE_PROMETHEUS_URL": "http://127.0.0.1:{PROMETHEUS}",
    "FORGE_LOKI_URL": "http://127.0.0.1:{LOKI}",
    "FORGE_TEMPO_URL": "http://127.0.0.1:{TEMPO}",
    "FORGE_TEMPO_ENDPOINT": "127.0.0.1:{TEMPO_OTLP}",
    "FORGE_ALERTMANAGER_URL": "http://127.0.0.1:{ALERTMANAGER}",
    "FORGE_OTLP_SELF": "http://127.0.0.1:{OTLP_HTTP}",
}

ALERTMANAGER = Component(
    name="alertmanager",
    title="Alertmanager",
    engine="alertmanager",
    ports=(ports.ALERTMANAGER,),
    arguments=(
        "--config.file={config}/alertmanager.yaml",
        "--storage.path={data}",
        "--web.listen-address={bind}:{ALERTMANAGER}",
        "--cluster.listen-address=",
    ),
    ready="http://127.0.0.1:{ALERTMANAGER}/-/ready",
    config="backends/alertmanager",
    container_config="/etc/alertmanager",
    container_data="/alertmanager",
    environment=_PLACE,
)

PROMETHEUS = Component(
    name="prometheus",
    title="Prometheus",
    engine="prometheus",
    ports=(ports.PROMETHEUS,),
    arguments=(
        "--config.file={config}/prometheus.yaml",
        "--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time={OTEL_FORGE_RETENTION}",
        "--storage.tsdb.retention.size={OTEL_FORGE_RETENTION_SIZE}",
        "--web.listen-address={bind}:{PROMETHEUS}",
        "--web.enable-otlp-receiver",
        "--web.enable-remote-write-receiver",
        "--enable-feature=exemplar-storage",
    ),
    ready="http://127.0.0.1:{PROMETHEUS}/-/ready",
    config="backends/prometheus",
    container_config="/etc/prometheus",
    container_data="/prometheus",
    environment=_PLACE,
    stop_grace=20.0,
)

LOKI = Component(
    name="loki",
    title="Loki",
    engine="loki",
    ports=(ports.LOKI, ports.LOKI_GRPC),
    arguments=("-config.file={config}/loki.yaml", "-config.expand-env=true"),
    ready="http://127.0.0.1:{LOKI}/ready",
    config="backends/loki",
    container_config="/etc/loki",
    container_data="/loki",
    environment={
        **_PLACE,
        **_URLS,
        **_port_settings(ports.LOKI, ports.LOKI_GRPC),
        "OTEL_FORGE_RETENTION_LOGS": "{OTEL_FORGE_RETENTION_LOGS}",
    },
    stop_grace=15.0,
)

TEMPO = Component(
    name="tempo",
    title="Tempo",
    engine="tempo",
    ports=(ports.TEMPO, ports.TEMPO_OTLP, ports.TEMPO_GRPC),
    arguments=("-config.file={config}/tempo.yaml", "-config.expand-env=true"),
    ready="http://127.0.0.1:{TEMPO}/ready",
    config="backends/tempo",
    container_config="/etc/tempo",
    container_data="/var/tempo",
    after=("prometheus",),
    environment={
        **_PLACE,
        **_URLS,
        **_port_settings(ports.TEMPO, ports.TEMPO_OTLP, ports.TEMPO_GRPC),
        "OTEL_FORGE_RETENTION_TRACES": "{OTEL_FORGE_RETENTION_TRACES}",
    },
    # After it has answered a query, Tempo 3.0 does not end on SIGTERM for minutes (facts/stack.md 2.3).
    # Its write-ahead log makes SIGKILL safe; a few seconds are enough to flush what is in memory.
    stop_grace=5.0,
)

COLLECTOR = Component(
    name="collector",
    title="Collector",
    engine="collector",
    ports=(ports.OTLP_GRPC, ports.OTLP_HTTP, ports.COLLECTOR_HEALTH, ports.COLLECTOR_METRICS),
    arguments=("--config={config}/config-single.yaml",),
    ready="http://127.0.0.1:{COLLECTOR_HEALTH}/",
    config="collector",
    container_config="/etc/otelcol",
    container_data="/var/lib/otelcol",
    after=("prometheus", "loki", "tempo"),
    environment={
        **_PLACE,
        **_URLS,
        **_port_settings(ports.OTLP_GRPC, ports.OTLP_HTTP, ports.COLLECTOR_HEALTH, ports.COLLECTOR_METRICS),
    },
)

GRAFANA = Component(
    name="grafana",
    title="Grafana",
    engine="grafana",
    ports=(ports.GRAFANA,),
    arguments=(),  # its image knows; natively `otel_forge.stack.grafana` finds its home folder
    ready="http://127.0.0.1:{GRAFANA}/api/health",
    config="grafana",
    container_config="/etc/grafana",
    container_data="/var/lib/grafana",
    after=("prometheus", "loki", "tempo", "alertmanager"),
    environment={
        **_URLS,
        "FORGE_DASHBOARDS": "{config}/dashboards",
        "GF_PATHS_PROVISIONING": "{config}/provisioning",
        "GF_PATHS_DATA": "{data}",
        "GF_PATHS_LOGS": "{data}/log",
        "GF_PATHS_PLUGINS": "{data}/plugins",
        "GF_LOG_MODE": "console",
        "GF_SERVER_HTTP_ADDR": "{bind}",
        "GF_SERVER_HTTP_PORT": "{GRAFANA}",
        "GF_SERVER_ROOT_URL": "http://localhost:{GRAFANA}/",
        "GF_AUTH_ANONYMOUS_ENABLED": "false",
        "GF_USERS_ALLOW_SIGN_UP": "false",
        "GF_SECURITY_DISABLE_GRAVATAR": "true",
        "GF_SECURITY_COOKIE_SAMESITE": "strict",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_NEWS_NEWS_FEED_ENABLED": "false",
        "GF_PLUGINS_PREINSTALL_DISABLED": "true",
        "GF_PLUGINS_PREINSTALL_AUTO_UPDATE": "false",
    },
)

COMPONENTS = (ALERTMANAGER, PROMETHEUS, LOKI, TEMPO, COLLECTOR, GRAFANA)
BY_NAME = {component.name: component for component in COMPONENTS}
NAMES = tuple(BY_NAME)


def compose_command(name: str) -> list[str]:
    """Return the `command:` that the compose file must carry for a component, its settings at their defaults."""
    component = BY_NAME[name]
    inside = {port.key: port.default for port in ports.PORTS}
    every_address = "0.0.0.0"  # noqa: S104 - inside the container; published on loopback only
    place = Place(
        every_address,
        component.container_config,
        component.container_data,
        inside,
        StackSettings.from_env({}).retention,
    )
    return component.command(place)
