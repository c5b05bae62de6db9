"""The variants: what each installs, how it is started and what it is told through the environment.

Every variant gets the same settings: all three signals, everything sampled, stable conventions, queues long enough
that a round in the process fits, and a metric interval so long that only the flush at a round's end exports metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Receiving = Literal["nothing", "otlp", "ddtrace", "sentry"]

BASELINE = "uninstrumented"
STOCK = "stock-http"
FORGE = "forge"
UPSTREAM = "forge-upstream"
FORGE_RUN = "forge (otel-forge run)"
"""The start of `FORGE` with our own launcher instead of upstream's."""
HEADER = "x-benchmark-variant"

_APP = ("flask>=3.1,<3.2", "requests", "gunicorn")
_INSTRUMENTATIONS = tuple(
    f"opentelemetry-instrumentation-{name}" for name in ("flask", "requests", "sqlite3", "logging")
)
_OURS = ("{checkout}",)


@dataclass(frozen=True)
class Addresses:
    """Where the receiver and the service that requests are made to listen."""

    otlp_http: str
    otlp_grpc: str
    upstream: str


@dataclass(frozen=True)
class Variant:
    """One way to run the app.

    `packages` come on top of the app's own; `pinned` says whether our constraints hold for them, but for those that are
    `freed`. `signals` are those whose loss disqualifies: all that the product has. `pipeline` is where the tracer
    provider's module must be.
    """

    name: str
    packages: tuple[str, ...] = ()
    started: str = "opentelemetry-instrument"
    receiving: Receiving = "otlp"
    environ: Mapping[str, str] = field(default_factory=dict)
    protocol: str = "http/protobuf"
    pinned: bool = True
    freed: tuple[str, ...] = ()
    signals: tuple[str, ...] = ("spans", "logs", "durations")
    pipeline: str = ""
    is_extra: bool = False

    def requirements(self) -> tuple[str, ...]:
        """Return everything that its environment holds, as arguments of ``pip install``."""
        return (*_APP, *self.packages)

    def settings(self, addresses: Addresses) -> dict[str, str]:
        """Return the environment variables that its processes are started with."""
        common = {"BENCHMARK_UPSTREAM": addresses.upstream}
        if self.receiving == "nothing":
            return common
        endpoint = addresses.otlp_grpc if self.protocol == "grpc" else addresses.otlp_http
        if self.receiving == "otlp":
            common |= _otlp_settings(self.name, self.protocol, endpoint)
        dsn = addresses.otlp_http.replace("://", "://key@") + "/1"
        filled = {name: value.format(http=addresses.otlp_http, dsn=dsn) for name, value in self.environ.items()}
        return {**common, **filled}


def _otlp_settings(name: str, protocol: str, endpoint: str) -> dict[str, str]:
    return {
        "OTEL_SERVICE_NAME": "benchmark",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_HEADERS": f"{HEADER}={name}",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http,database",
        "OTEL_TRACES_SAMPLER": "parentbased_always_on",
        "OTEL_BSP_MAX_QUEUE_SIZE": "16384",
        "OTEL_BLRP_MAX_QUEUE_SIZE": "16384",
        "OTEL_BSP_SCHEDULE_DELAY": "1000",
        "OTEL_BLRP_SCHEDULE_DELAY": "1000",
        "OTEL_METRIC_EXPORT_INTERVAL": "600000",
    }


def _forge(name: str, pipeline: str, provider: str) -> Variant:
    return Variant(
        name,
        packages=_OURS,
        environ={"OTEL_FORGE_PIPELINE": pipeline, "OTEL_FORGE_STARTUP_LINE": "false"},
        pipeline=provider,
    )


_ALL = (
    Variant(BASELINE, started="plain", receiving="nothing", signals=()),
    Variant(
        STOCK,
        packages=("opentelemetry-distro", "opentelemetry-exporter-otlp-proto-http", *_INSTRUMENTATIONS),
        pipeline="opentelemetry.sdk",
    ),
    Variant(
        "stock-grpc",
        packages=("opentelemetry-distro", "opentelemetry-exporter-otlp-proto-grpc", *_INSTRUMENTATIONS),
        protocol="grpc",
        pipeline="opentelemetry.sdk",
    ),
    _forge(UPSTREAM, "upstream", "opentelemetry.sdk"),
    _forge(FORGE, "lean", "otel_forge."),
    Variant(
        "splunk",
        packages=("splunk-opentelemetry", "opentelemetry-exporter-otlp-proto-http", *_INSTRUMENTATIONS),
        pinned=False,
        is_extra=True,
    ),
    Variant(
        "elastic",
        packages=("elastic-opentelemetry", "opentelemetry-exporter-otlp-proto-http", *_INSTRUMENTATIONS),
        pinned=False,
        is_extra=True,
    ),
    Variant(
        "logfire",
        packages=("logfire[flask,requests,sqlite3]",),
        started="plain",
        environ={"BENCHMARK_SETUP": "logfire"},
        signals=("spans", "durations"),  # its log records are spans
        pinned=False,
        is_extra=True,
    ),
    Variant(
        "ddtrace",
        packages=("ddtrace",),
        started="ddtrace-run",
        receiving="ddtrace",
        signals=("spans",),
        environ={
            "DD_SERVICE": "benchmark",
            "DD_TRACE_AGENT_URL": "{http}",
            "DD_TRACE_API_VERSION": "v0.4",
            "DD_REMOTE_CONFIGURATION_ENABLED": "false",
            "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
            "DD_TRACE_STARTUP_LOGS": "false",
        },
        pinned=False,
        is_extra=True,
    ),
    Variant(
        "sentry",
        packages=("sentry-sdk[flask]",),
        started="plain",
        receiving="sentry",
        signals=("spans", "logs"),
        environ={"BENCHMARK_SETUP": "sentry", "BENCHMARK_DSN": "{dsn}"},
        pinned=False,
        is_extra=True,
    ),
)

VARIANTS: dict[str, Variant] = {variant.name: variant for variant in _ALL}


def chosen(names: str, *, extras: bool = False) -> list[Variant]:
    """Return the variants named, with commas between; "" means all but the extras, which `extras` adds.

    The baseline always comes first: without it nothing can be said to be added. Raises ValueError for a wrong name.
    """
    if names:
        wanted = [name.strip() for name in names.split(",")]
    else:
        wanted = [variant.name for variant in _ALL if extras or not variant.is_extra]
    unknown = [name for name in wanted if name not in VARIANTS]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: no such variant. There are {', '.join(VARIANTS)}.")
    ordered = dict.fromkeys([BASELINE, *wanted])
    return [VARIANTS[name] for name in ordered]
