"""The one table of alerts, from which both alerting lanes, the rule tests and the runbook check are made.

An alert is a measured value and a limit for it. Prometheus gets them as one expression (`value > limit`),
Grafana as a query and a threshold, so that a healthy value is data there and not the absence of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["page", "ticket", "info"]
NoData = Literal["Alerting", "NoData"]

GROUP = "otel-forge"
# Grafana evaluates on a grid of 10 s, so both lanes do.
EVALUATED_EVERY = "10s"
# Where Grafana answers by default; whoever moves it puts the real address in the copy that Prometheus reads.
GRAFANA_ADDRESS = "http://localhost:3001"
RUNBOOKS = "docs/runbooks"

SERVICE_LABELS = "deployment_environment_name, service_namespace, service_name"
REQUESTS = "http_server_request_duration_seconds_count"
# What the Collector pushes through its own pipe; what Prometheus scrapes from it has no service_name.
COLLECTOR_PUSHED = '{__name__=~"otelcol_process_uptime.*", service_name!=""}'

# Written in table texts where a lane puts the measured value, in the template language of that lane.
VALUE = "<value>"


@dataclass(frozen=True)
class Recording:
    """A recording rule: a series that alerts look back on."""

    name: str
    expr: str


@dataclass(frozen=True)
class Limit:
    """What the measured value is held against."""

    operator: Literal[">", "<"]
    value: float

    def __str__(self) -> str:
        """Return the comparison as PromQL."""
        return f"{self.operator} {self.value:g}"


@dataclass(frozen=True)
class Alert:
    """One alert: what is measured, when it is too much, and what the person who is told needs to know."""

    name: str
    runbook: str
    severity: Severity
    measured: str
    limit: Limit
    sustained: str
    no_data: NoData
    value_format: str
    summary: str
    description: str
    impact: str
    panel: str | None = None

    @property
    def expr(self) -> str:
        """Return the whole Prometheus expression: the measured value held against the limit."""
        return f"{self.measured} {self.limit}"

    @property
    def runbook_path(self) -> str:
        """Return where the runbook lies in the repository and in the installed bundle."""
        return f"{RUNBOOKS}/{self.runbook}.md"


_ALL = f"sum by ({SERVICE_LABELS}) (rate({REQUESTS}[5m]))"
_FAILED = f'sum by ({SERVICE_LABELS}) (rate({REQUESTS}{{http_response_status_code=~"5.."}}[5m]))'
_ENOUGH = f"sum by ({SERVICE_LABELS}) (increase({REQUESTS}[5m])) >= 20"

REQUEST_RATE = Recording("service:http_server_requests:rate5m", _ALL)
# Below 20 requests a single failure would be 5 %: the ratio then counts as 0, which is data, not silence.
FAILURE_RATIO = Recording(
    "service:http_server_failures:ratio5m",
    f"({_FAILED} / {REQUEST_RATE.name} and {_ENOUGH}) or 0 * {REQUEST_RATE.name}",
)
# A series pushed by OTLP has no end marker: only the time of its newest sample tells that it stopped.
LAST_HEARD = Recording(
    "service:telemetry_timestamp_seconds:max",
    f"max by ({SERVICE_LABELS}) (timestamp(target_info))",
)
# Prometheus forgets a series after 5 minutes, so an age beyond that is told as 300 s.
PIPELINE_AGE = Recording(
    "stack:telemetry_age_seconds:min",
    f"time() - (max(timestamp({COLLECTOR_PUSHED})) or vector(time() - 300))",
)
RECORDINGS = (REQUEST_RATE, FAILURE_RATIO, LAST_HEARD, PIPELINE_AGE)

SERVICE_DOWN = Alert(
    name="ServiceDown",
    runbook="service-down",
    severity="page",
    # Silence says nothing about a service while the pipe itself is silent: it then counts as 0, and
    # TelemetryMissing speaks instead.
    measured=(
        f"((time() - max_over_time({LAST_HEARD.name}[6h]))"
        f" and on ({SERVICE_LABELS}) (max_over_time({REQUEST_RATE.name}[6h]) > 0))"
        f" * on () group_left () ({PIPELINE_AGE.name} < bool 60)"
    ),
    limit=Limit(">", 120),
    sustained="1m",
    no_data="NoData",
    value_format="humanizeDuration",
    summary="{{ .Labels.service_name }} has gone silent",
    description=(
        "{{ .Labels.service_name }} answered requests in the last 6 hours, and nothing has been heard of it"
        f" for {VALUE} (limit: 2 minutes), while other telemetry still arrives. It is not running, cannot"
        " reach the Collector, or was restarted and has had no request since."
    ),
    impact="Users of the service get no answer, or it answers and nobody can see how.",
    panel="Requests by route",
)

ERROR_RATIO_HIGH = Alert(
    name="ErrorRatioHigh",
    runbook="error-ratio-high",
    severity="page",
    measured=FAILURE_RATIO.name,
    limit=Limit(">", 0.05),
    sustained="1m",
    no_data="NoData",
    value_format="humanizePercentage",
    summary="{{ .Labels.service_name }} fails too many requests",
    description=(
        f"{VALUE} of the requests to {{{{ .Labels.service_name }}}} in the last 5 minutes were answered with"
        " a 5xx status (limit: 5%, counted from 20 requests on)."
    ),
    impact="That share of users sees an error instead of an answer.",
    panel="Failed requests by route",
)

TELEMETRY_MISSING = Alert(
    name="TelemetryMissing",
    runbook="telemetry-missing",
    severity="page",
    measured=PIPELINE_AGE.name,
    limit=Limit(">", 120),
    sustained="1m",
    no_data="Alerting",
    value_format="humanizeDuration",
    summary="No telemetry arrives",
    description=(
        f"The newest sample that the Collector sent about itself is {VALUE} old (limit: 2 minutes; counting"
        " stops at 5). The Collector is down, or what it sends no longer reaches Prometheus."
    ),
    impact="Dashboards stand still and no other alert can be trusted until this one is resolved.",
)

WATCHDOG = Alert(
    name="Watchdog",
    runbook="watchdog",
    severity="info",
    measured="vector(1)",
    limit=Limit(">", 0),
    sustained="0s",
    no_data="Alerting",
    value_format="humanize",
    summary="Alerting works",
    description=(
        f"This alert always fires (value {VALUE}, limit 0). Connect it to something outside that tells a"
        " person when it stops coming."
    ),
    impact="None while it fires. When it stops, nobody is told of anything.",
)

ALERTS = (SERVICE_DOWN, ERROR_RATIO_HIGH, TELEMETRY_MISSING, WATCHDOG)
