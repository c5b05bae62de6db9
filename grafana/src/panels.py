"""The house rules that every panel is built with: words, unit, source, and what to say without data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    heatmap,
    logs,
    loki,
    nodegraph,
    prometheus,
    stat,
    table,
    tempo,
    timeseries,
)
from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions, VizTooltipOptions
from grafana_foundation_sdk.builders.dashboard import DashboardLink, ThresholdsConfig
from grafana_foundation_sdk.cog import builder as cog
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.tempo import SearchTableType

from grafana.src.sources import LOKI, PROMETHEUS, TEMPO, Source

# Tables of traces bring units for their own columns; an id is text, even one that looks like a number.
TEXT = "string"

Panel = TypeVar("Panel", heatmap.Panel, logs.Panel, nodegraph.Panel, stat.Panel, table.Panel, timeseries.Panel)


@dataclass(frozen=True)
class Words:
    """What a panel says: its name, what it means to the reader, and what an empty panel means."""

    title: str
    description: str
    no_data: str


@dataclass(frozen=True)
class Place:
    """How much of the 24-column grid a panel takes."""

    width: int
    height: int = 8


@dataclass(frozen=True)
class Steps:
    """Where a value turns amber and where it turns red, in the panel's unit."""

    warn: float
    bad: float
    lines: bool = field(default=True)


def furnish(
    panel: Panel, words: Words, unit: str, source: Source, place: Place, links: Sequence[DashboardLink] = ()
) -> Panel:
    """Give a panel everything that the lint asks of every panel."""
    panel.title(words.title).description(words.description).no_value(words.no_data)
    panel.unit(unit).datasource(source.chosen()).span(place.width).height(place.height)
    if links:
        panel.data_links(list[cog.Builder[model.DashboardLink]](links))
    return panel


def lines(
    words: Words, unit: str, place: Place, links: Sequence[DashboardLink] = (), source: Source = PROMETHEUS
) -> timeseries.Panel:
    """Return a time series panel whose legend is a sortable table."""
    legend = (
        VizLegendOptions()
        .display_mode(LegendDisplayMode.TABLE)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
    )
    tooltip = VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    panel = timeseries.Panel().legend(legend).tooltip(tooltip).min(0).fill_opacity(8)
    return furnish(panel, words, unit, source, place, links)


def number(words: Words, unit: str, links: Sequence[DashboardLink], steps: Steps | None = None) -> stat.Panel:
    """Return a single number with its recent course behind it."""
    newest = ReduceDataOptions().calcs(["lastNotNull"])
    panel = stat.Panel().reduce_options(newest)
    furnish(panel, words, unit, PROMETHEUS, Place(width=6, height=4), links)
    return panel.thresholds(thresholds(steps)) if steps else panel


def thresholds(steps: Steps) -> ThresholdsConfig:
    """Return green, amber and red steps."""
    return ThresholdsConfig().steps(
        [
            model.Threshold(value=None, color="green"),
            model.Threshold(value=steps.warn, color="orange"),
            model.Threshold(value=steps.bad, color="red"),
        ]
    )


def promql(expr: str, legend: str = "__auto", *, ref: str = "A", exemplars: bool = False) -> prometheus.Dataquery:
    """Return a range query; `exemplars` also draws the traces behind the latency as points."""
    query = prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(ref).range()
    return query.datasource(PROMETHEUS.chosen()).exemplar(exemplars)


def promql_now(expr: str, *, ref: str = "A") -> prometheus.Dataquery:
    """Return an instant query in table form: one row per series."""
    query = prometheus.Dataquery().expr(expr).ref_id(ref).instant().format(PromQueryFormat.TABLE)
    return query.datasource(PROMETHEUS.chosen()).exemplar(False)


def promql_buckets(expr: str) -> prometheus.Dataquery:
    """Return a heat map query: one series per bucket, with exemplars."""
    return promql(expr, "{{le}}", exemplars=True).format(PromQueryFormat.HEATMAP)


def logql(expr: str, legend: str = "", *, ref: str = "A") -> loki.Dataquery:
    """Return a log query, or a metric query over logs."""
    query = loki.Dataquery().expr(expr).ref_id(ref).query_type("range").datasource(LOKI.chosen())
    return query.legend_format(legend) if legend else query


def traceql(
    query: str, *, rows: SearchTableType = SearchTableType.TRACES, limit: int = 20, ref: str = "A"
) -> tempo.Dataquery:
    """Return a TraceQL search: one row per trace, or per span."""
    search = tempo.Dataquery().query(query).query_type("traceql").limit(limit).ref_id(ref)
    return search.table_type(rows).datasource(TEMPO.chosen())


def service_map(selectors: Sequence[str]) -> tempo.Dataquery:
    """Return the node graph of the calls that match any of these selectors on the service graph metrics."""
    graph = tempo.Dataquery().query_type("serviceMap").service_map_query(list(selectors)).ref_id("A")
    return graph.datasource(TEMPO.chosen())
