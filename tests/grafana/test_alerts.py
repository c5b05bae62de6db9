"""The alert table: both lanes say the same, every alert has what a person needs, every link resolves."""

from __future__ import annotations

import json
import re
import urllib.parse
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from grafana.src import lanes
from grafana.src.alerts import ALERTS, EVALUATED_EVERY, GRAFANA_ADDRESS, RECORDINGS, RUNBOOKS, Alert
from grafana.src.lint import panels

Rule = dict[str, Any]
OPERATORS = {"gt": ">", "lt": "<"}
TITLES = [alert.name for alert in ALERTS]


@pytest.fixture
def prometheus(repository: Path) -> dict[str, Rule]:
    """The committed Prometheus alerts by name."""
    group = _load(repository / "backends/prometheus/rules/forge.yaml")["groups"][0]
    return {rule["alert"]: rule for rule in group["rules"] if "alert" in rule}


@pytest.fixture
def grafana(repository: Path) -> dict[str, Rule]:
    """The committed Grafana-managed rules by title."""
    group = _load(repository / "grafana/provisioning/alerting/grafana/forge.yaml")["groups"][0]
    return {rule["title"]: rule for rule in group["rules"]}


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def whole_expression(rule: Rule) -> str:
    """Return what a Grafana-managed rule fires on, written as one PromQL expression."""
    by_ref = {query["refId"]: query["model"] for query in rule["data"]}
    threshold = by_ref[rule["condition"]]
    (condition,) = threshold["conditions"]
    operator = OPERATORS[condition["evaluator"]["type"]]
    (limit,) = condition["evaluator"]["params"]
    return f"{by_ref[threshold['expression']]['expr']} {operator} {limit:g}"


def as_prometheus_writes(text: str) -> str:
    """Return a Grafana annotation with its value written the way Prometheus writes it: the one difference."""
    return text.replace(".Values.A.Value", ".Value")


@pytest.mark.parametrize("name", TITLES)
def test_both_lanes_say_the_same(prometheus: dict[str, Rule], grafana: dict[str, Rule], name: str) -> None:
    """The same expression, duration, labels and texts, read back from the committed files."""
    ours, theirs = prometheus[name], grafana[name]
    assert promql_parser.parse(whole_expression(theirs)).prettify() == promql_parser.parse(ours["expr"]).prettify()
    assert theirs["for"] == ours["for"]
    assert theirs["labels"] == ours["labels"]
    assert {key: as_prometheus_writes(text) for key, text in theirs["annotations"].items()} == ours["annotations"]


@pytest.mark.parametrize("alert", ALERTS, ids=TITLES)
def test_the_limit_is_compared_with_the_whole_measured_value(alert: Alert) -> None:
    """No `and` or `or` in the measured value takes the comparison for itself."""
    whole = promql_parser.parse(alert.expr)
    assert isinstance(whole, promql_parser.BinaryExpr)
    assert whole.lhs.prettify() == promql_parser.parse(alert.measured).prettify()


def test_both_lanes_hold_the_same_alerts(prometheus: dict[str, Rule], grafana: dict[str, Rule]) -> None:
    """Neither lane knows an alert that the other does not."""
    assert list(prometheus) == list(grafana) == TITLES


def test_a_change_in_one_lane_only_would_be_seen(prometheus: dict[str, Rule], grafana: dict[str, Rule]) -> None:
    """The comparison compares."""
    rule = grafana["ErrorRatioHigh"]
    rule["data"][1]["model"]["conditions"][0]["evaluator"]["params"] = [0.06]
    assert whole_expression(rule) != prometheus["ErrorRatioHigh"]["expr"]


def test_both_lanes_are_evaluated_at_the_same_pace(repository: Path) -> None:
    """Grafana accepts only multiples of its 10 s grid."""
    rules = _load(repository / "backends/prometheus/rules/forge.yaml")["groups"][0]
    provisioned = _load(repository / "grafana/provisioning/alerting/grafana/forge.yaml")["groups"][0]
    assert rules["interval"] == provisioned["interval"] == EVALUATED_EVERY
    assert int(EVALUATED_EVERY.removesuffix("s")) % 10 == 0


def test_the_other_lane_removes_exactly_these_rules(repository: Path, grafana: dict[str, Rule]) -> None:
    """After a change of lane, Grafana's kept database holds none of our rules."""
    silent = _load(repository / "grafana/provisioning/alerting/prometheus/forge.yaml")
    assert "groups" not in silent
    assert [rule["uid"] for rule in silent["deleteRules"]] == [rule["uid"] for rule in grafana.values()]


@pytest.mark.parametrize("name", TITLES)
def test_grafana_never_takes_silence_for_health(grafana: dict[str, Rule], name: str) -> None:
    """No data is an alarm for the pipeline and at least told for the rest; an error is told too."""
    rule = grafana[name]
    assert rule["noDataState"] in ("Alerting", "NoData")
    assert rule["execErrState"] == "Error"
    if name in ("TelemetryMissing", "Watchdog"):
        assert rule["noDataState"] == "Alerting"


@pytest.mark.parametrize("name", TITLES)
def test_grafana_rules_have_the_shape_that_provisioning_reads(grafana: dict[str, Rule], name: str) -> None:
    """A short uid, a query on the data source with the stable uid, and a threshold on it as the condition."""
    rule = grafana[name]
    assert re.fullmatch(r"[a-z0-9-]{1,40}", rule["uid"])
    measured, threshold = rule["data"]
    assert measured["datasourceUid"] == "prometheus" and measured["model"]["instant"] is True
    assert threshold["datasourceUid"] == threshold["model"]["datasource"]["type"] == "__expr__"
    assert rule["condition"] == threshold["refId"] == threshold["model"]["refId"]
    assert threshold["model"]["expression"] == measured["refId"] == measured["model"]["refId"]
    assert measured["relativeTimeRange"]["from"] > measured["relativeTimeRange"]["to"] == 0


def test_no_text_of_the_provisioning_holds_a_dollar(repository: Path) -> None:
    """Grafana expands `$name` in these files, and its versions differ in where: so none is used."""
    text = (repository / "grafana/provisioning/alerting/grafana/forge.yaml").read_text(encoding="utf-8")
    assert "$" not in text


@pytest.mark.parametrize("alert", ALERTS, ids=TITLES)
def test_every_alert_says_what_a_person_needs(alert: Alert) -> None:
    """What happened, how much against which limit, what it does to users, what to do, where to look."""
    written = lanes.texts(alert, ".Value", "forge-service")
    assert set(written) == {"summary", "description", "impact", "runbook_url", "dashboard_url"}
    assert all(text.strip() for text in written.values())
    assert "{{ .Value |" in written["description"]
    assert "limit" in written["description"]
    assert alert.severity in ("page", "ticket", "info")


@pytest.mark.parametrize("alert", ALERTS, ids=TITLES)
def test_the_value_is_told_in_words_of_its_unit(alert: Alert) -> None:
    """The limit in the expression and the format of the value fit together."""
    unit = {"humanizeDuration": range(1, 86400), "humanizePercentage": None, "humanize": None}
    assert alert.value_format in unit
    if alert.value_format == "humanizePercentage":
        assert 0 < alert.limit.value < 1


@pytest.mark.parametrize("alert", ALERTS, ids=TITLES)
def test_every_dashboard_link_resolves(alert: Alert, dashboards: dict[str, dict[str, Any]]) -> None:
    """The dashboard exists, has the variables that the link sets, and the panel that the alert points at."""
    link = lanes.dashboard_url(alert, "forge-service")
    assert link.startswith(GRAFANA_ADDRESS)
    path = urllib.parse.urlsplit(re.sub(r"\{\{.*?\}\}", "x", link))
    if path.path == "/alerting/list":
        return
    dashboard = next(d for d in dashboards.values() if path.path == f"/d/{d['uid']}")
    chosen = {key for key in urllib.parse.parse_qs(path.query) if key.startswith("var-")}
    assert chosen <= {f"var-{variable['name']}" for variable in dashboard["templating"]["list"]}
    assert alert.panel in {panel["title"] for panel in panels(dashboard)}


def test_grafana_rules_point_at_the_panel_of_that_name(
    grafana: dict[str, Rule], dashboards: dict[str, dict[str, Any]]
) -> None:
    """The number in the rule is the number of the panel that the table names."""
    numbers = {panel["id"]: panel["title"] for panel in panels(dashboards["service"])}
    for alert in ALERTS:
        rule = grafana[alert.name]
        assert numbers.get(rule.get("panelId")) == alert.panel
        assert rule.get("dashboardUid") == ("forge-service" if alert.panel else None)


def test_recordings_come_before_the_alerts_that_use_them(repository: Path) -> None:
    """Rules of a group run in order: an alert sees what was recorded in the same round."""
    rules = _load(repository / "backends/prometheus/rules/forge.yaml")["groups"][0]["rules"]
    assert [rule.get("record") for rule in rules[: len(RECORDINGS)]] == [r.name for r in RECORDINGS]
    assert all("alert" in rule for rule in rules[len(RECORDINGS) :])


def test_every_alert_has_a_runbook_and_every_runbook_an_alert(repository: Path) -> None:
    """A link that leads nowhere at 3 a.m. is worse than none."""
    written = {path.relative_to(repository).as_posix() for path in (repository / RUNBOOKS).glob("*.md")}
    assert {alert.runbook_path for alert in ALERTS} == {
        path for path in written if f"# {_title(repository / path)}" and _title(repository / path) in TITLES
    }


def _title(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def test_alert_names_match_the_json_of_nothing_else() -> None:
    """Names are unique, and runbook names too: they make the uids."""
    assert len({alert.name for alert in ALERTS}) == len({alert.runbook for alert in ALERTS}) == len(ALERTS)
    assert json.dumps(TITLES)
