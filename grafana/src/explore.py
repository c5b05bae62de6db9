"""Links from a panel into Explore: the traces and the logs of what was clicked, in the same time range."""

from __future__ import annotations

import json
import re
import urllib.parse

from grafana_foundation_sdk.builders.dashboard import DashboardLink

from grafana.src.sources import LOKI, TEMPO, Source
from grafana.src.variables import OF_SERVICE, SPANS_OF_SERVICE

_PLACEHOLDER = re.compile(r"(\$\{[^}]*\})")

LOGS_OF_SERVICE = f"{{{OF_SERVICE}}}"
CLICKED_ROUTE = 'span.http.route = "${__field.labels.http_route}"'


def traces_link(title: str, condition: str, *, span_kind: str = "server") -> DashboardLink:
    """Return a link to the traces of the dashboard's service whose spans also meet `condition` (TraceQL)."""
    wanted = f"{{ {SPANS_OF_SERVICE} && kind = {span_kind}"
    query = f"{wanted} && {condition} }}" if condition else f"{wanted} }}"
    return _link(title, TEMPO, {"queryType": "traceql", "query": query, "tableType": "traces", "limit": 50})


def logs_link(title: str, pipeline: str = "") -> DashboardLink:
    """Return a link to the log lines of the dashboard's service that pass `pipeline` (LogQL stages)."""
    return _link(title, LOKI, {"queryType": "range", "expr": f"{LOGS_OF_SERVICE} {pipeline}".strip()})


def route_links() -> list[DashboardLink]:
    """Return the links of a panel with one series per route."""
    return [
        traces_link("Traces of this route", CLICKED_ROUTE),
        traces_link("Traces of the service", ""),
        logs_link("Logs of the service"),
    ]


def failed_route_links() -> list[DashboardLink]:
    """Return the links of a panel that shows failures, one series per route."""
    failed = "span.http.response.status_code >= 500"
    return [
        traces_link("Failed traces of this route", f"{CLICKED_ROUTE} && {failed}"),
        traces_link("Failed traces of the service", failed),
        logs_link("Error logs of the service", '| severity_text=~"ERROR|CRITICAL|FATAL"'),
    ]


def service_links(condition: str = "", *, span_kind: str = "server") -> list[DashboardLink]:
    """Return the links of a panel about the whole service."""
    return [
        traces_link("Traces behind this", condition, span_kind=span_kind),
        logs_link("Logs of the service"),
    ]


def encoded(state: str) -> str:
    """Percent-encode all but Grafana's placeholders, which must reach Grafana as they are."""
    parts = _PLACEHOLDER.split(state)
    return "".join(part if _PLACEHOLDER.fullmatch(part) else urllib.parse.quote(part, safe="") for part in parts)


def _link(title: str, source: Source, query: dict[str, object]) -> DashboardLink:
    reference = {"type": source.plugin, "uid": f"${{{source.uid}}}"}
    pane = {
        "datasource": f"${{{source.uid}}}",
        "queries": [{"refId": "A", "datasource": reference, **query}],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
    state = json.dumps({"forge": pane}, separators=(",", ":"))
    url = f"/explore?schemaVersion=1&orgId=1&panes={encoded(_braced(state))}"
    return DashboardLink(title).url(url).target_blank(True)


def _braced(state: str) -> str:
    """Write `$name` as `${name:pipe}`, since percent-encoding would end a bare name in the wrong place."""
    return re.sub(r"\$(\w+)", r"${\1:pipe}", state)
