"""The chained variables that every dashboard shares, and the selectors that they stand for."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.models.dashboard import VariableOption, VariableRefresh, VariableSort

from grafana.src.sources import LOKI, PROMETHEUS, TEMPO, Source

REQUESTS = "http_server_request_duration_seconds_count"
CLIENT_REQUESTS = "http_client_request_duration_seconds_count"
SQL_CALLS = "db_client_operation_duration_seconds_count"

# `=~".*"` also matches a series without the label: a service that sets no environment stays visible.
EVERYTHING = ".*"
IN_PLACE = 'deployment_environment_name=~"$environment", service_namespace=~"$namespace"'
OF_SERVICE = f'{IN_PLACE}, service_name="$service"'
OF_ROUTE = f'{OF_SERVICE}, http_route=~"$route"'

# TraceQL's `=~` never matches a span without the attribute, so "all" is told by comparing the choice itself.
SPANS_OF_SERVICE = (
    'resource.service.name = "$service"'
    f' && ("$environment" = "{EVERYTHING}" || resource.deployment.environment.name =~ "$environment")'
)
SPANS_OF_ROUTE = f'{SPANS_OF_SERVICE} && ("$route" = "{EVERYTHING}" || span.http.route =~ "$route")'

PERCENTILES = {"p50": "0.5", "p90": "0.9", "p95": "0.95", "p99": "0.99"}


def source_variables() -> list[board.DatasourceVariable]:
    """Return one variable per data source, so that no panel names a data source outright."""
    return [_source(source) for source in (PROMETHEUS, LOKI, TEMPO)]


def service_variables() -> list[board.QueryVariable]:
    """Return environment, namespace, service and route, each narrowed by those before it."""
    everywhere = f"label_values({REQUESTS}, deployment_environment_name)"
    in_environment = f'label_values({REQUESTS}{{deployment_environment_name=~"$environment"}}, service_namespace)'
    in_namespace = f"label_values({REQUESTS}{{{IN_PLACE}}}, service_name)"
    in_service = f"label_values({REQUESTS}{{{OF_SERVICE}}}, http_route)"
    return [
        _many("environment", "Environment", "deployment.environment.name of the service.", everywhere),
        _many("namespace", "Namespace", "service.namespace of the service.", in_environment),
        _query("service", "Service", "service.name: the service this dashboard is about.", in_namespace),
        _many("route", "Route", "http.route: the pattern of the address, never the address.", in_service),
    ]


def percentile_variable() -> board.CustomVariable:
    """Return the percentile that the latency panels show."""
    return (
        board.CustomVariable("percentile")
        .label("Percentile")
        .description("Which percentile of duration the latency panels show.")
        .values(", ".join(f"{name} : {value}" for name, value in PERCENTILES.items()))
        .current(VariableOption(selected=True, text="p95", value=PERCENTILES["p95"]))
    )


def slowness_variable() -> board.CustomVariable:
    """Return the duration from which a trace counts as slow."""
    return (
        board.CustomVariable("slower_than")
        .label("Slow from")
        .description("How long a request takes before the table of slow traces lists it.")
        .values("50ms, 100ms, 250ms, 500ms, 1s, 5s")
        .current(VariableOption(selected=True, text="250ms", value="250ms"))
    )


def _source(source: Source) -> board.DatasourceVariable:
    return (
        board.DatasourceVariable(source.uid)
        .label(source.title)
        .description(f"Where the {source.title} panels read from.")
        .type(source.plugin)
        .current(VariableOption(selected=True, text=source.title, value=source.uid))
    )


def _query(name: str, label: str, description: str, query: str) -> board.QueryVariable:
    return (
        board.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(PROMETHEUS.chosen())
        .query({"qryType": 1, "query": query, "refId": f"variable-{name}"})
        .definition(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def _many(name: str, label: str, description: str, query: str) -> board.QueryVariable:
    return (
        _query(name, label, description, query)
        .multi(True)
        .include_all(True)
        .all_value(EVERYTHING)
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    )
