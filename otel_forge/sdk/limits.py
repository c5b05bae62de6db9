"""How much a record may carry, with no limit as a very large number."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from opentelemetry.sdk.trace import SpanLimits

from otel_forge.settings import Limits

UNLIMITED = sys.maxsize


@dataclass(frozen=True)
class RecordLimits:
    """Counts, and lengths of texts in characters; `UNLIMITED` is no limit."""

    attributes: int = 128
    attribute_length: int = UNLIMITED
    events: int = 128
    links: int = 128
    event_attributes: int = 128
    link_attributes: int = 128

    @classmethod
    def of_spans(cls, limits: Limits) -> RecordLimits:
        """Return the limits of spans that the settings name."""
        return cls(
            limits.span_attributes,
            _or_unlimited(limits.span_attribute_length),
            limits.events,
            limits.links,
            limits.event_attributes,
            limits.link_attributes,
        )

    @classmethod
    def of_log_records(cls, limits: Limits) -> RecordLimits:
        """Return the limits of log records that the settings name."""
        return cls(attributes=limits.log_attributes, attribute_length=_or_unlimited(limits.log_attribute_length))

    def as_upstream(self) -> SpanLimits:
        """Return the same limits as upstream's object."""
        return SpanLimits(
            max_attributes=_or_unset(self.attributes),
            max_events=_or_unset(self.events),
            max_links=_or_unset(self.links),
            max_span_attributes=_or_unset(self.attributes),
            max_event_attributes=_or_unset(self.event_attributes),
            max_link_attributes=_or_unset(self.link_attributes),
            max_attribute_length=_or_unset(self.attribute_length),
            max_span_attribute_length=_or_unset(self.attribute_length),
        )


def _or_unlimited(limit: int | None) -> int:
    return UNLIMITED if limit is None else limit


def _or_unset(limit: int) -> int:
    return SpanLimits.UNSET if limit == UNLIMITED else limit


def or_none(limit: int) -> int | None:
    """Return `limit`, or None for `UNLIMITED`, as upstream has it."""
    return None if limit == UNLIMITED else limit
