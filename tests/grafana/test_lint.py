"""The dashboards meet every house rule, and every house rule catches what it is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from grafana.src.lint import RULES, explored, links_of, lint, panels

Dashboard = dict[str, Any]
Break = Callable[[Dashboard], None]


def test_every_dashboard_meets_every_rule(dashboards: dict[str, Dashboard]) -> None:
    """No finding at all, and no exception to any rule."""
    assert [str(finding) for finding in lint(list(dashboards.values()))] == []


def panel(dashboard: Dashboard, title: str = "Duration by route") -> Dashboard:
    """Return one panel by its title."""
    return next(found for found in dashboard["panels"] if found["title"] == title)


def defaults(dashboard: Dashboard, title: str = "Duration by route") -> Dashboard:
    """Return the field settings of one panel."""
    found: Dashboard = panel(dashboard, title)["fieldConfig"]["defaults"]
    return found


def target(dashboard: Dashboard, title: str = "Duration by route") -> Dashboard:
    """Return the first query of one panel."""
    found: Dashboard = panel(dashboard, title)["targets"][0]
    return found


def no_description(dashboard: Dashboard) -> None:
    """Say nothing about a panel."""
    panel(dashboard)["description"] = "  "


def no_unit(dashboard: Dashboard) -> None:
    """Leave open whether it is seconds or sheep."""
    del defaults(dashboard)["unit"]


def no_text_for_no_data(dashboard: Dashboard) -> None:
    """Let an empty panel speak for itself."""
    del defaults(dashboard)["noValue"]


def named_source_on_a_panel(dashboard: Dashboard) -> None:
    """Name a data source in a panel."""
    panel(dashboard)["datasource"]["uid"] = "prometheus"


def named_source_in_a_query(dashboard: Dashboard) -> None:
    """Name a data source in a query."""
    target(dashboard)["datasource"]["uid"] = "prometheus"


def named_source_in_a_variable(dashboard: Dashboard) -> None:
    """Name a data source in a variable."""
    next(v for v in dashboard["templating"]["list"] if v["name"] == "route")["datasource"]["uid"] = "prometheus"


def named_source_in_an_annotation(dashboard: Dashboard) -> None:
    """Name a data source in an annotation."""
    dashboard["annotations"]["list"][0]["datasource"]["uid"] = "prometheus"


def unknown_source_variable(dashboard: Dashboard) -> None:
    """Read from a variable that the dashboard does not have."""
    panel(dashboard)["datasource"]["uid"] = "${mimir}"


def no_uid(dashboard: Dashboard) -> None:
    """Leave it to Grafana to make up a uid at every start."""
    dashboard["uid"] = ""


def same_panel_number(dashboard: Dashboard) -> None:
    """Number two panels alike."""
    dashboard["panels"][2]["id"] = dashboard["panels"][1]["id"]


def no_exemplars(dashboard: Dashboard) -> None:
    """Show durations without the traces behind them."""
    target(dashboard)["exemplar"] = False


def no_exemplars_on_the_heat_map(dashboard: Dashboard) -> None:
    """The same on a heat map."""
    target(dashboard, "How durations spread")["exemplar"] = False


def no_links(dashboard: Dashboard) -> None:
    """Lead nowhere from a duration."""
    defaults(dashboard)["links"] = []


def no_link_to_logs(dashboard: Dashboard) -> None:
    """Lead from a rate to traces only."""
    found = defaults(dashboard, "Requests by route")
    found["links"] = [link for link in found["links"] if "Logs" not in link["title"]]


def no_link_to_traces(dashboard: Dashboard) -> None:
    """Lead from an error ratio to logs only."""
    found = defaults(dashboard, "Failed requests by route")
    found["links"] = [link for link in found["links"] if "races" not in link["title"]]


def fixed_interval(dashboard: Dashboard) -> None:
    """Take a rate over a fixed time, which a wide time range outgrows."""
    query = target(dashboard)
    query["expr"] = query["expr"].replace("$__rate_interval", "5m")


def plain_interval(dashboard: Dashboard) -> None:
    """Take a rate over the interval between points, which may hold a single sample."""
    query = target(dashboard)
    query["expr"] = query["expr"].replace("$__rate_interval", "$__interval")


def old_metric(dashboard: Dashboard) -> None:
    """Mix the milliseconds of old with the seconds of now."""
    query = target(dashboard)
    query["expr"] += " or http_server_duration_milliseconds_bucket"


def unknown_variable_in_a_query(dashboard: Dashboard) -> None:
    """Ask for a variable that the dashboard does not have."""
    query = target(dashboard)
    query["expr"] = query["expr"].replace("$service", "$servcie")


def unknown_variable_in_a_link(dashboard: Dashboard) -> None:
    """Link with a variable that the dashboard does not have."""
    link = defaults(dashboard)["links"][0]
    link["url"] = link["url"].replace("${service:pipe}", "${tenant:pipe}")


def link_to_no_dashboard(dashboard: Dashboard) -> None:
    """Lead to a dashboard that was renamed."""
    defaults(dashboard)["links"].append({"title": "Instances", "url": "/d/forge-instances?from=now-1h"})


def link_to_a_broken_explore(dashboard: Dashboard) -> None:
    """Open Explore with a query that cannot be read."""
    link = defaults(dashboard)["links"][0]
    link["url"] = link["url"].replace("%7D%7D%7D", "%7D%7D")


def link_by_an_unused_tag(dashboard: Dashboard) -> None:
    """Offer the dashboards of a tag that none has."""
    dashboard["links"][0]["tags"] = ["otel-forg"]


BROKEN: list[tuple[Break, str]] = [
    (no_description, "has_description"),
    (no_unit, "has_unit"),
    (no_text_for_no_data, "has_no_data_text"),
    (named_source_on_a_panel, "has_templated_source"),
    (named_source_in_a_query, "has_templated_source"),
    (named_source_in_a_variable, "has_templated_source"),
    (named_source_in_an_annotation, "has_templated_source"),
    (unknown_source_variable, "has_templated_source"),
    (no_uid, "has_unique_ids"),
    (same_panel_number, "has_unique_ids"),
    (no_exemplars, "has_exemplars"),
    (no_exemplars_on_the_heat_map, "has_exemplars"),
    (no_links, "has_data_links"),
    (no_link_to_logs, "has_data_links"),
    (no_link_to_traces, "has_data_links"),
    (fixed_interval, "uses_rate_interval"),
    (plain_interval, "uses_rate_interval"),
    (old_metric, "uses_one_generation"),
    (unknown_variable_in_a_query, "knows_its_variables"),
    (unknown_variable_in_a_link, "knows_its_variables"),
    (link_to_no_dashboard, "links_resolve"),
    (link_to_a_broken_explore, "links_resolve"),
    (link_by_an_unused_tag, "links_resolve"),
]


@pytest.mark.parametrize(("break_it", "rule"), BROKEN, ids=[broken.__name__ for broken, _ in BROKEN])
def test_a_rule_catches_what_it_is_for(dashboards: dict[str, Dashboard], break_it: Break, rule: str) -> None:
    """One thing is broken, and the rule that is for it says so."""
    break_it(dashboards["service"])
    assert rule in {finding.rule for finding in lint(list(dashboards.values()))}


def test_every_rule_has_a_failing_fixture() -> None:
    """A rule that nothing can break is no rule."""
    assert {rule for _, rule in BROKEN} == set(RULES)


def test_two_dashboards_with_one_uid_are_both_named(dashboards: dict[str, Dashboard]) -> None:
    """Grafana would keep one of them and drop the other."""
    twice = [dashboards["service"], {**dashboards["service"], "title": "Copy"}]
    assert [str(finding) for finding in lint(twice)] == [
        "Service / uid: 'forge-service' is missing or used twice [has_unique_ids]",
        "Copy / uid: 'forge-service' is missing or used twice [has_unique_ids]",
    ]


def test_explore_links_carry_the_service_the_clicked_route_and_the_time(
    dashboards: dict[str, Dashboard],
) -> None:
    """A click on a line leads to the server spans of that very service and route, and to no others."""
    link = defaults(dashboards["service"])["links"][0]
    pane = explored(link["url"].replace("${service:pipe}", "shop").replace("${__field.labels.http_route}", "/carts"))
    assert pane is not None
    query = pane["queries"][0]
    assert query["queryType"] == "traceql"
    assert 'resource.service.name = "shop"' in query["query"]
    assert 'kind = server && span.http.route = "/carts"' in query["query"]
    assert "from%22%3A%22${__from}%22%2C%22to%22%3A%22${__to}" in link["url"]


def test_explore_links_keep_placeholders_readable_and_encode_the_rest(
    dashboards: dict[str, Dashboard],
) -> None:
    """Grafana finds its placeholders, and no quote, space or brace of ours breaks the address."""
    for found in panels(dashboards["service"]):
        for link in links_of(found):
            without = "".join(part.partition("}")[2] for part in ("}" + link["url"]).split("${"))
            assert not set(without) & set(' "{}|<>\\^`'), link["url"]
