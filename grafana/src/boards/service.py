"""The service dashboard: is it up, is it right, is it quick, and if not, which traces and logs say why."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.builders import heatmap, logs, nodegraph, stat, table, timeseries
from grafana_foundation_sdk.builders.common import ScaleDistributionConfig, StackingConfig
from grafana_foundation_sdk.builders.heatmap import HeatmapColorOptions, YAxisConfig
from grafana_foundation_sdk.cog import builder as cog
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import LogsSortOrder, ScaleDistribution, StackingMode
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.tempo import SearchTableType

from grafana.src.explore import (
    failed_route_links,
    logs_link,
    route_links,
    service_links,
    traces_link,
)
from grafana.src.panels import (
    TEXT,
    Place,
    Steps,
    Words,
    furnish,
    lines,
    logql,
    number,
    promql,
    promql_buckets,
    promql_now,
    service_map,
    thresholds,
    traceql,
)
from grafana.src.sources import LOKI, PROMETHEUS, TEMPO
from grafana.src.variables import (
    CLIENT_REQUESTS,
    OF_ROUTE,
    OF_SERVICE,
    REQUESTS,
    SPANS_OF_ROUTE,
    SPANS_OF_SERVICE,
    SQL_CALLS,
    percentile_variable,
    service_variables,
    slowness_variable,
    source_variables,
)

UID = "forge-service"
TITLE = "Service"
TAG = "otel-forge"

# Empty is the good state of these, so they are asked for data only where faults were injected.
EMPTY_WHEN_HEALTHY = frozenset({"Failures by type", "Failed traces"})

FAILED = 'http_response_status_code=~"5.."'
ERROR_STEPS = Steps(warn=0.01, bad=0.05)
EDGE_SELECTORS = ('{client="$service"}', '{server="$service"}')
HALF = Place(width=12)
THIRD = Place(width=8)
WHOLE = Place(width=24, height=10)

AnyPanel = stat.Panel | timeseries.Panel | heatmap.Panel | table.Panel | logs.Panel | nodegraph.Panel


def rate(selector: str, *by: str) -> str:
    """Return the per-second rate of what a selector counts, summed by the given labels."""
    return f"{_sum(by)} (rate({selector}[$__rate_interval]))"


def quantile(base: str, matchers: str, *by: str) -> str:
    """Return the dashboard's percentile of a classic histogram, per group."""
    buckets = f"{base.removesuffix('_count')}_bucket{{{matchers}}}"
    return f"histogram_quantile($percentile, {rate(buckets, 'le', *by)})"


def _sum(by: tuple[str, ...]) -> str:
    return f"sum by ({', '.join(by)})" if by else "sum"


def dashboard() -> board.Dashboard:
    """Return the service dashboard."""
    result = (
        board.Dashboard(TITLE)
        .uid(UID)
        .description("Rate, errors and duration of one service, what it depends on, its logs and its traces.")
        .tags([TAG])
        .time("now-30m", "now")
        .refresh("10s")
        .timezone("browser")
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(_to_other_boards())
        .annotation(_deploys())
        .annotation(_alerts())
    )
    for variable in _variables():
        result.with_variable(variable)
    for title, panels in _rows():
        result.with_row(board.Row(title))
        for panel in panels:
            result.with_panel(panel)
    return result


def _variables() -> list[cog.Builder[model.VariableModel]]:
    return [*source_variables(), *service_variables(), percentile_variable(), slowness_variable()]


def _rows() -> list[tuple[str, list[AnyPanel]]]:
    return [
        ("At a glance", [_rate_now(), _errors_now(), _duration_now(), _in_flight()]),
        ("Rate and errors", [_rate_by_route(), _error_ratio_by_route(), _by_status(), _failures_by_type()]),
        ("Duration", [_duration_by_route(), _duration_heat_map()]),
        ("Database", [_sql_rate(), _sql_duration(), _sql_statements()]),
        ("Calls to other services", [_outbound_rate(), _outbound_duration(), _graph(), _edges()]),
        ("Logs", [_lines_by_level(), _log_lines()]),
        ("Traces", [_slow_traces(), _failed_traces()]),
    ]


def _to_other_boards() -> board.DashboardLink:
    return (
        board.DashboardLink("otel-forge")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )


def _deploys() -> board.AnnotationQuery:
    """Mark the moment a version is first seen: present now, absent two minutes ago."""
    seen = f"group by (service_version) ({REQUESTS}{{{OF_SERVICE}}}"
    return (
        board.AnnotationQuery()
        .name("Deploys")
        .datasource(PROMETHEUS.chosen())
        .expr(f"{seen}) unless {seen} offset 2m)")
        .enable(True)
        .icon_color("blue")
        .title_format("Version {{service_version}}")
        .text_format("First seen here")
        .step("15s")
    )


def _alerts() -> board.AnnotationQuery:
    return (
        board.AnnotationQuery()
        .name("Alerts")
        .datasource(PROMETHEUS.chosen())
        .expr('ALERTS{alertstate="firing", severity=~"page|ticket", service_name="$service"}')
        .enable(True)
        .icon_color("red")
        .title_format("{{alertname}}")
        .text_format("{{severity}}")
        .step("15s")
    )


# --- at a glance ----------------------------------------------------------------------------------


def _rate_now() -> stat.Panel:
    words = Words(
        "Requests a second",
        "Requests that the service answers, all of the chosen routes together.",
        "No request in this time range",
    )
    return number(words, "reqps", service_links()).with_target(promql(rate(f"{REQUESTS}{{{OF_ROUTE}}}")))


def _errors_now() -> stat.Panel:
    words = Words(
        "Failed requests",
        "Share of requests answered with a 5xx status. The alert ErrorRatioHigh fires above 5 %.",
        "No request in this time range",
    )
    failed = rate(f"{REQUESTS}{{{OF_ROUTE}, {FAILED}}}")
    expr = f"({failed} or vector(0)) / ({rate(f'{REQUESTS}{{{OF_ROUTE}}}')} > 0)"
    links = service_links("span.http.response.status_code >= 500")
    return number(words, "percentunit", links, ERROR_STEPS).with_target(promql(expr))


def _duration_now() -> stat.Panel:
    words = Words(
        "Duration",
        "The chosen percentile of the time from a request's arrival to its answer.",
        "No request in this time range",
    )
    panel = number(words, "s", service_links("duration > $slower_than"), Steps(warn=0.5, bad=1))
    return panel.with_target(promql(quantile(REQUESTS, OF_ROUTE), exemplars=True))


def _in_flight() -> stat.Panel:
    words = Words(
        "Requests in flight",
        "Requests being worked on now, all instances together. Near the number of workers, others wait.",
        "No instance has answered a request yet",
    )
    expr = f"sum (http_server_active_requests{{{OF_SERVICE}}})"
    return number(words, "short", service_links()).with_target(promql(expr))


# --- rate and errors ------------------------------------------------------------------------------


def _rate_by_route() -> timeseries.Panel:
    words = Words(
        "Requests by route",
        "Requests a second for each route. A line without a name is requests that matched no route.",
        "No request in this time range",
    )
    query = promql(rate(f"{REQUESTS}{{{OF_ROUTE}}}", "http_route"), "{{http_route}}")
    return lines(words, "reqps", HALF, route_links()).with_target(query)


def _error_ratio_by_route() -> timeseries.Panel:
    words = Words(
        "Failed requests by route",
        "Share of each route's requests answered with a 5xx status. No line means no request.",
        "No request in this time range",
    )
    everything = rate(f"{REQUESTS}{{{OF_ROUTE}}}", "http_route")
    failed = rate(f"{REQUESTS}{{{OF_ROUTE}, {FAILED}}}", "http_route")
    query = promql(f"({failed} or 0 * {everything}) / ({everything} > 0)", "{{http_route}}")
    panel = lines(words, "percentunit", HALF, failed_route_links())
    return panel.thresholds(thresholds(ERROR_STEPS)).with_target(query)


def _by_status() -> timeseries.Panel:
    words = Words(
        "Responses by status",
        "Responses a second for each HTTP status code.",
        "No request in this time range",
    )
    status = "http_response_status_code"
    links = [
        traces_link("Traces with this status", f"span.http.response.status_code = ${{__field.labels.{status}}}"),
        logs_link("Logs of the service"),
    ]
    panel = lines(words, "reqps", HALF, links).stacking(StackingConfig().mode(StackingMode.NORMAL))
    query = promql(rate(f"{REQUESTS}{{{OF_ROUTE}}}", status), f"{{{{{status}}}}}")
    return panel.fill_opacity(30).with_target(query)


def _failures_by_type() -> timeseries.Panel:
    words = Words(
        "Failures by type",
        "Failed requests a second by route and error.type (an exception's name or a status code).",
        "No failed request: all is well",
    )
    failures = f'{REQUESTS}{{{OF_ROUTE}, error_type!=""}}'
    query = promql(rate(failures, "http_route", "error_type"), "{{http_route}} {{error_type}}")
    return lines(words, "reqps", HALF, failed_route_links()).with_target(query)


# --- duration -------------------------------------------------------------------------------------


def _duration_by_route() -> timeseries.Panel:
    words = Words(
        "Duration by route",
        "The chosen percentile for each route. A dot is one real request: click it to open its trace.",
        "No request in this time range",
    )
    query = promql(quantile(REQUESTS, OF_ROUTE, "http_route"), "{{http_route}}", exemplars=True)
    return lines(words, "s", HALF, route_links()).with_target(query)


def _duration_heat_map() -> heatmap.Panel:
    words = Words(
        "How durations spread",
        "Requests a second in each duration bucket: two bands mean two kinds of request. Dots open traces.",
        "No request in this time range",
    )
    buckets = f"{REQUESTS.removesuffix('_count')}_bucket{{{OF_ROUTE}}}"
    panel = furnish(heatmap.Panel(), words, "s", PROMETHEUS, HALF, service_links())
    return (
        panel.calculate(False)
        .color(HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
        .y_axis(YAxisConfig().unit("s"))
        .scale_distribution(ScaleDistributionConfig().type(ScaleDistribution.LINEAR))
        .with_target(promql_buckets(rate(buckets, "le")))
    )


# --- database -------------------------------------------------------------------------------------


def _sql_rate() -> timeseries.Panel:
    words = Words(
        "SQL calls",
        "Database calls a second by operation. Far more of them than requests: look for a query in a loop.",
        "No database call in this time range",
    )
    operation = rate(f"{SQL_CALLS}{{{OF_SERVICE}}}", "db_system_name", "db_operation_name")
    query = promql(operation, "{{db_system_name}} {{db_operation_name}}")
    return lines(words, "ops", THIRD, _sql_links()).with_target(query)


def _sql_duration() -> timeseries.Panel:
    words = Words(
        "SQL duration",
        "The chosen percentile of the time of a database call, by operation. Dots open traces.",
        "No database call in this time range",
    )
    expr = quantile(SQL_CALLS, OF_SERVICE, "db_operation_name")
    query = promql(expr, "{{db_operation_name}}", exemplars=True)
    return lines(words, "s", THIRD, _sql_links()).with_target(query)


def _sql_statements() -> table.Panel:
    words = Words(
        "SQL statements",
        "Newest database spans with their statement; sort by duration. A click on the id opens the trace.",
        "No span of a database call in this time range",
    )
    query = f'{{ {SPANS_OF_SERVICE} && span.db.query.text =~ ".+" }} | select(span.db.query.text)'
    panel = furnish(table.Panel(), words, TEXT, TEMPO, THIRD, [logs_link("Logs of the service")])
    return panel.with_target(traceql(query, rows=SearchTableType.SPANS))


def _sql_links() -> list[board.DashboardLink]:
    # The operation is a label of the metric, and on the span it is the name.
    clicked = 'span.db.system.name =~ ".+" && name = "${__field.labels.db_operation_name}"'
    return service_links(clicked, span_kind="client")


# --- calls to other services ----------------------------------------------------------------------


def _outbound_rate() -> timeseries.Panel:
    words = Words(
        "Outbound calls",
        "HTTP calls a second that the service makes, by the address called and the status it answered.",
        "No outbound call in this time range",
    )
    by = ("server_address", "server_port", "http_response_status_code")
    query = promql(
        rate(f"{CLIENT_REQUESTS}{{{OF_SERVICE}}}", *by),
        "{{server_address}}:{{server_port}} {{http_response_status_code}}",
    )
    return lines(words, "reqps", HALF, _outbound_links()).with_target(query)


def _outbound_duration() -> timeseries.Panel:
    words = Words(
        "Outbound duration",
        "The chosen percentile of the time an outbound call takes, by the address called. Dots open traces.",
        "No outbound call in this time range",
    )
    expr = quantile(CLIENT_REQUESTS, OF_SERVICE, "server_address", "server_port")
    query = promql(expr, "{{server_address}}:{{server_port}}", exemplars=True)
    return lines(words, "s", HALF, _outbound_links()).with_target(query)


def _outbound_links() -> list[board.DashboardLink]:
    clicked = (
        'span.server.address = "${__field.labels.server_address}" && span.server.port = ${__field.labels.server_port}'
    )
    return service_links(clicked, span_kind="client")


def _graph() -> nodegraph.Panel:
    words = Words(
        "Who calls whom",
        "The service, those that call it and those it calls, counted from traces by Tempo.",
        "No call between two traced services in this time range",
    )
    panel = furnish(nodegraph.Panel(), words, "short", TEMPO, HALF)
    return panel.with_target(service_map(EDGE_SELECTORS))


def _edges() -> table.Panel:
    words = Words(
        "Calls by pair",
        "Calls a second between this service and each neighbour over the time range, counted from traces.",
        "No call between two traced services in this time range",
    )
    pairs = [
        f"sum by (client, server) (rate(traces_service_graph_request_total{selector}[$__range]))"
        for selector in EDGE_SELECTORS
    ]
    panel = furnish(table.Panel(), words, "reqps", PROMETHEUS, HALF, service_links())
    return panel.with_target(promql_now(" or ".join(pairs)))


# --- logs -----------------------------------------------------------------------------------------


def _lines_by_level() -> timeseries.Panel:
    words = Words(
        "Log lines by level",
        "How many lines of each level the service wrote.",
        "The service wrote no log line in this time range",
    )
    level = "detected_level"
    clicked = f'| {level}="${{__field.labels.{level}}}"'
    panel = lines(words, "short", Place(width=24, height=5), [logs_link("Lines of this level", clicked)], LOKI)
    query = logql(f"sum by ({level}) (count_over_time({{{OF_SERVICE}}} [$__auto]))", f"{{{{{level}}}}}")
    return panel.stacking(StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(30).with_target(query)


def _log_lines() -> logs.Panel:
    words = Words(
        "Log lines",
        "Newest first. Open a line to see its fields; the field trace_id opens the trace it belongs to.",
        "The service wrote no log line in this time range",
    )
    panel = furnish(logs.Panel(), words, "short", LOKI, WHOLE)
    panel.show_time(True).wrap_log_message(True).enable_log_details(True)
    return panel.sort_order(LogsSortOrder.DESCENDING).with_target(logql(f"{{{OF_SERVICE}}}"))


# --- traces ---------------------------------------------------------------------------------------


def _slow_traces() -> table.Panel:
    words = Words(
        "Slow traces",
        "Requests slower than the chosen limit, newest first. A click on the id opens the trace.",
        "No request was this slow",
    )
    return _traces(words, "duration > $slower_than")


def _failed_traces() -> table.Panel:
    words = Words(
        "Failed traces",
        "Requests that ended in an error or a 5xx status, newest first. A click on the id opens the trace.",
        "No failed request: all is well",
    )
    return _traces(words, "(status = error || span.http.response.status_code >= 500)")


def _traces(words: Words, condition: str) -> table.Panel:
    wanted = f"{{ {SPANS_OF_ROUTE} && kind = server && {condition} }}"
    panel = furnish(table.Panel(), words, TEXT, TEMPO, HALF, [logs_link("Logs of the service")])
    return panel.with_target(traceql(wanted))
