"""What arrived of whole services, in a form that can be compared: by request, without ids and times."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from tests.equivalence.callers import LIMIT, agent, trace_id
from tests.instruments.seen import attributes, in_order, log_seen, metric_seen, span_seen
from tests.otlp_receiver import Received

Arrivals = dict[str, Any]
OF_A_PROCESS = {"service.instance.id", "process.pid", "process.creation.time"}
OF_A_CONNECTION = {"client.port", "network.peer.port"}
THAT_VARY = re.compile(r"(?<= in )\d+(?= ms)|\[\d+/\w+/\d+ [\d:]+\]")
"""Times in the words of a log record: Asset Forge's own and those of an access log."""
OWN_METRICS = ("otel_forge.", "otel.sdk.")
OWN_LOGS = "otel_forge."
"""Loggers of ours, health and the request log among them: upstream has nothing that could be compared."""
APART = "apart from the requests"
_AGENT = re.compile(r"equivalence/\d+")


def arrivals(received: Received, ports: Mapping[int, str]) -> Arrivals:
    """Return `requests` (spans and logs of each request's trace, by its number), `metrics` and `resources`."""
    found = {
        "requests": _by_request(received),
        "metrics": _metrics(received),
        "resources": _resources(received),
    }
    text = THAT_VARY.sub("…", json.dumps(found))
    for port, name in ports.items():
        text = re.sub(rf"\b{port}\b", f"<port of {name}>", re.sub(rf": {port}\b", f': "<port of {name}>"', text))
    return sorted_arrivals(json.loads(text))


def sorted_arrivals(given: Arrivals) -> Arrivals:
    """Return what arrived in an order that depends on nothing but its content."""
    metrics = [{**metric, "points": in_order(metric["points"])} for metric in given["metrics"]]
    return {
        "requests": {
            key: {part: in_order(items) for part, items in found.items()} for key, found in given["requests"].items()
        },
        "metrics": in_order(metrics),
        "resources": in_order(given["resources"]),
    }


def _by_request(received: Received) -> dict[str, Any]:
    spans = list(_items(received, "traces", "resource_spans", "scope_spans", "spans"))
    parents = {span.span_id: span for _, _, span in spans}
    agents = {trace_id(number).to_bytes(16, "big"): agent(number) for number in range(LIMIT)}
    agents |= dict(filter(None, (_agent(span) for _, _, span in spans)))
    requests: dict[str, Any] = defaultdict(lambda: {"spans": [], "logs": []})
    for service, of_scope, span in spans:
        seen = span_seen(span, of_scope.scope, of_scope.schema_url, {})
        seen |= {"service": service, "parent": _above(span.parent_span_id, parents)}
        seen["attributes"] = _kept(seen["attributes"], OF_A_CONNECTION)
        requests[agents.get(span.trace_id, APART)]["spans"].append(seen)
    for service, of_scope, record in _items(received, "logs", "resource_logs", "scope_logs", "log_records"):
        if of_scope.scope.name.startswith(OWN_LOGS):
            continue
        seen = log_seen(record, of_scope.scope, {})
        seen |= {"service": service, "span": _above(record.span_id, parents)}
        requests[agents.get(record.trace_id, APART)]["logs"].append(seen)
    return dict(requests)


def _agent(span: Any) -> tuple[bytes, str] | None:
    """Return the trace and the number of the request that `span` serves."""
    agent = str(attributes(span.attributes).get("user_agent.original", ""))
    return (span.trace_id, agent) if _AGENT.fullmatch(agent) else None


def _above(span_id: bytes, known: Mapping[bytes, Any]) -> list[str]:
    """Return the names from the span `span_id` up to the root of what arrived."""
    names = []
    while span_id in known:
        span = known[span_id]
        names.append(span.name)
        span_id = span.parent_span_id
    return [*names, "remote" if span_id else "root"]


def _items(received: Received, signal: str, *levels: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the service, the scope's group and the item for everything of `signal`."""
    of_resources, of_scopes, items = levels
    for request in received.requests[signal]:
        for of_resource in getattr(request, of_resources):
            service = attributes(of_resource.resource.attributes)["service.name"]
            for of_scope in getattr(of_resource, of_scopes):
                for item in getattr(of_scope, items):
                    yield service, of_scope, item


def _metrics(received: Received) -> list[dict[str, Any]]:
    """Return each service's metrics; there was one export of them, at its end."""
    return [
        {"service": service, **metric_seen(metric, of_scope.scope, of_scope.schema_url)}
        for service, of_scope, metric in _items(received, "metrics", "resource_metrics", "scope_metrics", "metrics")
        if not metric.name.startswith(OWN_METRICS)
    ]


def _resources(received: Received) -> list[Any]:
    """Return what the services say of themselves, each once for each signal."""
    distinct = {
        json.dumps([signal, of_resource.schema_url, _kept(attributes(of_resource.resource.attributes), OF_A_PROCESS)])
        for signal, field in (("traces", "spans"), ("metrics", "metrics"), ("logs", "logs"))
        for request in received.requests[signal]
        for of_resource in getattr(request, f"resource_{field}")
    }
    return [json.loads(text) for text in distinct]


def _kept(given: Mapping[str, Any], left_out: set[str]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in left_out}
