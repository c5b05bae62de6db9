"""The variables: every environment variable that is read, how, its default and what it is for.

`VARIABLES` is the one list of them; `otel_forge.settings` makes records of their values, and the table in
``docs/settings.md`` is tested against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from otel_forge.parsing import (
    BOOLEAN,
    COUNT_IN_SECONDS,
    DURATION,
    MAIL_ADDRESS,
    MAIL_ADDRESSES,
    NAMES,
    OUT_OF,
    PAIRS,
    PATTERNS,
    RATE,
    READABLE_FILE,
    REFERENCE,
    ROUTING_KEY,
    SMTP_URL,
    TEXT,
    URL,
    Parser,
    choice,
    integer,
    number,
    size,
)

Signal = Literal["traces", "metrics", "logs"]
SIGNALS: tuple[Signal, ...] = ("traces", "metrics", "logs")

_PROTOCOLS = choice("http/protobuf", "grpc")
_MILLISECONDS = number(0, unit="milliseconds", above=True)
_MEGABYTES = number(0, 1_000_000, unit="megabytes", above=True)
_SECONDS = number(0, 86400, unit="seconds", above=True)
_PERCENT = number(0, 100, unit="percent", above=True)
_LIMIT = integer(0)
RATIO = number(0, 1)
CLIENT_ADDRESSES, USER_AGENTS = ("truncated", "whole", "none"), ("class", "whole", "none")
"""How much of a client the request log shows."""


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


def _severity(notifier: str, place: str, default: str = "low") -> Variable:
    return Variable(
        f"OTEL_FORGE_ALERTS_{notifier}_SEVERITY",
        choice("low", "medium", "high", "critical"),
        default,
        f"The lowest severity of alerts that go to {place}: low, medium, high or critical.",
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
        RATIO,
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
    Variable(
        "OTEL_FORGE_ALERTS",
        BOOLEAN,
        True,
        "false keeps alert rules from being evaluated; true evaluates those that an application adds.",
    ),
    Variable(
        "OTEL_FORGE_ALERTS_INTERVAL",
        number(0, 86400, unit="seconds", above=True),
        60.0,
        "Seconds between two evaluations of the alert rules.",
    ),
    Variable("OTEL_FORGE_ALERTS_SLACK_URL", URL, "", "The incoming webhook of Slack that alerts go to.", "no Slack"),
    _severity("SLACK", "Slack"),
    Variable(
        "OTEL_FORGE_ALERTS_PAGERDUTY_KEY",
        ROUTING_KEY,
        "",
        "The integration key (Events API v2) of the PagerDuty service that alerts go to.",
        "no PagerDuty",
    ),
    Variable(
        "OTEL_FORGE_ALERTS_PAGERDUTY_URL",
        URL,
        "https://events.pagerduty.com/v2/enqueue",
        "Where PagerDuty takes events; accounts in its EU region have events.eu.pagerduty.com.",
    ),
    _severity("PAGERDUTY", "PagerDuty", "high"),
    Variable(
        "OTEL_FORGE_ALERTS_SMTP_URL",
        SMTP_URL,
        "",
        "The mail server for alerts: smtp:// (STARTTLS) or smtps:// (TLS), with user:password@ if it asks for them.",
        "no e-mail",
    ),
    Variable(
        "OTEL_FORGE_ALERTS_EMAIL_FROM",
        MAIL_ADDRESS,
        "",
        "The sender of alert mails.",
        "the first of OTEL_FORGE_ALERTS_EMAIL_TO",
    ),
    Variable("OTEL_FORGE_ALERTS_EMAIL_TO", MAIL_ADDRESSES, (), "Who gets alert mails, with commas.", "no e-mail"),
    _severity("EMAIL", "e-mail"),
    Variable(
        "OTEL_FORGE_ALERTS_WEBHOOK_URL", URL, "", "An address of yours that alerts are posted to as JSON.", "no webhook"
    ),
    Variable(
        "OTEL_FORGE_ALERTS_WEBHOOK_SECRET",
        TEXT,
        "",
        "What those requests are signed with (HMAC-SHA256), in the header Otel-Forge-Signature.",
        "not signed",
    ),
    _severity("WEBHOOK", "the webhook"),
    Variable(
        "OTEL_FORGE_WATCH_DIR",
        TEXT,
        "",
        "Folder in which processes tell `otel-forge watch` how they do; watch sets it for the app that it starts.",
        "not watched",
    ),
    Variable(
        "OTEL_FORGE_WATCH_LIVE_URL",
        URL,
        "",
        "Address that watch probes for life; any answer is life, also 503.",
        "no probe",
    ),
    Variable("OTEL_FORGE_WATCH_INTERVAL", _SECONDS, 2.0, "Seconds between two samples, and between two probes."),
    Variable("OTEL_FORGE_WATCH_PROBE_TIMEOUT", _SECONDS, 5.0, "Seconds that one probe may take."),
    Variable(
        "OTEL_FORGE_WATCH_PATIENCE",
        number(3, 86400, unit="seconds"),
        20.0,
        "Seconds of silence after which an app that does nothing is sick; longer than its slowest request.",
    ),
    Variable(
        "OTEL_FORGE_WATCH_BUSY_PATIENCE",
        _SECONDS,
        120.0,
        "The same for a silent process that computes.",
    ),
    Variable(
        "OTEL_FORGE_WATCH_WINDOWS",
        OUT_OF,
        (2, 3),
        "In how many of how many samples in a row evidence must be there before watch restarts, such as 2/3.",
        "2/3",
    ),
    Variable(
        "OTEL_FORGE_WATCH_MEMORY_LIMIT",
        size(1 << 20),
        0,
        "Resident bytes of all processes of the app above which watch restarts it.",
        "no limit",
    ),
    Variable("OTEL_FORGE_WATCH_CPU", _PERCENT, 80.0, "Percent of the host's CPU above which watch warns."),
    Variable("OTEL_FORGE_WATCH_MEMORY", _PERCENT, 80.0, "Percent of the host's memory above which watch warns."),
    Variable("OTEL_FORGE_WATCH_DISK", _PERCENT, 80.0, "Percent of the disk above which watch warns."),
    Variable("OTEL_FORGE_WATCH_DISK_PATH", TEXT, "/", "A path on the disk that is meant."),
    Variable(
        "OTEL_FORGE_WATCH_GRACE",
        _SECONDS,
        30.0,
        "Seconds between SIGTERM and SIGKILL; at most 3 for a process that is stuck anyway.",
    ),
    Variable(
        "OTEL_FORGE_WATCH_DRAIN",
        number(0, 3600, unit="seconds"),
        0.0,
        "Seconds between lowered readiness and the SIGTERM that watch passes on.",
    ),
    Variable(
        "OTEL_FORGE_WATCH_RESTARTS",
        COUNT_IN_SECONDS,
        (3, 600.0),
        "Restarts in so many seconds after which watch stops restarting and alerts, such as 3/600s.",
        "3/600s",
    ),
    Variable(
        "OTEL_FORGE_WATCH_FIRST_DELAY",
        _SECONDS,
        2.0,
        "Seconds, more or less, between the first restart and the next; doubled with each.",
    ),
    Variable("OTEL_FORGE_WATCH_INCIDENTS", integer(1, 1000), 20, "Incidents whose stacks, logs and state are kept."),
    Variable(
        "OTEL_FORGE_WATCH_CAPTURE",
        BOOLEAN,
        False,
        "true passes the app's output through watch, which keeps its last lines for an incident.",
    ),
    Variable("OTEL_FORGE_WATCH_TELEMETRY", BOOLEAN, True, "false keeps watch from sending telemetry of its own."),
    Variable(
        "OTEL_FORGE_GRAFANA_URL", URL, "", "Grafana, which gets an annotation for each restart.", "no annotations"
    ),
    Variable("OTEL_FORGE_GRAFANA_TOKEN", TEXT, "", "A service account's token that may write annotations there."),
    Variable(
        "OTEL_FORGE_RUNTIME_METRICS",
        BOOLEAN,
        True,
        "false leaves out metrics of the process, of Python's garbage collector and of gunicorn.",
    ),
    Variable(
        "OTEL_FORGE_HEALTH_TOKEN",
        TEXT,
        "",
        "Who sends it as Authorization: Bearer sees reasons and details of health checks; without it nobody does.",
        "nobody",
    ),
    Variable(
        "OTEL_FORGE_HEALTH_INTERVAL",
        number(0, unit="seconds", above=True),
        10.0,
        "Seconds between two calls of a health check, unless the check says otherwise.",
    ),
    Variable(
        "OTEL_FORGE_HEALTH_TIMEOUT",
        number(0, unit="seconds", above=True),
        1.0,
        "Seconds after which a health check has failed, unless the check says otherwise.",
    ),
    Variable("OTEL_FORGE_HEALTH_FALL", integer(1), 3, "Failures in a row that make a health check ill."),
    Variable("OTEL_FORGE_HEALTH_RISE", integer(1), 2, "Successes in a row that make it well again."),
    Variable(
        "OTEL_FORGE_HEALTH_DRAIN",
        number(0, 600, unit="seconds"),
        0.0,
        "Seconds for which requests are still taken after SIGTERM, while readiness is 503; then the server is told.",
    ),
    Variable(
        "OTEL_FORGE_REQUEST_LOG",
        BOOLEAN,
        False,
        "true writes one line for each request of every Flask app; an app that uses `Forge` or `RequestLog` has it on.",
    ),
    Variable("OTEL_FORGE_REQUEST_LOG_INCOMING", BOOLEAN, False, "true adds a line when a request arrives."),
    Variable(
        "OTEL_FORGE_REQUEST_LOG_CLIENT",
        choice(*CLIENT_ADDRESSES),
        "truncated",
        "The client's address in that line: truncated (to /24, or /48 for IPv6), whole or none.",
    ),
    Variable(
        "OTEL_FORGE_REQUEST_LOG_USER_AGENT",
        choice(*USER_AGENTS),
        "class",
        "The user agent in that line: class (browser, bot, tool, monitor, other), whole (its own text, too) or none.",
    ),
    Variable(
        "OTEL_FORGE_RATE_LIMIT_SECRET",
        TEXT,
        "",
        "With what the keys of rate limits are hashed for the log, if the same key is to be the same hash everywhere.",
        "a random one for each process that is started",
    ),
    Variable("OTEL_FORGE_STARTUP_LINE", BOOLEAN, True, "false keeps the line at start-up off the terminal."),
)


def table() -> list[tuple[str, str, str]]:
    """Return a row for each variable: name, default in words, meaning."""
    return [
        (variable.name, variable.default_text or shown(variable.default, ""), variable.meaning)
        for variable in VARIABLES
    ]


def shown(fallback: Any, default_text: str) -> str:
    """Return a default in words, as a user would type it."""
    if fallback is None:
        return f"the default ({default_text})" if default_text else "none"
    if isinstance(fallback, bool):
        return str(fallback).lower()
    if isinstance(fallback, tuple):
        return default_text or ",".join(fallback)
    if isinstance(fallback, float):
        return f"{fallback:g}"
    return str(fallback) if fallback else "none"
