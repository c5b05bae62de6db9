"""Dashboards, data sources and alerts as Python; `python -m grafana.src.render` writes them out.

sources        the four data sources, their stable uids and every link between them
variables      the chained dashboard variables
explore        links from a panel into Explore (traces and logs of what was clicked)
panels         the house rules that every panel is built with
boards/        one module per dashboard
alerts         the one table of alerts and recording rules
lanes          that table as Prometheus rules and as Grafana-managed rules
render         writes all of it, or says what drifted (`--check`)
lint           what a dashboard must have; run by the tests
queries        every query of every dashboard and alert, with variables and macros filled in
live           runs those queries against real Prometheus, Loki and Tempo
"""

import warnings

with warnings.catch_warnings():
    # The SDK asks for the newer schema at the very import of the classic one, which we ship on purpose:
    # Grafana 10 to 13 read it.
    warnings.filterwarnings("ignore", "Prefer using dashboardv2", DeprecationWarning)
    import grafana_foundation_sdk.builders.dashboard
    import grafana_foundation_sdk.builders.dashboardv2beta1  # noqa: F401
