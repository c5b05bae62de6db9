"""Data sources and dashboards are provisioned with stable uids and with every link between the signals."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.src.sources import SOURCES, in_provisioning

File = dict[str, Any]
ADDRESSES = {
    "FORGE_PROMETHEUS_URL": "http://prometheus:9090",
    "FORGE_LOKI_URL": "http://loki:3100",
    "FORGE_TEMPO_URL": "http://tempo:3200",
    "FORGE_ALERTMANAGER_URL": "http://alertmanager:9093",
    "FORGE_DASHBOARDS": "/etc/grafana/dashboards",
}


def as_grafana_reads(text: str) -> str:
    """Expand a text the way Grafana does: `$$` is a dollar, `$NAME` comes from the environment."""
    expand = re.compile(r"\$(?:\{([^}]*)\}|(\w+))")
    parts = [expand.sub(lambda m: ADDRESSES.get(m[1] or m[2], ""), part) for part in text.split("$$")]
    return "$".join(parts)


def read(value: Any) -> Any:
    """Expand every text of a document."""
    if isinstance(value, dict):
        return {key: read(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [read(inner) for inner in value]
    return as_grafana_reads(value) if isinstance(value, str) else value


@pytest.fixture
def sources(repository: Path) -> dict[str, File]:
    """The committed data sources by uid, as Grafana reads them."""
    path = repository / "grafana/provisioning/datasources/forge.yaml"
    document = read(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert document["apiVersion"] == 1
    return {source["uid"]: source for source in document["datasources"]}


def test_uids_are_the_ones_that_everything_refers_to(sources: dict[str, File]) -> None:
    """Four data sources, named in rules, dashboards and links."""
    assert list(sources) == ["prometheus", "loki", "tempo", "alertmanager"]


def test_addresses_come_from_the_environment(sources: dict[str, File]) -> None:
    """The same file serves containers and plain processes."""
    assert {uid: source["url"] for uid, source in sources.items()} == {
        source.uid: ADDRESSES[source.address_env] for source in SOURCES
    }


def test_exactly_one_data_source_is_the_default(sources: dict[str, File]) -> None:
    """Grafana refuses two."""
    assert [uid for uid, source in sources.items() if source["isDefault"]] == ["prometheus"]


def test_no_data_source_can_be_edited_away(sources: dict[str, File]) -> None:
    """What is provisioned stays as it is in the file."""
    assert all(source["editable"] is False and source["access"] == "proxy" for source in sources.values())


def test_an_exemplar_leads_to_its_trace(sources: dict[str, File]) -> None:
    """Prometheus to Tempo by the exemplar's trace_id."""
    (target,) = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert (target["name"], target["datasourceUid"]) == ("trace_id", "tempo")


def test_a_log_line_leads_to_its_trace(sources: dict[str, File]) -> None:
    """Loki to Tempo by a label matcher, since trace_id is structured metadata and not text."""
    (field,) = sources["loki"]["jsonData"]["derivedFields"]
    assert (field["matcherType"], field["matcherRegex"]) == ("label", "trace_id")
    assert (field["datasourceUid"], field["url"]) == ("tempo", "${__value.raw}")


def test_a_trace_leads_to_its_log_lines(sources: dict[str, File]) -> None:
    """Tempo to Loki by service and trace id; the query survives the environment expansion."""
    logs = sources["tempo"]["jsonData"]["tracesToLogsV2"]
    assert logs["datasourceUid"] == "loki"
    assert logs["query"] == '{${__tags}} | trace_id="${__trace.traceId}"'
    assert logs["tags"] == [{"key": "service.name", "value": "service_name"}]


def test_a_trace_leads_to_metrics(sources: dict[str, File]) -> None:
    """Tempo to Prometheus, with the tags still to be filled in by Grafana."""
    metrics = sources["tempo"]["jsonData"]["tracesToMetrics"]
    assert metrics["datasourceUid"] == "prometheus"
    assert len(metrics["queries"]) == 3
    assert all("{$__tags" in query["query"] for query in metrics["queries"])


def test_the_service_map_and_the_node_graph_are_on(sources: dict[str, File]) -> None:
    """Tempo draws the map from Prometheus, and streams its answers."""
    settings = sources["tempo"]["jsonData"]
    assert settings["serviceMap"] == {"datasourceUid": "prometheus"}
    assert settings["nodeGraph"] == {"enabled": True}
    assert settings["streamingEnabled"] == {"search": True, "metrics": True}


def test_every_link_between_data_sources_resolves(sources: dict[str, File]) -> None:
    """No correlation names a uid that is not provisioned."""
    named = re.findall(r"'datasourceUid': '([^']*)'", str(list(sources.values())))
    assert len(named) >= 5
    assert set(named) <= set(sources)


def test_the_alertmanager_shows_prometheus_alerts_only(sources: dict[str, File]) -> None:
    """Grafana's own alerts are not sent there too: nobody is told twice."""
    assert sources["alertmanager"]["jsonData"] == {
        "implementation": "prometheus",
        "handleGrafanaManagedAlerts": False,
    }


def test_escaping_survives_the_expansion_of_the_environment() -> None:
    """What is escaped reads as it was, also next to a real variable of the environment."""
    text = "{${__tags}} $__rate_interval ${FORGE_LOKI_URL} $HOME"
    assert "HOME" in os.environ
    assert as_grafana_reads(in_provisioning(text)) == text
    assert as_grafana_reads("$FORGE_LOKI_URL") == "http://loki:3100"


def test_dashboards_are_read_from_the_folder_named_by_the_environment(repository: Path) -> None:
    """Containers mount it; the native engine points into the bundle."""
    path = repository / "grafana/provisioning/dashboards/forge.yaml"
    (provider,) = read(yaml.safe_load(path.read_text(encoding="utf-8")))["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"] == "/etc/grafana/dashboards"
    assert provider["allowUiUpdates"] is False
