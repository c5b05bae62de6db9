"""The settings: read once from a mapping, frozen, and forgiving.

``Settings.from_env(os.environ)`` never raises: a value that cannot be used is replaced by its default
and described in ``Settings.problems``, one line each, naming the variable, the value, what is allowed
and what is used instead. Names and meanings are those of the OpenTelemetry specification and of
OpenTelemetry Python; ``OTEL_FORGE_*`` exists only for what they have no name for.

``Settings.rejected`` lists the variables that hold such a value, so that start-up can keep them from
upstream code that would raise on them.

`VARIABLES` is the one list of what is read; the table in ``docs/settings.md`` is tested against it.
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
from otel_forge.parsing import (
    BOOLEAN,
    DURATION,
    NAMES,
    PAIRS,
    PATTERNS,
    RATE,
    READABLE_FILE,
    REFERENCE,
    TEXT,
    URL,
    Parser,
    PartlyUsable,
    choice,
    integer,
    number,
    size,
)

Signal = Literal["traces", "metrics", "logs"]
SIGNALS: tuple[Signal, ...] = ("traces", "metrics", "logs")

_LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}
_SECRET_VARIABLE_WORDS = ("HEADERS",)
_PROTOCOLS = choice("http/protobuf", "grpc")
_MILLISECONDS = number(0, unit="milliseconds", above=True)
_MEGABYTES = number(0, 1_000_000, unit="megabytes", above=True)
_LIMIT = integer(0)
_RATIO = number(0, 1)


@dataclass(frozen=True)
class Variable:
    """One environment variable: its name, how it is read, its default and what it is for."""

    name: str
    parser: Parser
    default: Any
    meaning: str
    default_text: str = ""


def _exporter(signal: Signal, also: str = "") -> Variable:
    return Variable(
        f"OTEL_{signal.upper()}_EXPORTER",
        NAMES,
        ("otlp",),
        f"Where {signal} go: otlp, console, none{also}, or the name of an installed exporter; several with commas.",
        "otlp",
    )


def _batch(prefix: str, items: str) -> tuple[Variable, ...]:
    return (
        Variable(
            f"OTEL_{prefix}_SCHEDULE_DELAY",
            _MILLISECONDS,
            None,
            f"Milliseconds between two sends of {items}.",
            "1000 to a loopback endpoint, 5000 elsewhere",
        ),
        Variable(f"OTEL_{prefix}_MAX_QUEUE_SIZE", integer(1), 2048, f"How many {items} wait at the most."),
        Variable(f"OTEL_{prefix}_MAX_EXPORT_BATCH_SIZE", integer(1), 512, f"How many {items} one request carries."),
        Variable(
            f"OTEL_{prefix}_EXPORT_TIMEOUT", _MILLISECONDS, 30000.0, f"Milliseconds that one send of {items} may take."
        ),
    )


def _otlp(signal: Signal | None) -> tuple[Variable, ...]:
    infix = f"{signal.upper()}_" if signal else ""
    of = f"of {signal} (wins over the general variable)" if signal else "of all signals"

    def variable(suffix: str, parser: Parser, default: Any, meaning: str, default_text: str = "") -> Variable:
        return Variable(
            f"OTEL_EXPORTER_OTLP_{infix}{suffix}", parser, None if signal else default, meaning, default_text
        )

    base = "Address" if signal else "Base address (/v1/traces and so on is appended for HTTP)"
    return (
        variable("ENDPOINT", URL, None, f"{base} {of}.", "" if signal else "http://localhost:4318, gRPC :4317"),
        variable("PROTOCOL", _PROTOCOLS, "http/protobuf", f"OTLP protocol {of}: http/protobuf or grpc."),
        variable("HEADERS", PAIRS, {}, f"Headers sent with each request {of}, as key=value pairs."),
        variable("TIMEOUT", number(0, unit="seconds", above=True), 10.0, f"Seconds that one request {of} may take."),
        variable("COMPRESSION", choice("none", "gzip", "deflate"), "none", f"Compression {of}: none, gzip or deflate."),
        variable("CERTIFICATE", READABLE_FILE, None, f"CA certificate file that the server is checked against, {of}."),
        variable("CLIENT_KEY", READABLE_FILE, None, f"Client key file for mutual TLS, {of}."),
        variable("CLIENT_CERTIFICATE", READABLE_FILE, None, f"Client certificate file for mutual TLS, {of}."),
        variable("INSECURE", BOOLEAN, None, f"Plain text for gRPC {of} when the address has no scheme of its own."),
    )


VARIABLES: tuple[Variable, ...] = (
    Variable("OTEL_SDK_DISABLED", BOOLEAN, False, "true turns all telemetry off; propagation stays."),
    Variable("OTEL_CONFIG_FILE", TEXT, "", "A declarative configuration file; it replaces all OTEL_* settings below."),
    Variable("OTEL_SERVICE_NAME", TEXT, "", "The name of the service.", "guessed: package, app or folder"),
    Variable("OTEL_RESOURCE_ATTRIBUTES", PAIRS, {}, "Attributes of the resource, as key=value pairs."),
    _exporter("traces"),
    _exporter("metrics", ", prometheus"),
    _exporter("logs"),
    *_otlp(None),
    *_otlp("traces"),
    *_otlp("metrics"),
    *_otlp("logs"),
    *_batch("BSP", "spans"),
    *_batch("BLRP", "log records"),
    Variable(
        "OTEL_METRIC_EXPORT_INTERVAL",
        _MILLISECONDS,
        None,
        "Milliseconds between two sends of metrics.",
        "5000 to a loopback endpoint, 60000 elsewhere",
    ),
    Variable("OTEL_METRIC_EXPORT_TIMEOUT", _MILLISECONDS, 30000.0, "Milliseconds that one send of metrics may take."),
    Variable(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        choice("cumulative", "delta", "lowmemory"),
        "cumulative",
        "Temporality of exported metrics: cumulative, delta or lowmemory.",
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        choice("explicit_bucket_histogram", "base2_exponential_bucket_histogram"),
        "explicit_bucket_histogram",
        "Aggregation of histograms: explicit_bucket_histogram or base2_exponential_bucket_histogram.",
    ),
    Variable(
        "OTEL_METRICS_EXEMPLAR_FILTER",
        choice("trace_based", "always_on", "always_off"),
        "trace_based",
        "Which measurements may become exemplars: trace_based, always_on or always_off.",
    ),
    Variable(
        "OTEL_TRACES_SAMPLER", TEXT, "parentbased_always_on", "The sampler, by its standard name or an installed one's."
    ),
    Variable(
        "OTEL_TRACES_SAMPLER_ARG", TEXT, "", "The sampler's argument; for the ratio samplers a number from 0 to 1."
    ),
    Variable(
        "OTEL_PYTHON_ID_GENERATOR",
        TEXT,
        "random",
        "Where trace and span ids come from: random or an installed generator.",
    ),
    Variable(
        "OTEL_PROPAGATORS",
        NAMES,
        ("tracecontext", "baggage"),
        "Propagators in lower case, with commas; upstream's launcher stops at a name that nobody offers.",
        "tracecontext,baggage",
    ),
    Variable(
        "OTEL_ATTRIBUTE_COUNT_LIMIT",
        _LIMIT,
        None,
        "Attributes that a record keeps, unless a limit below says otherwise.",
        "128",
    ),
    Variable("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", _LIMIT, None, "Characters that a text attribute keeps.", "no limit"),
    Variable("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", _LIMIT, None, "Attributes that a span keeps.", "128"),
    Variable(
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        _LIMIT,
        None,
        "Characters that a text attribute of a span keeps.",
        "no limit",
    ),
    Variable("OTEL_SPAN_EVENT_COUNT_LIMIT", _LIMIT, 128, "Events that a span keeps."),
    Variable("OTEL_SPAN_LINK_COUNT_LIMIT", _LIMIT, 128, "Links that a span keeps."),
    Variable("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", _LIMIT, None, "Attributes that a span event keeps.", "128"),
    Variable("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", _LIMIT, None, "Attributes that a link keeps.", "128"),
    Variable("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", _LIMIT, None, "Attributes that a log record keeps.", "128"),
    Variable(
        "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        _LIMIT,
        None,
        "Characters that a text attribute of a log record keeps.",
        "no limit",
    ),
    Variable(
        "OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION",
        BOOLEAN,
        True,
        "false keeps records of the logging module out of telemetry.",
    ),
    Variable(
        "OTEL_PYTHON_LOG_HANDLER_LEVEL",
        choice("notset", "debug", "info", "warn", "warning", "error", "critical"),
        "notset",
        "Lowest level of log records that become telemetry.",
    ),
    Variable("OTEL_PYTHON_LOG_CODE_ATTRIBUTES", BOOLEAN, False, "true adds file, function and line to log records."),
    Variable(
        "OTEL_FORGE_LOGS_UNPROPAGATED",
        BOOLEAN,
        False,
        "true makes telemetry of records that do not reach the root logger, too (loggers with propagate=False).",
    ),
    Variable(
        "OTEL_SEMCONV_STABILITY_OPT_IN",
        NAMES,
        ("http", "database"),
        "Conventions of instrumentations: http, http/dup, database, database/dup; any other word is the old ones.",
        "http,database",
    ),
    Variable(
        "OTEL_EXPORTER_PROMETHEUS_HOST", TEXT, "localhost", "Host that the Prometheus scrape endpoint listens on."
    ),
    Variable(
        "OTEL_EXPORTER_PROMETHEUS_PORT",
        integer(1, 65535),
        9464,
        "First port tried for the scrape endpoint; each further worker takes the next.",
    ),
    Variable(
        "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED",
        BOOLEAN,
        True,
        "Metrics about telemetry itself (otel.sdk.*); the upstream pipeline has them only if this is true.",
        "true in the lean pipeline",
    ),
    Variable(
        "OTEL_FORGE_PIPELINE",
        choice("lean", "upstream"),
        "lean",
        "What records and sends: lean (our own core and instrumentations) or upstream (the OpenTelemetry SDK's).",
    ),
    Variable(
        "OTEL_FORGE_METRIC_CARDINALITY_LIMIT",
        integer(1),
        2000,
        "Attribute sets of a metric that have a series of their own; all others share one. A view's own limit wins.",
    ),
    Variable(
        "OTEL_FORGE_EXIT_TIMEOUT",
        number(0, 60, unit="seconds"),
        1.2,
        "Seconds that process exit may take to send what is left, all signals in parallel.",
    ),
    Variable(
        "OTEL_FORGE_SIGTERM_FLUSH",
        BOOLEAN,
        True,
        "false leaves SIGTERM alone; true sends what is left before a plain python process ends.",
    ),
    Variable(
        "SENTRY_DSN", TEXT, "", "The Sentry project that errors are reported to; needs otel-forge[sentry].", "no Sentry"
    ),
    Variable(
        "APP_ENV",
        TEXT,
        "",
        "The environment, production or development, where deployment.environment.name does not say it.",
        "FLASK_ENV",
    ),
    Variable("FLASK_ENV", TEXT, "", "The same, where APP_ENV does not say it.", "development"),
    Variable(
        "SENTRY_ENVIRONMENT",
        TEXT,
        "",
        "The environment that Sentry shows.",
        "deployment.environment.name, APP_ENV or FLASK_ENV",
    ),
    Variable(
        "SENTRY_RELEASE", TEXT, "", "The release that Sentry shows.", "service.version of OTEL_RESOURCE_ATTRIBUTES"
    ),
    Variable(
        "OTEL_FORGE_SENTRY",
        choice("production", "on", "off"),
        "production",
        "Where errors are reported to SENTRY_DSN: production (only where the environment is that), on or off.",
    ),
    Variable(
        "OTEL_FORGE_SENTRY_SAMPLE_RATE",
        _RATIO,
        1.0,
        "The share of errors that is reported to Sentry, chosen by trace id as the ratio samplers choose traces.",
    ),
    Variable(
        "OTEL_FORGE_SENTRY_NETWORK_ERRORS",
        BOOLEAN,
        False,
        "true reports failed network requests to Sentry, too; they are logged anyway.",
    ),
    Variable(
        "OTEL_FORGE_SLOW_CALL",
        _MILLISECONDS,
        1000.0,
        "Milliseconds above which track_performance warns, unless its own threshold says otherwise.",
    ),
    Variable(
        "LOG_LEVEL",
        TEXT,
        "",
        "Lowest level that our console and JSON views show, by name or number; other tools may read it as well.",
        "info",
    ),
    Variable(
        "OTEL_FORGE_LOGS_VIEW",
        choice("off", "auto", "console", "json"),
        "off",
        "Log records as otel-forge writes them: off, console, json, or auto (console in development, else json).",
    ),
    Variable(
        "OTEL_FORGE_LOGS_FLOOD",
        RATE,
        None,
        "Records below ERROR that one log statement may make before the rest is only counted, such as 1000/60s.",
        "no limit",
    ),
    Variable(
        "OTEL_FORGE_LOGS_LONGEST", integer(100), 65536, "Characters of a message, field or traceback that views show."
    ),
    Variable(
        "OTEL_FORGE_LOGS_LEVELS",
        BOOLEAN,
        True,
        "false keeps processes from watching for `otel-forge logs level`, which changes levels while they run.",
    ),
    Variable("NO_COLOR", TEXT, "", "Anything keeps colours out of the console view.", "colours on a terminal"),
    Variable("FORCE_COLOR", TEXT, "", "Anything but 0 gives the console view colours wherever it goes; NO_COLOR wins."),
    Variable(
        "LOG_DIR",
        TEXT,
        "",
        "Folder of the daily log files, <service>-YYYY-MM-DD.log; `otel-forge logs` reads them.",
        "no log files",
    ),
    Variable(
        "OTEL_FORGE_LOGS_FILE_MB",
        _MEGABYTES,
        10.0,
        "Megabytes at which a log file is set aside and packed and a new one begun.",
    ),
    Variable("OTEL_FORGE_LOGS_PACK_DAYS", integer(0), 7, "Days after which a past day's log file is packed, too."),
    Variable("OTEL_FORGE_LOGS_KEEP_DAYS", integer(1), 30, "Days after which a log file is removed."),
    Variable(
        "OTEL_FORGE_LOGS_TOTAL_MB",
        _MEGABYTES,
        100.0,
        "Megabytes that the log files of a service may take; above, the oldest packed ones are removed.",
    ),
    Variable(
        "OTEL_FORGE_REDACTION",
        BOOLEAN,
        True,
        "false lets secrets leave as they are: in spans, metrics, logs, files and Sentry events.",
    ),
    Variable(
        "OTEL_FORGE_REDACTION_KEYS",
        NAMES,
        (),
        "More keys whose values never leave, in any sink; * stands for any characters.",
    ),
    Variable(
        "OTEL_FORGE_REDACTION_PATTERNS",
        PATTERNS,
        {},
        "More texts that never leave: class=regular expression, several with semicolons.",
    ),
    Variable(
        "OTEL_FORGE_REDACTION_CALLBACK",
        REFERENCE,
        "",
        "A function of yours, as module:function, that is given key and text and returns what may leave, or None.",
    ),
    Variable("OTEL_FORGE_REDACTION_ALLOW_KEYS", NAMES, (), "Keys that name no secret in your app, such as session.id."),
    Variable(
        "OTEL_FORGE_REDACTION_ALLOW_HEADERS", NAMES, (), "Captured headers whose values may leave, beside HTTP's own."
    ),
    Variable("OTEL_FORGE_REDACTION_ALLOW_QUERY", NAMES, (), "Keys of URL queries whose values may leave."),
    Variable(
        "OTEL_FORGE_SPOOL_DIR",
        TEXT,
        "",
        "Folder in which the lean pipeline keeps what can't be delivered yet; none keeps it in memory only.",
        "otel-forge/spool in $XDG_STATE_HOME or ~/.local/state, else a folder of the user's in the temporary one",
    ),
    Variable(
        "OTEL_FORGE_SPOOL_MAX_SIZE",
        size(1 << 20),
        256 << 20,
        "Bytes that a process keeps there at the most, all signals together; beyond that the oldest goes, errors last.",
        "256MiB",
    ),
    Variable(
        "OTEL_FORGE_SPOOL_MAX_AGE",
        DURATION,
        86400.0,
        "How long it is kept at the most: seconds, or with one of the units s, m, h, d.",
        "24h",
    ),
    Variable(
        "OTEL_FORGE_SPOOL_FSYNC",
        choice("always", "interval", "never"),
        "interval",
        "When it must be on the disk: always (a record is before the call that made it returns; slow), "
        "interval (once a second) or never (whenever the system likes).",
    ),
    Variable(
        "OTEL_FORGE_SPOOL_ORDER",
        choice("oldest", "newest"),
        "oldest",
        "Which goes first after an outage: oldest or newest.",
    ),
    Variable("OTEL_FORGE_STARTUP_LINE", BOOLEAN, True, "false keeps the line at start-up off the terminal."),
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
    pipeline: str
    spool: SpoolSettings
    exit_timeout: float
    environment: str
    sentry: SentrySettings
    slow_call: float
    sigterm_flush: bool
    startup_line: bool
    redaction: RedactionSettings
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


def table() -> list[tuple[str, str, str]]:
    """Return a row for each variable: name, default in words, meaning."""
    return [
        (variable.name, variable.default_text or _shown(variable.default, ""), variable.meaning)
        for variable in VARIABLES
    ]


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
            self.complain(name, text, variable.parser.allowed, _shown(fallback, variable.default_text))
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
        shown = "'…'" if name.endswith(_SECRET_VARIABLE_WORDS) else repr(text)
        self.problems.append(f"{name}={shown} is not {allowed}; using {used}.")
        self.rejected.append(name)


def _shown(fallback: Any, default_text: str) -> str:
    if fallback is None:
        return f"the default ({default_text})" if default_text else "none"
    if isinstance(fallback, bool):
        return str(fallback).lower()
    if isinstance(fallback, tuple):
        return ",".join(fallback)
    if isinstance(fallback, float):
        return f"{fallback:g}"
    return str(fallback) if fallback else "none"


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
        pipeline=read("OTEL_FORGE_PIPELINE"),
        spool=_read_spool(read),
        exit_timeout=read("OTEL_FORGE_EXIT_TIMEOUT"),
        environment=_environment(read),
        sentry=_read_sentry(read),
        slow_call=read("OTEL_FORGE_SLOW_CALL"),
        sigterm_flush=read("OTEL_FORGE_SIGTERM_FLUSH"),
        startup_line=read("OTEL_FORGE_STARTUP_LINE"),
        redaction=_read_redaction(read),
        problems=tuple(dict.fromkeys([*read.problems, *read.misspelt()])),
        rejected=tuple(dict.fromkeys(read.rejected)),
    )


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


def _read_sampler_arg(read: _Reader) -> str:
    """Return the sampler's argument; the ratio samplers need a number from 0 to 1 and get 1 without one."""
    argument: str = read("OTEL_TRACES_SAMPLER_ARG")
    if not read("OTEL_TRACES_SAMPLER").lower().endswith("traceidratio"):
        return argument
    try:
        return str(_RATIO(argument)) if argument else "1.0"
    except ValueError:
        read.complain("OTEL_TRACES_SAMPLER_ARG", argument, _RATIO.allowed, "1.0")
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
