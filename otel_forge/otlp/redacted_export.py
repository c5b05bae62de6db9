"""The policy for what goes out through upstream's exporters, or somebody else's: batches without secrets.

What holds none passes as the same object; of the rest, copies are made with upstream's public constructors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

from opentelemetry.attributes import BoundedAttributes

from otel_forge.redaction import Policy, policy
from otel_forge.settings import Signal


def redact_exports(exporter: Any, signal: Signal) -> None:
    """Make an upstream `exporter` of `signal` export what the policy of this process lets through."""
    export: Callable[..., Any] = exporter.export
    redacted = {"traces": redacted_spans, "logs": redacted_records, "metrics": redacted_metrics}[signal]

    def export_redacted(batch: Any, *args: Any, **kwargs: Any) -> Any:
        current = policy()
        return export(redacted(batch, current) if current.enabled else batch, *args, **kwargs)

    exporter.export = export_redacted


def redacted_spans(spans: Sequence[Any], current: Policy) -> Sequence[Any]:
    """Return spans without secrets."""
    return [_span(span, current) for span in spans]


def _span(span: Any, current: Policy) -> Any:
    before = span.name, span.attributes, span.events, span.links, span.status, span.resource  # some are made anew
    name, attributes, events, links, status, resource = after = (
        current.text(before[0]),
        _attributes(before[1], current),
        _each(before[2], current, _event),
        _each(before[3], current, _link),
        _status(before[4], current),
        _resource(before[5], current),
    )
    if all(new is old for new, old in zip(after, before, strict=True)):
        return span
    from opentelemetry.sdk.trace import ReadableSpan

    return ReadableSpan(
        name=name,
        context=span.context,
        parent=span.parent,
        resource=resource,
        attributes=_bounded(attributes, span.dropped_attributes),
        events=_counted(events, span.dropped_events),
        links=_counted(links, span.dropped_links),
        kind=span.kind,
        status=status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _attributes(attributes: Any, current: Policy) -> Any:
    """Return attributes without secrets: the same object if there were none."""
    return current.attributes(attributes) if attributes else attributes


def _bounded(attributes: Any, dropped: int) -> Any:
    """Return attributes that tell how many were dropped before."""
    bounded = BoundedAttributes(attributes=dict(attributes) if attributes else None, immutable=False)
    bounded.dropped = dropped
    return bounded


def _counted(items: Sequence[Any], dropped: int) -> Any:
    """Return events or links that tell how many were dropped before."""
    from opentelemetry.sdk.util import BoundedList

    counted: Any = BoundedList.from_seq(max(len(items), 1), items)
    counted.dropped = dropped
    return counted


def _each(items: Any, current: Policy, redacted: Callable[[Any, Policy], Any]) -> Any:
    changed = [redacted(item, current) for item in items]
    return items if all(new is old for new, old in zip(changed, items, strict=True)) else changed


def _event(event: Any, current: Policy) -> Any:
    name, attributes = current.text(event.name), _attributes(event.attributes, current)
    if name == event.name and attributes is event.attributes:
        return event
    from opentelemetry.sdk.trace import Event

    return Event(name, _bounded(attributes, event.dropped_attributes), event.timestamp)


def _link(link: Any, current: Policy) -> Any:
    attributes = _attributes(link.attributes, current)
    if attributes is link.attributes:
        return link
    from opentelemetry.trace import Link

    return Link(link.context, _bounded(attributes, link.dropped_attributes))


def _status(status: Any, current: Policy) -> Any:
    description = status.description
    allowed = current.text(description) if description else description
    return status if allowed == description else type(status)(status.status_code, allowed)


def _resource(resource: Any, current: Policy) -> Any:
    attributes = _attributes(resource.attributes, current)
    return resource if attributes is resource.attributes else type(resource)(attributes, resource.schema_url)


def redacted_records(records: Sequence[Any], current: Policy) -> Sequence[Any]:
    """Return log records without secrets."""
    return [_record(record, current) for record in records]


def _record(record: Any, current: Policy) -> Any:
    inner = record.log_record
    body = current.value("", inner.body)
    attributes = _attributes(inner.attributes, current)
    resource = _resource(record.resource, current)
    if body is inner.body and attributes is inner.attributes and resource is record.resource:
        return record
    copy = type(inner)(
        timestamp=inner.timestamp,
        observed_timestamp=inner.observed_timestamp,
        trace_id=inner.trace_id,
        span_id=inner.span_id,
        trace_flags=inner.trace_flags,
        severity_text=inner.severity_text,
        severity_number=inner.severity_number,
        body=body,
        attributes=_bounded(attributes, record.dropped_attributes),
        event_name=inner.event_name,
    )
    return _copied(record, log_record=copy, resource=resource)


def _copied(record: Any, **changes: Any) -> Any:
    """Return a readable log record with `changes`; the SDK may hand over its writable kind, which is no other class."""
    values = {field.name: getattr(record, field.name) for field in fields(record) if field.init}
    return type(record)(**{**values, **changes})


def redacted_metrics(data: Any, current: Policy) -> Any:
    """Return metrics without secrets in attributes and exemplars."""
    return replace(
        data,
        resource_metrics=[
            replace(
                of_resource,
                resource=_resource(of_resource.resource, current),
                scope_metrics=[
                    replace(of_scope, metrics=[_metric(metric, current) for metric in of_scope.metrics])
                    for of_scope in of_resource.scope_metrics
                ],
            )
            for of_resource in data.resource_metrics
        ],
    )


def _metric(metric: Any, current: Policy) -> Any:
    points = _each(metric.data.data_points, current, _point)
    same = points is metric.data.data_points
    return metric if same else replace(metric, data=replace(metric.data, data_points=points))


def _point(point: Any, current: Policy) -> Any:
    attributes = _attributes(point.attributes, current)
    exemplars = _each(point.exemplars or (), current, _exemplar) if point.exemplars else point.exemplars
    if attributes is point.attributes and exemplars is point.exemplars:
        return point
    return replace(point, attributes=attributes, exemplars=exemplars)


def _exemplar(exemplar: Any, current: Policy) -> Any:
    attributes = _attributes(exemplar.filtered_attributes, current)
    same = attributes is exemplar.filtered_attributes
    return exemplar if same else replace(exemplar, filtered_attributes=attributes)
