"""Every query of every dashboard and alert, with Grafana's variables and macros filled in.

`dashboard_queries` and `alert_queries` list them; `fill` writes a choice of variables into one the way
Grafana does. `grafana.src.live` runs them against real stores.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from grafana.src.alerts import ALERTS, RECORDINGS
from grafana.src.sources import LOKI, PROMETHEUS, TEMPO
from grafana.src.variables import EVERYTHING

Kind = Literal["promql", "promql instant", "exemplars", "label values", "logql", "traceql"]
# What must have happened for a query to return something: requests, failures among them, or a rare event
# such as a deploy or an alert, which no test may count on.
Needs = Literal["traffic", "faults", "event"]
Choice = Mapping[str, "str | Sequence[str]"]

RATE_INTERVAL = "1m"
STEP = "15s"

_VARIABLE = re.compile(r"\$(?:\{(?P<braced>[A-Za-z_][\w.]*)(?::(?P<format>[\w:]+))?\}|(?P<bare>[A-Za-z_]\w*))")
# What Grafana fills in from the series that was clicked.
CLICKED = "__field.labels."
# Words of a link's query that only a failure or a slow request can answer.
_ABOUT_FAULTS = re.compile(r">= 500|severity_text|duration >")
_LABEL_VALUES = re.compile(r"label_values\((?P<series>.*),\s*(?P<label>\w+)\)")
_REGEX_SPECIAL = re.compile(r"([\\^$*+?.()|\[\]{}/])")


class UnknownVariable(LookupError):
    """A query names a variable that its dashboard does not have."""


@dataclass(frozen=True)
class Query:
    """One query: where it stands, what language it is in, its text, and what it needs to return data."""

    where: str
    kind: Kind
    text: str
    needs: Needs = "traffic"
    clicked: str = ""
    """For the query behind a data link: the PromQL of the panel, one of whose series is clicked."""

    def filled(self, choice: Choice) -> Query:
        """Return the query with a choice of variables written in."""
        return replace(self, text=fill(self.text, choice), clicked=fill(self.clicked, choice))

    def on_series(self, labels: Mapping[str, str]) -> Query:
        """Return the query behind a data link as a click on a series with these labels asks it."""
        series = {f"{CLICKED}{name}": value for name, value in labels.items()}
        absent = {name: "" for name in names(self.text) if name.startswith(CLICKED)}
        return replace(self, text=fill(self.text, {**absent, **series}))


def macros(seconds: int) -> dict[str, str]:
    """Return the values of Grafana's own macros for a time range of so many seconds."""
    return {
        "__rate_interval": RATE_INTERVAL,
        "__interval": STEP,
        "__auto": STEP,
        "__range": f"{seconds}s",
        "__range_s": str(seconds),
        "__from": "now",
        "__to": "now",
    }


def everything(service: str, seconds: int) -> dict[str, str]:
    """Return the choice that a person sees first: one service, all of its environments and routes."""
    return {
        **macros(seconds),
        "environment": EVERYTHING,
        "namespace": EVERYTHING,
        "route": EVERYTHING,
        "service": service,
        "percentile": "0.95",
        "slower_than": "50ms",
    }


def fill(text: str, choice: Choice) -> str:
    """Write values in for `$name`, `${name}` and `${name:format}`; raise UnknownVariable for any other.

    What only a click can tell stays as it is, unless it is among the values.
    """

    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["bare"]
        if name not in choice and name.startswith(CLICKED):
            return match[0]
        if name not in choice:
            raise UnknownVariable(f"${name} is no variable of this dashboard: {text}")
        return _formatted(choice[name], match["format"])

    return _VARIABLE.sub(value, text)


def names(text: str) -> set[str]:
    """Return the names of the variables and macros in a text."""
    return {match["braced"] or match["bare"] for match in _VARIABLE.finditer(text)}


def label_values(definition: str) -> tuple[str, str]:
    """Return the series selector and the label of a `label_values(series, label)` definition."""
    match = _LABEL_VALUES.fullmatch(definition)
    if match is None:
        raise ValueError(f"{definition!r} is not of the form label_values(series, label).")
    return match["series"], match["label"]


def dashboard_queries(
    dashboard: Mapping[str, Any], empty_when_healthy: frozenset[str] = frozenset()
) -> Iterator[Query]:
    """Yield every query of a rendered dashboard: variables, annotations, panels, exemplars."""
    title = dashboard["title"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield Query(f"{title} / variable {variable['name']}", "label values", variable["definition"])
    for annotation in dashboard["annotations"]["list"]:
        name = annotation["name"]
        yield Query(f"{title} / annotation {name}", "promql", annotation["expr"], "event")
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            needs: Needs = "faults" if panel["title"] in empty_when_healthy else "traffic"
            yield from _target_queries(f"{title} / {panel['title']}", target, needs)


def link_queries(dashboard: Mapping[str, Any], empty_when_healthy: frozenset[str] = frozenset()) -> Iterator[Query]:
    """Yield what every data link asks in Explore."""
    for panel in dashboard["panels"]:
        for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", []):
            where = f"{dashboard['title']} / {panel['title']} / link {link['title']}"
            state = urllib.parse.parse_qs(urllib.parse.urlsplit(link["url"]).query)["panes"][0]
            (pane,) = json.loads(state).values()
            for asked in pane["queries"]:
                kind: Kind = "logql" if asked["datasource"]["type"] == LOKI.plugin else "traceql"
                text = asked.get("expr") or asked["query"]
                rare = panel["title"] in empty_when_healthy or _ABOUT_FAULTS.search(text)
                clicked = panel["targets"][0].get("expr", "") if CLICKED in text else ""
                yield Query(where, kind, text, "faults" if rare else "traffic", clicked)


def alert_queries() -> Iterator[Query]:
    """Yield every expression of the alert table; only the whole alert, threshold included, may be empty."""
    for recording in RECORDINGS:
        yield Query(f"recording {recording.name}", "promql instant", recording.expr)
    for alert in ALERTS:
        yield Query(f"alert {alert.name} / measured", "promql instant", alert.measured)
        yield Query(f"alert {alert.name} / whole", "promql instant", alert.expr, "event")


def _target_queries(where: str, target: Mapping[str, Any], needs: Needs) -> Iterator[Query]:
    plugin = target["datasource"]["type"]
    if plugin == PROMETHEUS.plugin:
        kind: Kind = "promql instant" if target.get("instant") else "promql"
        yield Query(where, kind, target["expr"], needs)
        if target.get("exemplar"):
            yield Query(where, "exemplars", target["expr"], needs)
    elif plugin == LOKI.plugin:
        yield Query(where, "logql", target["expr"], needs)
    elif plugin == TEMPO.plugin and target["queryType"] == "serviceMap":
        yield Query(where, "promql", _service_map(target["serviceMapQuery"]), needs)
    elif plugin == TEMPO.plugin:
        yield Query(where, "traceql", target["query"], needs)
    else:
        raise ValueError(f"{where} queries a data source of the type {plugin!r}, which is not one of ours.")


def _service_map(selectors: str | Sequence[str]) -> str:
    """Return what Grafana asks Prometheus for when it draws a service map."""
    wanted = [selectors] if isinstance(selectors, str) else selectors
    rates = [
        f"sum by (client, server) (rate(traces_service_graph_request_total{selector}[$__range]))" for selector in wanted
    ]
    return " or ".join(rates)


def _formatted(value: str | Sequence[str], form: str | None) -> str:
    if form in ("pipe", "raw", None) and isinstance(value, str):
        return value
    chosen = [value] if isinstance(value, str) else list(value)
    if form == "pipe":
        return "|".join(chosen)
    if form == "regex" or form is None:
        escaped = [_REGEX_SPECIAL.sub(r"\\\1", item) for item in chosen]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
    raise ValueError(f"Variables are not written in the format {form!r} here: use pipe, regex or raw.")
