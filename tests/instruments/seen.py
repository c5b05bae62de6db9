"""What arrived, without ids and times: in a form that can be compared and read."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

from tests.otlp_receiver import Received, points

_FRAME_OF_TELEMETRY = re.compile(
    r'  File "[^"]*/(site-packages/opentelemetry/|otel_forge/(instruments|sdk)/'
    r'|flask/app\.py", line \d+, in __call__).*\n(    .*\n)*'
)
"""Frames of the instrumentations, and the one outside of where upstream's starts (the difference `entry`)."""
_SCOPE = re.compile(r"^(opentelemetry\.instrumentation|otel_forge\.instruments)\.")


def seen(received: Received, wants_metric: Callable[[str], bool]) -> dict[str, Any]:
    """Return spans, metrics and logs, each sorted; a parent is given by its name."""
    names = {span.span_id: span.name for span in received.spans()}
    return {
        "spans": in_order(
            span_seen(span, of_scope.scope, of_scope.schema_url, names)
            for request in received.requests["traces"]
            for of_resource in request.resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ),
        "metrics": in_order(
            metric_seen(metric, of_scope.scope, of_scope.schema_url)
            for request in received.requests["metrics"][-1:]
            for of_resource in request.resource_metrics
            for of_scope in of_resource.scope_metrics
            for metric in of_scope.metrics
            if wants_metric(metric.name)
        ),
        "logs": in_order(
            log_seen(record, of_scope.scope, names)
            for request in received.requests["logs"]
            for of_resource in request.resource_logs
            for of_scope in of_resource.scope_logs
            for record in of_scope.log_records
        ),
    }


def in_order(items: Any) -> list[dict[str, Any]]:
    """Return `items` in an order that depends on nothing but their content."""
    return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))


def value(any_value: Any) -> Any:
    """Return an OTLP value as a plain one, its type still to be told (a float or bool equals an int in Python)."""
    kind = any_value.WhichOneof("value")
    if kind is None:
        return None
    content = getattr(any_value, kind)
    if kind == "array_value":
        return [value(item) for item in content.values]
    if kind == "kvlist_value":
        return attributes(content.values)
    if kind == "bytes_value":
        return {"bytes": base64.b64encode(content).decode()}
    if kind in ("double_value", "bool_value"):
        return {kind: content}
    return content


def attributes(pairs: Any) -> dict[str, Any]:
    """Return OTLP pairs by key, with stack traces that do not go through the instrumentations."""
    found = {pair.key: value(pair.value) for pair in pairs}
    trace = found.get("exception.stacktrace")
    if isinstance(trace, str):
        found["exception.stacktrace"] = _FRAME_OF_TELEMETRY.sub("", trace).splitlines()
    return found


def span_seen(span: Any, scope: Any, schema_url: str, names: dict[bytes, str]) -> dict[str, Any]:
    parent = names.get(span.parent_span_id, "elsewhere") if span.parent_span_id else "none"
    return {
        "name": span.name,
        "kind": span.kind,
        "parent": parent,
        "trace_state": span.trace_state,
        "flags": span.flags,
        "attributes": attributes(span.attributes),
        "status": [span.status.code, span.status.message],
        "events": [[event.name, attributes(event.attributes)] for event in span.events],
        "links": [[link.trace_state, link.flags, attributes(link.attributes)] for link in span.links],
        "dropped": [span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count],
        "scope": _SCOPE.sub("", scope.name),
        "schema_url": schema_url,
    }


def metric_seen(metric: Any, scope: Any, schema_url: str) -> dict[str, Any]:
    kind = str(metric.WhichOneof("data"))
    data = getattr(metric, kind)
    return {
        "name": metric.name,
        "unit": metric.unit,
        "description": metric.description,
        "kind": kind,
        "temporality": data.aggregation_temporality,
        "scope": _SCOPE.sub("", scope.name),
        "schema_url": schema_url,
        "points": in_order(_point(point) for point in points(metric)),
    }


def _point(point: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {"attributes": attributes(point.attributes)}
    if hasattr(point, "bucket_counts"):
        shown |= {"count": point.count, "bounds": list(point.explicit_bounds), "exemplars": bool(point.exemplars)}
    else:
        shown["value"] = point.as_int or point.as_double
    return shown


def log_seen(record: Any, scope: Any, names: dict[bytes, str]) -> dict[str, Any]:
    return {
        "body": value(record.body),
        "severity": [record.severity_number, record.severity_text],
        "attributes": attributes(record.attributes),
        "event_name": record.event_name,
        "span": names.get(record.span_id, "none" if not record.span_id else "elsewhere"),
        "flags": record.flags,
        "scope": scope.name,
        "dropped": record.dropped_attributes_count,
    }
