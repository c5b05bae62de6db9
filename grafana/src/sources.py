"""The data sources: stable uids, references for panels, and the provisioning file with all correlations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from grafana_foundation_sdk.models.common import DataSourceRef

Json = dict[str, object]


@dataclass(frozen=True)
class Source:
    """One data source; `uid` doubles as the name of the dashboard variable that selects it."""

    uid: str
    title: str
    plugin: str
    address_env: str

    def chosen(self) -> DataSourceRef:
        """Return the reference that follows the dashboard's data source variable."""
        return DataSourceRef(type_val=self.plugin, uid=f"${{{self.uid}}}")


PROMETHEUS = Source("prometheus", "Prometheus", "prometheus", "FORGE_PROMETHEUS_URL")
LOKI = Source("loki", "Loki", "loki", "FORGE_LOKI_URL")
TEMPO = Source("tempo", "Tempo", "tempo", "FORGE_TEMPO_URL")
ALERTMANAGER = Source("alertmanager", "Alertmanager", "alertmanager", "FORGE_ALERTMANAGER_URL")
SOURCES = (PROMETHEUS, LOKI, TEMPO, ALERTMANAGER)

# The slowest export or scrape that the stack's own parts use; `$__rate_interval` is at least four of these.
SAMPLE_INTERVAL = "15s"
# Tempo's generator names the service label `service`; our logs name it `service_name`.
SERVICE_IN_SPAN_METRICS = "service"


def in_provisioning(text: str) -> str:
    """Escape `$` so that Grafana's environment expansion of provisioning files leaves the text alone."""
    return text.replace("$", "$$")


def provisioned() -> Json:
    """Return the whole data source provisioning file."""
    correlations: Mapping[str, Json] = {
        PROMETHEUS.uid: _prometheus(),
        LOKI.uid: _loki(),
        TEMPO.uid: _tempo(),
        ALERTMANAGER.uid: {"implementation": "prometheus", "handleGrafanaManagedAlerts": False},
    }
    return {
        "apiVersion": 1,
        "datasources": [_entry(source, correlations[source.uid]) for source in SOURCES],
    }


def _entry(source: Source, json_data: Json) -> Json:
    return {
        "name": source.title,
        "uid": source.uid,
        "type": source.plugin,
        "access": "proxy",
        "url": f"${source.address_env}",
        "isDefault": source is PROMETHEUS,
        "editable": False,
        "jsonData": json_data,
    }


def _prometheus() -> Json:
    return {
        "httpMethod": "POST",
        "prometheusType": "Prometheus",
        "prometheusVersion": "3.0.0",
        "timeInterval": SAMPLE_INTERVAL,
        "manageAlerts": True,
        "exemplarTraceIdDestinations": [
            {"name": "trace_id", "datasourceUid": TEMPO.uid, "urlDisplayLabel": "Open the trace"}
        ],
    }


def _loki() -> Json:
    # trace_id is structured metadata, so the field comes from a label and not from the text of the line.
    return {
        "maxLines": 1000,
        "manageAlerts": False,
        "derivedFields": [
            {
                "name": "trace_id",
                "matcherType": "label",
                "matcherRegex": "trace_id",
                "datasourceUid": TEMPO.uid,
                "url": in_provisioning("${__value.raw}"),
                "urlDisplayLabel": "Open the trace",
            }
        ],
    }


def _tempo() -> Json:
    return {
        "tracesToLogsV2": {
            "datasourceUid": LOKI.uid,
            "spanStartTimeShift": "-5m",
            "spanEndTimeShift": "5m",
            "customQuery": True,
            "query": in_provisioning('{${__tags}} | trace_id="${__trace.traceId}"'),
            "tags": [{"key": "service.name", "value": "service_name"}],
        },
        "tracesToMetrics": {
            "datasourceUid": PROMETHEUS.uid,
            "spanStartTimeShift": "-30m",
            "spanEndTimeShift": "30m",
            "tags": [{"key": "service.name", "value": SERVICE_IN_SPAN_METRICS}],
            "queries": [{"name": name, "query": in_provisioning(query)} for name, query in TRACE_TO_METRICS],
        },
        "serviceMap": {"datasourceUid": PROMETHEUS.uid},
        "nodeGraph": {"enabled": True},
        "streamingEnabled": {"search": True, "metrics": True},
        "traceQuery": {"timeShiftEnabled": True, "spanStartTimeShift": "-30m", "spanEndTimeShift": "30m"},
    }


TRACE_TO_METRICS = (
    ("Span rate of this service", "sum by (span_name) (rate(traces_spanmetrics_calls_total{$__tags}[5m]))"),
    (
        "Failed spans of this service",
        'sum by (span_name) (rate(traces_spanmetrics_calls_total{$__tags, status_code="STATUS_CODE_ERROR"}[5m]))',
    ),
    (
        "95th percentile of span duration",
        "histogram_quantile(0.95, sum by (le, span_name) (rate(traces_spanmetrics_latency_bucket{$__tags}[5m])))",
    ),
)
