"""Upstream's own record types, made from lean ones for processors and exporters of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk._logs import LogRecordLimits, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, Status, StatusCode, TraceFlags

from otel_forge.sdk.current import current_context
from otel_forge.sdk.limits import UNLIMITED, RecordLimits, or_none

if TYPE_CHECKING:
    from otel_forge.sdk.logger import LeanLogRecord
    from otel_forge.sdk.span import LeanSpan


def readable_span(span: LeanSpan, limits: RecordLimits) -> ReadableSpan:
    """Return `span` as the `ReadableSpan` that upstream would have made of the same calls.

    Except for ``instrumentation_info``, deprecated since 1.11 and None here.
    """
    span.settle()
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=_attributes(span, limits),
        events=_events(span, limits),
        links=_links(span, limits),
        kind=span.kind,
        status=Status(StatusCode(span.status_code), span.status_description),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.scope,
    )


def _bounded(attributes: Any, count: int, length: int) -> BoundedAttributes:
    return BoundedAttributes(or_none(count), attributes, max_value_len=or_none(length))


def _attributes(span: LeanSpan, limits: RecordLimits) -> BoundedAttributes:
    bounded = _bounded(span.attributes, limits.attributes, limits.attribute_length)
    bounded.dropped += span.dropped_attributes
    return bounded


def _events(span: LeanSpan, limits: RecordLimits) -> Any:
    events = [
        Event(name, _bounded(attributes, limits.event_attributes, limits.attribute_length), time)
        for name, time, attributes in span.events
    ]
    bounded = BoundedList.from_seq(or_none(limits.events), events)
    bounded.dropped += span.dropped_events
    return bounded


def _links(span: LeanSpan, limits: RecordLimits) -> Any:
    links = [
        Link(link.context, _bounded(link.attributes, limits.link_attributes, limits.attribute_length))
        for link in span.links
    ]
    bounded = BoundedList.from_seq(or_none(limits.links), links)
    bounded.dropped += span.dropped_links
    return bounded


def log_record_limits(limits: RecordLimits) -> LogRecordLimits:
    """Return the limits of log records as upstream's object."""
    length = LogRecordLimits.UNSET if limits.attribute_length == UNLIMITED else limits.attribute_length
    count = LogRecordLimits.UNSET if limits.attributes == UNLIMITED else limits.attributes
    return LogRecordLimits(
        max_attributes=count,
        max_attribute_length=length,
        max_log_record_attributes=count,
        max_log_record_attribute_length=length,
    )


def writable_log_record(record: LeanLogRecord, resource: Resource, limits: LogRecordLimits) -> ReadWriteLogRecord:
    """Return `record` as the `ReadWriteLogRecord` that upstream would have made of the same call."""
    api_record = LogRecord(
        timestamp=record.timestamp,
        observed_timestamp=record.observed_timestamp,
        context=current_context() or None,
        severity_text=record.severity_text,
        severity_number=SeverityNumber(record.severity_number) if record.severity_number else None,
        body=record.body,
        attributes=record.attributes,
        event_name=record.event_name,
    )
    api_record.trace_id = record.trace_id
    api_record.span_id = record.span_id
    api_record.trace_flags = TraceFlags(record.trace_flags)
    return ReadWriteLogRecord(
        log_record=api_record, resource=resource, instrumentation_scope=record.scope, limits=limits
    )
