"""Every query can be written out, and every PromQL expression is PromQL."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from grafana.src.live import all_queries
from grafana.src.queries import (
    Query,
    UnknownVariable,
    dashboard_queries,
    everything,
    fill,
    label_values,
    names,
)
from grafana.src.sources import TRACE_TO_METRICS

CHOICE = {"service": "shop", "route": ["/a", "/b.c"], "environment": ".*", "__rate_interval": "1m"}
ALL = [query.filled(everything("asset-forge", 900)) for query in all_queries()]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('x{a="$service"}', 'x{a="shop"}'),
        ('x{a="${service}"}', 'x{a="shop"}'),
        ("rate(x[$__rate_interval])", "rate(x[1m])"),
        ('x{a=~"$environment"}', 'x{a=~".*"}'),
        ('x{a=~"$route"}', r'x{a=~"(\/a|\/b\.c)"}'),
        ('x{a=~"${route:regex}"}', r'x{a=~"(\/a|\/b\.c)"}'),
        ("${route:pipe}", "/a|/b.c"),
        ("${service:raw}", "shop"),
        ("$services", None),
        ("${unknown}", None),
        ("costs 5$ each", "costs 5$ each"),
        ("{{service}} $ {", "{{service}} $ {"),
    ],
)
def test_variables_are_written_in_as_grafana_does(text: str, written: str | None) -> None:
    """The whole name counts, several values become a pattern, and what is no variable stays."""
    if written is None:
        with pytest.raises(UnknownVariable, match=re.escape(text.strip("${}"))):
            fill(text, CHOICE)
    else:
        assert fill(text, CHOICE) == written


def test_a_format_that_we_do_not_write_is_refused_by_name() -> None:
    """A link with a new format shows up here and not as a silent mistake."""
    with pytest.raises(ValueError, match="'csv'"):
        fill("${route:csv}", CHOICE)


def test_names_finds_every_way_to_write_a_variable() -> None:
    """Braced, bare, formatted, dotted."""
    assert names("$a ${b} ${c:pipe} ${__field.labels.d} $__e 1$ {f}") == {
        "a",
        "b",
        "c",
        "__field.labels.d",
        "__e",
    }


def test_label_values_is_taken_apart_at_the_last_comma() -> None:
    """The selector has commas of its own."""
    assert label_values('label_values(x{a="1", b="2"}, c)') == ('x{a="1", b="2"}', "c")
    with pytest.raises(ValueError, match="label_values"):
        label_values("metrics(x)")


def test_every_panel_variable_annotation_and_alert_is_listed(dashboards: dict[str, dict[str, Any]]) -> None:
    """Nothing that a person can see escapes the test against real stores."""
    listed = {query.where for query in ALL}
    for dashboard in dashboards.values():
        shown = {panel["title"] for panel in dashboard["panels"] if panel["type"] != "row"}
        asked = {v["name"] for v in dashboard["templating"]["list"] if v["type"] == "query"}
        marked = {annotation["name"] for annotation in dashboard["annotations"]["list"]}
        wanted = shown | {f"variable {name}" for name in asked} | {f"annotation {name}" for name in marked}
        assert {f"{dashboard['title']} / {name}" for name in wanted} <= listed


def test_the_query_behind_every_data_link_is_listed(dashboards: dict[str, dict[str, Any]]) -> None:
    """A link whose query a store refuses is found by a test, not by a click at night."""
    links = [
        f"{dashboard['title']} / {panel['title']} / link {link['title']}"
        for dashboard in dashboards.values()
        for panel in dashboard["panels"]
        for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", [])
    ]
    assert links
    assert set(links) <= {query.where for query in ALL}


def test_a_click_fills_in_the_labels_of_its_series() -> None:
    """A label that the series does not have is empty, as in Grafana."""
    query = Query("x", "traceql", '{ a = "${__field.labels.b}" && c = "${__field.labels.d}" }', clicked="y")
    assert query.on_series({"b": "/x", "e": "z"}).text == '{ a = "/x" && c = "" }'


def test_no_variable_is_left_in_any_query() -> None:
    """What is sent to a store is what the store understands."""
    clicked = [query.on_series({"http_route": "/a"}) if query.clicked else query for query in ALL]
    assert [query for query in clicked if "$" in query.text] == []


def test_a_panel_that_may_be_empty_exists(dashboards: dict[str, dict[str, Any]]) -> None:
    """A renamed panel does not quietly lose or keep its leave to be empty."""
    from grafana.src.boards import BOARDS

    for board in BOARDS:
        titles = {panel["title"] for panel in dashboards[board.name]["panels"]}
        assert board.empty_when_healthy <= titles


def test_an_unknown_kind_of_data_source_is_refused(dashboards: dict[str, dict[str, Any]]) -> None:
    """A panel of a new kind cannot slip past the test against real stores."""
    dashboards["service"]["panels"][1]["targets"][0]["datasource"]["type"] = "elasticsearch"
    with pytest.raises(ValueError, match="'elasticsearch'"):
        list(dashboard_queries(dashboards["service"]))


@pytest.mark.parametrize(
    "query", [query for query in ALL if query.kind.startswith("promql")], ids=lambda query: query.where
)
def test_every_promql_expression_can_be_parsed(query: Query) -> None:
    """Dashboards, annotations, recordings and alerts, by a parser of its own."""
    promql_parser.parse(query.text)


@pytest.mark.parametrize("name", [name for name, _ in TRACE_TO_METRICS])
def test_every_query_from_a_trace_to_its_metrics_can_be_parsed(name: str) -> None:
    """Grafana fills the tags of the span in."""
    promql_parser.parse(dict(TRACE_TO_METRICS)[name].replace("$__tags", 'service="shop"'))


def test_every_label_values_selector_can_be_parsed() -> None:
    """The series of a variable are a selector."""
    for query in ALL:
        if query.kind == "label values":
            promql_parser.parse(label_values(query.text)[0])


def test_a_mistake_in_promql_is_found() -> None:
    """The parser is a parser."""
    with pytest.raises(ValueError, match="."):
        promql_parser.parse("sum by (a (rate(x[5m]))")


def test_committed_dashboards_ask_what_was_tested(repository: Path) -> None:
    """The queries of the committed files are those of the sources."""
    committed = json.loads((repository / "grafana/dashboards/service.json").read_text(encoding="utf-8"))
    texts = {query.filled(everything("asset-forge", 900)).text for query in dashboard_queries(committed)}
    assert texts <= {query.text for query in ALL}
