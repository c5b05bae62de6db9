"""The settings: read once from a mapping, frozen, and forgiving.

``Settings.from_env(os.environ)`` never raises: a value that cannot be used is replaced by its default
and described in ``Settings.problems``, one line each, naming the variable, the value, what is allowed
and what is used instead. Names and meanings are those of the OpenTelemetry specification and of
OpenTelemetry Python; ``OTEL_FORGE_*`` exists only for what they have no name for.

``Settings.rejected`` lists the variables that hold such a value, so that start-up can keep them from
upstream code that would raise on them.

What is read stands in `otel_forge.variables`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from otel_forge.errors import SettingsError
from otel_forge.parsing import PartlyUsable
from otel_forge.variables import RATIO, VARIABLES, shown
from otel_forge.variables import SIGNALS as SIGNALS
from otel_forge.variables import Signal as Signal

_LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}
_SECRET_VARIABLE_WORDS = (
    "_SLACK_URL",
    "_PAGERDUTY_KEY",
    "_SMTP_URL",
    "_WEBHOOK_URL",
    "_WEBHOOK_SECRET",
    "_TOKEN",
    "HEADERS",
)
_BY_NAME = {variable.name: variable for variable in VARIABLES}


@dataclass(frozen=True)
class OtlpSettings:
    """How one signal is sent over OTLP; `timeout` in seconds."""

    endpoint: str
    protocol: str
    headers: Mapping[str, str]
    timeout: float
    compression: str
    certificate: str | None
    client_key: str | None
    client_certificate: str | None
    insecure: bool

    @property
    def is_loopback(self) -> bool:
        """Whether the endpoint is on this machine."""
        return (urlsplit(self.endpoint).hostname or "") in _LOOPBACK_HOSTS


@dataclass(frozen=True)
class BatchSettings:
    """How records wait and are batched; times in milliseconds."""

    schedule_delay: float
    max_queue_size: int
    max_export_batch_size: int
    export_timeout: float


@dataclass(frozen=True)
class SpoolSettings:
    """Where and how long records are kept that can't be delivered; `max_size` in bytes, `max_age` in seconds.

    `folder` is None for memory only.
    """

    folder: Path | None
    max_size: int
    max_age: float
    fsync: Literal["always", "interval", "never"]
    newest_first: bool


@dataclass(frozen=True)
class Limits:
    """What a record may carry; None is no limit."""

    span_attributes: int
    span_attribute_length: int | None
    events: int
    links: int
    event_attributes: int
    link_attributes: int
    log_attributes: int
    log_attribute_length: int | None


@dataclass(frozen=True)
class SentrySettings:
    """What is reported to Sentry; `is_on` says whether we are to initialise it."""

    dsn: str
    environment: str
    release: str
    is_on: bool
    sample_rate: float
    network_errors: bool


@dataclass(frozen=True)
class LogViewSettings:
    """How log records are shown; `flood` is (records, seconds), `colour` None where the stream decides."""

    view: str
    level: str
    flood: tuple[int, float] | None
    longest: int
    colour: bool | None
    run_time_levels: bool


@dataclass(frozen=True)
class LogFileSettings:
    """Where log files are and how long they are kept; without a `folder` there are none."""

    folder: str
    file_bytes: int
    pack_after_days: int
    remove_after_days: int
    total_bytes: int


@dataclass(frozen=True)
class AlertSettings:
    """Whether alert rules are evaluated, every how many seconds, and where alerts go; what is empty is not configured.

    `lowest` holds the lowest severity that goes to each of slack, pagerduty, email and webhook.
    """

    enabled: bool
    interval: float
    lowest: Mapping[str, str]
    pagerduty_url: str
    email_from: str
    email_to: tuple[str, ...]
    slack_url: str = field(repr=False)
    pagerduty_key: str = field(repr=False)
    smtp_url: str = field(repr=False)
    webhook_url: str = field(repr=False)
    webhook_secret: str = field(repr=False)


@dataclass(frozen=True)
class WatchSettings:
    """What ``otel-forge watch`` looks at and when it restarts; times in seconds, sizes in bytes, shares in percent."""

    folder: Path | None
    """Where processes tell the monitor how they do; None for a process that is not watched."""
    live_url: str
    interval: float
    probe_timeout: float
    patience: float
    busy_patience: float
    windows: tuple[int, int]
    memory_limit: int
    """0 is no limit."""
    cpu: float
    memory: float
    disk: float
    disk_path: str
    grace: float
    drain: float
    restarts: tuple[int, float]
    first_delay: float
    incidents: int
    capture: bool
    telemetry: bool
    grafana_url: str
    grafana_token: str = field(repr=False)


@dataclass(frozen=True)
class HealthSettings:
    """Defaults of health checks, and how long to drain; times in seconds."""

    interval: float = 10.0
    timeout: float = 1.0
    fall: int = 3
    rise: int = 2
    drain: float = 0.0
    token: str = field(default="", repr=False)


@dataclass(frozen=True)
class RequestLogSettings:
    """Whether all Flask apps of the process get a request log, and how much it says."""

    enabled: bool = False
    incoming: bool = False
    client_address: str = "truncated"
    user_agent: str = "class"


@dataclass(frozen=True)
class RedactionSettings:
    """What never leaves the process beside the defaults, and what may."""

    enabled: bool = True
    keys: tuple[str, ...] = ()
    patterns: Mapping[str, str] = field(default_factory=dict)
    callback: str = ""
    allowed_keys: tuple[str, ...] = ()
    allowed_headers: tuple[str, ...] = ()
    allowed_query: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """Everything that can be set, read once; see ``docs/settings.md`` for each variable."""

    disabled: bool
    config_file: str
    service_name: str
    resource_attributes: Mapping[str, str]
    exporters: Mapping[Signal, tuple[str, ...]]
    otlp: Mapping[Signal, OtlpSettings]
    spans: BatchSettings
    log_records: BatchSettings
    metric_interval: float
    metric_timeout: float
    temporality: str
    histogram_aggregation: str
    exemplar_filter: str
    cardinality_limit: int
    sampler: str
    sampler_arg: str
    id_generator: str
    propagators: tuple[str, ...]
    limits: Limits
    log_bridge: bool
    log_level: str
    log_code_attributes: bool
    log_unpropagated: bool
    log_files: LogFileSettings
    log_views: LogViewSettings
    semconv_opt_in: tuple[str, ...]
    scrape_host: str
    scrape_port: int
    self_metrics: bool
    runtime_metrics: bool
    pipeline: str
    spool: SpoolSettings
    exit_timeout: float
    environment: str
    sentry: SentrySettings
    slow_call: float
    sigterm_flush: bool
    startup_line: bool
    watch: WatchSettings
    health: HealthSettings
    redaction: RedactionSettings
    stack_ports: tuple[str, ...]
    """Where the Collector of `otel-forge up` listens: the ports of OTLP over gRPC and over HTTP."""
    request_log: RequestLogSettings
    rate_limit_secret: str = field(repr=False)
    alerts: AlertSettings
    problems: tuple[str, ...] = field(default=())
    rejected: tuple[str, ...] = field(default=())

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, strict: bool = False) -> Settings:
        """Return the settings that `environ` holds.

        Never raises unless `strict`: then the first value that cannot be used is a SettingsError.
        """
        reader = _Reader(environ)
        settings = _read(cls, reader)
        if strict and settings.problems:
            raise SettingsError(settings.problems[0])
        return settings

    def is_of_stack(self, address: str) -> bool:
        """Whether `address` is one that the Collector of `otel-forge up` listens at."""
        place = urlsplit(address if "//" in address else f"//{address}")
        return place.hostname in _LOOPBACK_HOSTS and place.netloc.rpartition(":")[2] in self.stack_ports


class _Reader:
    """Reads variables out of a mapping and collects a line for each that cannot be used."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []
        self.rejected: list[str] = []

    def __call__(self, name: str, default: Any = None) -> Any:
        """Return the value of the variable `name`; unset, empty or unusable gives `default` or the table's."""
        variable = _BY_NAME[name]
        fallback = variable.default if default is None else default
        text = self._environ.get(name, "").strip()
        if not text:
            return fallback
        try:
            return variable.parser(text)
        except PartlyUsable as error:
            self.complain(name, text, variable.parser.allowed, "the rest of it" if error.value else "none")
            return error.value
        except ValueError:
            self.complain(name, text, variable.parser.allowed, shown(fallback, variable.default_text))
            return fallback

    def text(self, name: str) -> str:
        """Return a variable that is not ours, as it stands."""
        return self._environ.get(name, "").strip()

    def is_set(self, name: str) -> bool:
        return bool(self._environ.get(name, "").strip())

    def misspelt(self) -> list[str]:
        """Return a line for each OTEL_FORGE_* variable that is none of ours but nearly one."""
        unknown = [name for name in self._environ if name.startswith("OTEL_FORGE_") and name not in _BY_NAME]
        nearest = ((name, get_close_matches(name, _BY_NAME, n=1, cutoff=0.9)) for name in unknown)
        return [f"{name} is not a setting; did you mean {match[0]}?" for name, match in nearest if match]

    def complain(self, name: str, text: str, allowed: str, used: str) -> None:
        value = "'…'" if name.endswith(_SECRET_VARIABLE_WORDS) else repr(text)
        self.problems.append(f"{name}={value} is not {allowed}; using {used}.")
        self.rejected.append(name)


def _read(cls: type[Settings], read: _Reader) -> Settings:
    otlp: dict[Signal, OtlpSettings] = {signal: _read_otlp(read, signal) for signal in SIGNALS}
    return cls(
        disabled=read("OTEL_SDK_DISABLED"),
        config_file=read("OTEL_CONFIG_FILE"),
        service_name=read("OTEL_SERVICE_NAME"),
        resource_attributes=read("OTEL_RESOURCE_ATTRIBUTES"),
        exporters={signal: _read_exporters(read, signal) for signal in SIGNALS},
        otlp=otlp,
        spans=_read_batch(read, "BSP", otlp["traces"]),
        log_records=_read_batch(read, "BLRP", otlp["logs"]),
        metric_interval=read("OTEL_METRIC_EXPORT_INTERVAL", 5000.0 if otlp["metrics"].is_loopback else 60000.0),
        metric_timeout=read("OTEL_METRIC_EXPORT_TIMEOUT"),
        temporality=read("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"),
        histogram_aggregation=read("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"),
        exemplar_filter=read("OTEL_METRICS_EXEMPLAR_FILTER"),
        cardinality_limit=read("OTEL_FORGE_METRIC_CARDINALITY_LIMIT"),
        sampler=read("OTEL_TRACES_SAMPLER"),
        sampler_arg=_read_sampler_arg(read),
        id_generator=read("OTEL_PYTHON_ID_GENERATOR"),
        propagators=read("OTEL_PROPAGATORS"),
        limits=_read_limits(read),
        log_bridge=read("OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION"),
        log_level=read("OTEL_PYTHON_LOG_HANDLER_LEVEL"),
        log_code_attributes=read("OTEL_PYTHON_LOG_CODE_ATTRIBUTES"),
        log_unpropagated=read("OTEL_FORGE_LOGS_UNPROPAGATED"),
        log_files=_read_log_files(read),
        log_views=_read_log_views(read),
        semconv_opt_in=read("OTEL_SEMCONV_STABILITY_OPT_IN"),
        scrape_host=read("OTEL_EXPORTER_PROMETHEUS_HOST"),
        scrape_port=read("OTEL_EXPORTER_PROMETHEUS_PORT"),
        self_metrics=read("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"),
        runtime_metrics=read("OTEL_FORGE_RUNTIME_METRICS"),
        pipeline=read("OTEL_FORGE_PIPELINE"),
        spool=_read_spool(read),
        exit_timeout=read("OTEL_FORGE_EXIT_TIMEOUT"),
        environment=_environment(read),
        sentry=_read_sentry(read),
        slow_call=read("OTEL_FORGE_SLOW_CALL"),
        sigterm_flush=read("OTEL_FORGE_SIGTERM_FLUSH"),
        startup_line=read("OTEL_FORGE_STARTUP_LINE"),
        watch=_read_watch(read),
        health=_read_health(read),
        redaction=_read_redaction(read),
        stack_ports=_stack_ports(read),
        request_log=_read_request_log(read),
        rate_limit_secret=read("OTEL_FORGE_RATE_LIMIT_SECRET"),
        alerts=_read_alerts(read),
        problems=tuple(dict.fromkeys([*read.problems, *read.misspelt()])),
        rejected=tuple(dict.fromkeys(read.rejected)),
    )


def _stack_ports(read: _Reader) -> tuple[str, ...]:
    """Return the ports, as they stand: the stack itself (`otel_forge.stack.ports`) says what is wrong with one."""
    own = (("OTEL_FORGE_PORT_OTLP_GRPC", "4317"), ("OTEL_FORGE_PORT_OTLP_HTTP", "4318"))
    return tuple(read.text(name) or default for name, default in own)


def _read_log_views(read: _Reader) -> LogViewSettings:
    forced = read("FORCE_COLOR") not in ("", "0", "false")
    return LogViewSettings(
        view=read("OTEL_FORGE_LOGS_VIEW"),
        level=read("LOG_LEVEL"),
        flood=read("OTEL_FORGE_LOGS_FLOOD"),
        longest=read("OTEL_FORGE_LOGS_LONGEST"),
        colour=False if read("NO_COLOR") else True if forced else None,
        run_time_levels=read("OTEL_FORGE_LOGS_LEVELS"),
    )


def _environment(read: _Reader) -> str:
    """Return where the service runs, such as production; a developer who says nothing is in development."""
    attributes: Mapping[str, str] = read("OTEL_RESOURCE_ATTRIBUTES")
    named = attributes.get("deployment.environment.name") or attributes.get("deployment.environment")
    return str(named or read("APP_ENV") or read("FLASK_ENV") or "development")


def is_production(environment: str) -> bool:
    """Return whether `environment` is what people mean by production."""
    return environment.lower() in ("production", "prod")


def _read_sentry(read: _Reader) -> SentrySettings:
    dsn, where = read("SENTRY_DSN"), read("OTEL_FORGE_SENTRY")
    environment = read("SENTRY_ENVIRONMENT") or _environment(read)
    is_wanted = where == "on" or (where == "production" and is_production(environment))
    attributes: Mapping[str, str] = read("OTEL_RESOURCE_ATTRIBUTES")
    return SentrySettings(
        dsn=dsn,
        environment=environment,
        release=read("SENTRY_RELEASE") or attributes.get("service.version", ""),
        is_on=bool(dsn) and is_wanted,
        sample_rate=read("OTEL_FORGE_SENTRY_SAMPLE_RATE"),
        network_errors=read("OTEL_FORGE_SENTRY_NETWORK_ERRORS"),
    )


def _read_watch(read: _Reader) -> WatchSettings:
    def value(name: str) -> Any:
        return read(f"OTEL_FORGE_WATCH_{name}")

    folder: str = value("DIR")
    return WatchSettings(
        folder=Path(folder) if folder else None,
        live_url=value("LIVE_URL"),
        interval=value("INTERVAL"),
        probe_timeout=value("PROBE_TIMEOUT"),
        patience=value("PATIENCE"),
        busy_patience=value("BUSY_PATIENCE"),
        windows=value("WINDOWS"),
        memory_limit=value("MEMORY_LIMIT"),
        cpu=value("CPU"),
        memory=value("MEMORY"),
        disk=value("DISK"),
        disk_path=value("DISK_PATH"),
        grace=value("GRACE"),
        drain=value("DRAIN"),
        restarts=value("RESTARTS"),
        first_delay=value("FIRST_DELAY"),
        incidents=value("INCIDENTS"),
        capture=value("CAPTURE"),
        telemetry=value("TELEMETRY"),
        grafana_url=read("OTEL_FORGE_GRAFANA_URL"),
        grafana_token=read("OTEL_FORGE_GRAFANA_TOKEN"),
    )


def _read_health(read: _Reader) -> HealthSettings:
    return HealthSettings(
        interval=read("OTEL_FORGE_HEALTH_INTERVAL"),
        timeout=read("OTEL_FORGE_HEALTH_TIMEOUT"),
        fall=read("OTEL_FORGE_HEALTH_FALL"),
        rise=read("OTEL_FORGE_HEALTH_RISE"),
        drain=read("OTEL_FORGE_HEALTH_DRAIN"),
        token=read("OTEL_FORGE_HEALTH_TOKEN"),
    )


def _read_redaction(read: _Reader) -> RedactionSettings:
    return RedactionSettings(
        enabled=read("OTEL_FORGE_REDACTION"),
        keys=read("OTEL_FORGE_REDACTION_KEYS"),
        patterns=read("OTEL_FORGE_REDACTION_PATTERNS"),
        callback=read("OTEL_FORGE_REDACTION_CALLBACK"),
        allowed_keys=read("OTEL_FORGE_REDACTION_ALLOW_KEYS"),
        allowed_headers=read("OTEL_FORGE_REDACTION_ALLOW_HEADERS"),
        allowed_query=read("OTEL_FORGE_REDACTION_ALLOW_QUERY"),
    )


def _read_alerts(read: _Reader) -> AlertSettings:
    recipients: tuple[str, ...] = read("OTEL_FORGE_ALERTS_EMAIL_TO")
    notifiers = ("slack", "pagerduty", "email", "webhook")
    return AlertSettings(
        enabled=read("OTEL_FORGE_ALERTS"),
        interval=read("OTEL_FORGE_ALERTS_INTERVAL"),
        lowest={name: read(f"OTEL_FORGE_ALERTS_{name.upper()}_SEVERITY") for name in notifiers},
        pagerduty_url=read("OTEL_FORGE_ALERTS_PAGERDUTY_URL"),
        email_from=read("OTEL_FORGE_ALERTS_EMAIL_FROM") or "".join(recipients[:1]),
        email_to=recipients,
        slack_url=read("OTEL_FORGE_ALERTS_SLACK_URL"),
        pagerduty_key=read("OTEL_FORGE_ALERTS_PAGERDUTY_KEY"),
        smtp_url=read("OTEL_FORGE_ALERTS_SMTP_URL"),
        webhook_url=read("OTEL_FORGE_ALERTS_WEBHOOK_URL"),
        webhook_secret=read("OTEL_FORGE_ALERTS_WEBHOOK_SECRET"),
    )


def _read_request_log(read: _Reader) -> RequestLogSettings:
    return RequestLogSettings(
        enabled=read("OTEL_FORGE_REQUEST_LOG"),
        incoming=read("OTEL_FORGE_REQUEST_LOG_INCOMING"),
        client_address=read("OTEL_FORGE_REQUEST_LOG_CLIENT"),
        user_agent=read("OTEL_FORGE_REQUEST_LOG_USER_AGENT"),
    )


def _read_sampler_arg(read: _Reader) -> str:
    """Return the sampler's argument; the ratio samplers need a number from 0 to 1 and get 1 without one."""
    argument: str = read("OTEL_TRACES_SAMPLER_ARG")
    if not read("OTEL_TRACES_SAMPLER").lower().endswith("traceidratio"):
        return argument
    try:
        return str(RATIO(argument)) if argument else "1.0"
    except ValueError:
        read.complain("OTEL_TRACES_SAMPLER_ARG", argument, RATIO.allowed, "1.0")
        return "1.0"


def _read_exporters(read: _Reader, signal: Signal) -> tuple[str, ...]:
    names: tuple[str, ...] = read(f"OTEL_{signal.upper()}_EXPORTER")
    return () if "none" in (name.lower() for name in names) else tuple(dict.fromkeys(names))


def _read_otlp(read: _Reader, signal: Signal) -> OtlpSettings:
    def value(suffix: str) -> Any:
        """Return the signal's own value, or else the one for all signals."""
        return read(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{suffix}", read(f"OTEL_EXPORTER_OTLP_{suffix}"))

    protocol: str = value("PROTOCOL")
    return OtlpSettings(
        endpoint=_endpoint(read, signal, protocol),
        protocol=protocol,
        headers=value("HEADERS"),
        timeout=value("TIMEOUT"),
        compression=value("COMPRESSION"),
        certificate=value("CERTIFICATE"),
        client_key=value("CLIENT_KEY"),
        client_certificate=value("CLIENT_CERTIFICATE"),
        insecure=bool(value("INSECURE")),
    )


def _endpoint(read: _Reader, signal: Signal, protocol: str) -> str:
    """Return the whole address that one signal is sent to (specification: OTLP exporter, endpoint URLs)."""
    default = "http://localhost:4317" if protocol == "grpc" else "http://localhost:4318"
    base: str = read("OTEL_EXPORTER_OTLP_ENDPOINT", default)
    whole = base if protocol == "grpc" else f"{base.rstrip('/')}/v1/{signal}"
    address: str = read(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", whole)
    return address


def _read_batch(read: _Reader, prefix: str, otlp: OtlpSettings) -> BatchSettings:
    queue: int = read(f"OTEL_{prefix}_MAX_QUEUE_SIZE")
    batch: int = read(f"OTEL_{prefix}_MAX_EXPORT_BATCH_SIZE")
    if batch > queue:
        name = f"OTEL_{prefix}_MAX_EXPORT_BATCH_SIZE"
        if read.is_set(name):
            read.complain(name, str(batch), f"at most OTEL_{prefix}_MAX_QUEUE_SIZE, which is {queue}", str(queue))
        else:
            name = f"OTEL_{prefix}_MAX_QUEUE_SIZE"
            allowed = f"at least OTEL_{prefix}_MAX_EXPORT_BATCH_SIZE, which is {batch} by default"
            read.complain(name, str(queue), allowed, f"it with batches of {queue}")
        batch = queue
    return BatchSettings(
        schedule_delay=read(f"OTEL_{prefix}_SCHEDULE_DELAY", 1000.0 if otlp.is_loopback else 5000.0),
        max_queue_size=queue,
        max_export_batch_size=batch,
        export_timeout=read(f"OTEL_{prefix}_EXPORT_TIMEOUT"),
    )


def _read_log_files(read: _Reader) -> LogFileSettings:
    return LogFileSettings(
        folder=read("LOG_DIR"),
        file_bytes=round(read("OTEL_FORGE_LOGS_FILE_MB") * 1_000_000),
        pack_after_days=read("OTEL_FORGE_LOGS_PACK_DAYS"),
        remove_after_days=read("OTEL_FORGE_LOGS_KEEP_DAYS"),
        total_bytes=round(read("OTEL_FORGE_LOGS_TOTAL_MB") * 1_000_000),
    )


def _read_spool(read: _Reader) -> SpoolSettings:
    folder: str = read("OTEL_FORGE_SPOOL_DIR")
    return SpoolSettings(
        folder=None if folder.lower() == "none" else Path(folder) if folder else _state_folder(read),
        max_size=read("OTEL_FORGE_SPOOL_MAX_SIZE"),
        max_age=read("OTEL_FORGE_SPOOL_MAX_AGE"),
        fsync=read("OTEL_FORGE_SPOOL_FSYNC"),
        newest_first=read("OTEL_FORGE_SPOOL_ORDER") == "newest",
    )


def _state_folder(read: _Reader) -> Path:
    """Return where state of the user belongs (XDG base directories), or a place in the temporary folder."""
    state, home = Path(read.text("XDG_STATE_HOME")), Path(read.text("HOME"))
    if state.is_absolute():
        return state / "otel-forge" / "spool"
    if home.is_absolute() and home != Path(home.anchor):
        return home / ".local" / "state" / "otel-forge" / "spool"
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(read.text("TMPDIR") or "/tmp") / f"otel-forge-{user}" / "spool"  # noqa: S108 - its owner is checked


def _read_limits(read: _Reader) -> Limits:
    count = read("OTEL_ATTRIBUTE_COUNT_LIMIT", 128)
    length = read("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT")
    return Limits(
        span_attributes=read("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", count),
        span_attribute_length=read("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", length),
        events=read("OTEL_SPAN_EVENT_COUNT_LIMIT"),
        links=read("OTEL_SPAN_LINK_COUNT_LIMIT"),
        event_attributes=read("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", count),
        link_attributes=read("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", count),
        log_attributes=read("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", count),
        log_attribute_length=read("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", length),
    )
