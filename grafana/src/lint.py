"""What a dashboard must have: each rule takes a rendered dashboard and yields what is wrong with it."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grafana.src.queries import names
from grafana.src.sources import LOKI, PROMETHEUS, TEMPO

Dashboard = Mapping[str, Any]
Panel = Mapping[str, Any]

# What Grafana itself defines, beside the variables of a dashboard.
MACROS = frozenset({"__rate_interval", "__interval", "__auto", "__range", "__range_s", "__from", "__to"})
MEASURES = frozenset({"reqps", "ops", "s", "percentunit"})
OLD_NAMES = re.compile(r"\bhttp_(server|client)_duration(_milliseconds)?(_bucket|_count|_sum)?\b")
RANGE = re.compile(r"\b(?:rate|increase|irate|delta)\(.*?\[(?P<range>[^\]]+)\]")
OTHER_BOARD = re.compile(r"/d/(?P<uid>[\w-]+)")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: which rule, where, and what to do."""

    rule: str
    where: str
    problem: str

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.where}: {self.problem} [{self.rule}]"


Rule = Callable[[Dashboard, Sequence[Dashboard]], Iterator[tuple[str, str]]]


def lint(dashboards: Sequence[Dashboard]) -> list[Finding]:
    """Return what is wrong with a set of dashboards."""
    return [
        Finding(name, f"{dashboard.get('title', 'untitled')} / {where}", problem)
        for dashboard in dashboards
        for name, rule in RULES.items()
        for where, problem in rule(dashboard, dashboards)
    ]


def panels(dashboard: Dashboard) -> Iterator[Panel]:
    """Yield the panels that show something: not the row headings."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", [])
        else:
            yield panel


def links_of(panel: Panel) -> list[Mapping[str, Any]]:
    """Return the data links of a panel."""
    return list(panel.get("fieldConfig", {}).get("defaults", {}).get("links", []))


def explored(url: str) -> Mapping[str, Any] | None:
    """Return the Explore pane that a link opens, its placeholders filled in; None when it opens none."""
    parts = urllib.parse.urlsplit(url)
    if parts.path != "/explore":
        return None
    try:
        state = urllib.parse.parse_qs(parts.query)["panes"][0]
        panes: Mapping[str, Mapping[str, Any]] = json.loads(re.sub(r"\$\{[^}]*\}", "1", state))
        pane = next(iter(panes.values()))
    except (ValueError, KeyError, StopIteration):
        return None
    return pane if pane["queries"] and pane["range"] else None


def _default(panel: Panel, key: str) -> object:
    return panel.get("fieldConfig", {}).get("defaults", {}).get(key)


def has_description(dashboard: Dashboard, _: Sequence[Dashboard]) -> Iterator[tuple[str, str]]:
    """Every panel says what it means to the reader."""
    for panel in panels(dashboard):
        if not str(panel.get("description", "")).strip():
            yield panel["title"], "has no description"


def has_unit(dashboard: Dashboard, _: Sequence[Dashboard]) -> Iterator[tuple[str, str]]:
    """Every panel says what its numbers are."""
    for panel in panels(dashboard):
        if not _default(panel, "unit"):
            yield panel["title"], "has no unit"


def has_no_data_text(dashboard: Dashboard, _: Sequence[Dashboard]) -> Iterator[tuple[str, str]]:
    """Every panel says what it means when it is empty."""
    for panel in panels(dashboard):
        if not _default(panel, "noValue"):
            yield panel["title"], "does not say what having no data means"


def has_templated_source(dashboard: Dashboard, _: Sequence[Dashboard]) -> Iterator[tuple[str, str]]:
    """No panel, query, variable or annotation names a data source outright."""
    chosen = {f"${{{v['name']}}}" for v in _variables(dashboard) if v["type"] == "datasource"}
    for where, reference in _references(dashboard):
        if reference.get("uid") not in chosen:
            yield where, f"reads from {reference.get('uid')!r} and not from a data source variable"


def has_unique_ids(dashboard: Dashboard, dashboards: Sequence[Dashboard]) -> Iterator[tuple[str, str]]:
    """The uid of a dashboard and the numbers of its panels are its own."""
    uid = dashboard.get("uid")
    if not uid or sum(other.get("uid") == uid for other in dashboards) > 1:
        yield "uid", f"{uid!r} is missing or used twice"
    numbers = [panel["id"] for panel in dashboard["panels"]]
    if len(set(numbers)) < len(numbers):
        yield "panels", "two panels have the same id"


def has_exemplars(dashboard: Dashboard, _: Sequence[Dashboard]) -> Iterator[tuple[str, str]]:
    """Every panel made from duration buckets shows exemplars."""
    for panel, target in _targets(dashboard, PROMETHEUS.plugin):
        if "_bucket" in target["expr"] and not target.get("exemplar"):
            yield panel["title"], "shows durations without exemplars"


def has_data_links(dashboard: Dashboard, _: Sequence[Dashboard]) -> Iterator[tuple[str, str]]:
    """Every panel of a rate, a ratio or a duration leads to the traces and to the logs."""
    for panel in panels(dashboard):
        if panel["datasource"]["type"] != PROMETHEUS.plugin or _default(panel, "unit") not in MEASURES:
            continue
        panes = [explored(link["url"]) for link in links_of(panel)]
        reached = {pane["queries"][0]["datasource"]["type"] for pane in panes if pane}
        for wanted in (TEMPO, LOKI):
            if wanted.plugin not in reached:
                yield panel["title"], f"has no data link to {wanted.title}"


def uses_rate_interval(dashboard: Dashboard, _: Sequence[Dashboard]) -> Iterator[tuple[str, str]]:
    """A rate is taken over `$__rate_interval`, or over the whole range in a table."""
    for panel, target in _targets(dashboard, PROMETHEUS.plugin):
        allowed = {"$__rate_interval", "$__range"} if target.get("instant") else {"$__rate_interval"}
        for match in RANGE.finditer(target["expr"]):
            if match["range"] not in allowed:
                yield panel["title"], f"takes a rate over [{match['range']}]"


def uses_one_generation(dashboard: Dashboard, _: Sequence[Dashboard]) -> Iterator[tuple[str, str]]:
    """Only the stable names of HTTP metrics are asked for: the old ones count in another unit."""
    for panel, target in _targets(dashboard, PROMETHEUS.plugin):
        if OLD_NAMES.search(target["expr"]):
            yield panel["title"], "asks for an HTTP metric by its old name"


def knows_its_variables(dashboard: Dashboard, _: Sequence[Dashboard]) -> Iterator[tuple[str, str]]:
    """Every variable that a query or a link names exists."""
    known = {variable["name"] for variable in _variables(dashboard)} | MACROS
    for where, text in _texts(dashboard):
        for name in sorted(names(text)):
            if name not in known and not name.startswith(("__field.", "__value.", "__data.")):
                yield where, f"names ${name}, which does not exist"


def links_resolve(dashboard: Dashboard, dashboards: Sequence[Dashboard]) -> Iterator[tuple[str, str]]:
    """Every link leads to a dashboard that exists, or opens Explore with a query that can be read."""
    tags = {tag for other in dashboards for tag in other.get("tags", [])}
    for link in dashboard.get("links", []):
        if link["type"] == "dashboards" and not set(link["tags"]) <= tags:
            yield f"link {link['title']}", f"no dashboard is tagged {link['tags']}"
    uids = {other.get("uid") for other in dashboards}
    for where, url in _urls(dashboard):
        match = OTHER_BOARD.match(url)
        if match and match["uid"] not in uids:
            yield where, f"leads to the dashboard {match['uid']!r}, which does not exist"
        elif not match and explored(url) is None:
            yield where, f"leads nowhere: {url[:80]}"


RULES: Mapping[str, Rule] = {
    rule.__name__: rule
    for rule in (
        has_description,
        has_unit,
        has_no_data_text,
        has_templated_source,
        has_unique_ids,
        has_exemplars,
        has_data_links,
        uses_rate_interval,
        uses_one_generation,
        knows_its_variables,
        links_resolve,
    )
}


def _variables(dashboard: Dashboard) -> list[Mapping[str, Any]]:
    return list(dashboard["templating"]["list"])


def _targets(dashboard: Dashboard, plugin: str) -> Iterator[tuple[Panel, Mapping[str, Any]]]:
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            if target["datasource"]["type"] == plugin:
                yield panel, target


def _references(dashboard: Dashboard) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for panel in panels(dashboard):
        yield panel["title"], panel.get("datasource") or {}
        for target in panel.get("targets", []):
            yield panel["title"], target.get("datasource") or {}
    for variable in _variables(dashboard):
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable.get("datasource") or {}
    for annotation in dashboard["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation.get("datasource") or {}


def _texts(dashboard: Dashboard) -> Iterator[tuple[str, str]]:
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            yield panel["title"], json.dumps(target)
        for link in links_of(panel):
            yield panel["title"], urllib.parse.unquote(link["url"])
    for variable in _variables(dashboard):
        yield f"variable {variable['name']}", str(variable.get("definition") or "")
    for annotation in dashboard["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation["expr"]


def _urls(dashboard: Dashboard) -> Iterator[tuple[str, str]]:
    for panel in panels(dashboard):
        for link in [*links_of(panel), *panel.get("links", [])]:
            yield panel["title"], link["url"]
    for link in dashboard.get("links", []):
        if link["type"] == "link":
            yield f"link {link['title']}", link["url"]
