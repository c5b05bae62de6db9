"""The alert table written for its two lanes: Prometheus rules, and Grafana-managed rules that say the same.

One lane notifies at a time (`OTEL_FORGE_ALERTING=grafana|prometheus`). Prometheus evaluates its rules in
both, since the recording rules serve both; in the Grafana lane it has no Alertmanager to send to. Grafana
gets one folder per choice: the rules, or an order to delete them, so that a kept database follows a change.
"""

from __future__ import annotations

from collections.abc import Callable

from grafana.src.alerts import (
    ALERTS,
    EVALUATED_EVERY,
    GRAFANA_ADDRESS,
    GROUP,
    RECORDINGS,
    VALUE,
    Alert,
)
from grafana.src.sources import PROMETHEUS, Json

FOLDER = "otel-forge"
EXPRESSIONS = "__expr__"
MEASURED = "A"
THRESHOLD = "B"
EVALUATORS = {">": "gt", "<": "lt"}
# How far back Grafana would read for a range query; the rules are instant and look back by themselves.
LOOKBACK_SECONDS = 600

PanelId = Callable[[str], int]


def rule_uid(alert: Alert) -> str:
    """Return the stable uid of an alert's Grafana-managed rule."""
    return f"forge-{alert.runbook}"


def labels(alert: Alert) -> dict[str, str]:
    """Return what both lanes put on the alert beside the labels of the measured series."""
    return {"severity": alert.severity}


def texts(alert: Alert, measured_value: str, dashboard_uid: str) -> dict[str, str]:
    """Return the texts of an alert; `measured_value` is the lane's own way to write the value.

    They use `.Labels` and never `$labels`: both lanes know both, but Grafana expands `$` in its files.
    """
    value = f"{{{{ {measured_value} | {alert.value_format} }}}}"
    return {
        "summary": alert.summary,
        "description": alert.description.replace(VALUE, value),
        "impact": alert.impact,
        "runbook_url": alert.runbook_path,
        "dashboard_url": dashboard_url(alert, dashboard_uid),
    }


def dashboard_url(alert: Alert, dashboard_uid: str) -> str:
    """Return the address of the dashboard that shows the alert's subject."""
    if alert.panel is None:
        return f"{GRAFANA_ADDRESS}/alerting/list"
    place = {
        "environment": "deployment_environment_name",
        "namespace": "service_namespace",
        "service": "service_name",
    }
    chosen = "&".join(f"var-{name}={{{{ urlquery .Labels.{label} }}}}" for name, label in place.items())
    return f"{GRAFANA_ADDRESS}/d/{dashboard_uid}?{chosen}&from=now-1h&to=now"


def prometheus_rules(dashboard_uid: str) -> Json:
    """Return the Prometheus rule file."""
    recordings = [{"record": recording.name, "expr": recording.expr} for recording in RECORDINGS]
    alerts = [prometheus_rule(alert, dashboard_uid) for alert in ALERTS]
    return {
        "groups": [{"name": GROUP, "interval": EVALUATED_EVERY, "rules": [*recordings, *alerts]}],
    }


def prometheus_rule(alert: Alert, dashboard_uid: str) -> Json:
    """Return one alert as a Prometheus rule."""
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.sustained,
        "labels": labels(alert),
        "annotations": texts(alert, ".Value", dashboard_uid),
    }


def grafana_rules(dashboard_uid: str, panel_id: PanelId) -> Json:
    """Return the Grafana provisioning file of the lane in which Grafana notifies."""
    rules = [grafana_rule(alert, dashboard_uid, panel_id) for alert in ALERTS]
    group = {"orgId": 1, "name": GROUP, "folder": FOLDER, "interval": EVALUATED_EVERY, "rules": rules}
    return {"apiVersion": 1, "groups": [group]}


def grafana_silent() -> Json:
    """Return the Grafana provisioning file of the lane in which Prometheus notifies: our rules go."""
    return {"apiVersion": 1, "deleteRules": [{"orgId": 1, "uid": rule_uid(alert)} for alert in ALERTS]}


def grafana_rule(alert: Alert, dashboard_uid: str, panel_id: PanelId) -> Json:
    """Return one alert as a Grafana-managed rule."""
    shown = {"dashboardUid": dashboard_uid, "panelId": panel_id(alert.panel)} if alert.panel else {}
    return {
        "uid": rule_uid(alert),
        "title": alert.name,
        "condition": THRESHOLD,
        "for": alert.sustained,
        "noDataState": alert.no_data,
        "execErrState": "Error",
        **shown,
        "labels": labels(alert),
        "annotations": texts(alert, f".Values.{MEASURED}.Value", dashboard_uid),
        "data": [_measured(alert), _threshold(alert)],
    }


def _measured(alert: Alert) -> Json:
    return {
        "refId": MEASURED,
        "relativeTimeRange": {"from": LOOKBACK_SECONDS, "to": 0},
        "datasourceUid": PROMETHEUS.uid,
        "model": {
            "refId": MEASURED,
            "datasource": {"type": PROMETHEUS.plugin, "uid": PROMETHEUS.uid},
            "expr": alert.measured,
            "instant": True,
            "range": False,
            "editorMode": "code",
            "intervalMs": 1000,
            "maxDataPoints": 43200,
        },
    }


def _threshold(alert: Alert) -> Json:
    evaluator = {"type": EVALUATORS[alert.limit.operator], "params": [alert.limit.value]}
    return {
        "refId": THRESHOLD,
        "relativeTimeRange": {"from": LOOKBACK_SECONDS, "to": 0},
        "datasourceUid": EXPRESSIONS,
        "model": {
            "refId": THRESHOLD,
            "datasource": {"type": EXPRESSIONS, "uid": EXPRESSIONS},
            "type": "threshold",
            "expression": MEASURED,
            "conditions": [{"evaluator": evaluator}],
        },
    }
