"""The lean span: the whole API of ``opentelemetry.trace.Span`` on one slotted object, without locks.

Starting a span is one call of the constructor; ending it puts the span itself into the ring of its signal.
Everything that can wait does: the `SpanContext` is made when asked for, limits on text and the conversion
to bytes happen on the delivery thread, a stack trace is formatted there.

Threads: a span may be used from several threads. What is relied on is that single operations on a
dict, a list and an attribute are atomic, which CPython's global lock gives, and its free-threaded build gives
by a lock for each object. That a span ends once rests on ``del`` of a slot, which succeeds once; a
free-threaded interpreter does not promise that, and could in theory deliver a span twice when two threads end it
in the same instant.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from time import time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.trace.span import DEFAULT_TRACE_STATE

from otel_forge.sdk import captured, exceptions
from otel_forge.sdk.exceptions import exception_attributes
from otel_forge.sdk.values import PLAIN, key_text, plain, plain_copy

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from otel_forge.sdk.tracer import LeanTracer

_logger = logging.getLogger(__name__)

WIRE_KINDS: Mapping[SpanKind, int] = {kind: kind.value + 1 for kind in SpanKind}
OK, ERROR = StatusCode.OK.value, StatusCode.ERROR.value


class EventRecord(NamedTuple):
    """An event: to the encoder a tuple, to whoever reads a span what upstream's `Event` is."""

    name: str
    timestamp: int
    attributes: dict[str, Any] | None


class LinkRecord(NamedTuple):
    """A link, likewise."""

    trace_id: int
    span_id: int
    trace_flags: int
    trace_state: TraceState | None
    attributes: dict[str, Any] | None
    is_remote: bool

    @property
    def context(self) -> SpanContext:
        """The context that the link points to."""
        flags = TraceFlags(self.trace_flags)
        return SpanContext(self.trace_id, self.span_id, self.is_remote, flags, self.trace_state)


_all_plain = PLAIN.issuperset
_all_text = frozenset((str,)).issuperset
_FLAGS = [TraceFlags(flags) for flags in range(256)]
_new_tuple = tuple.__new__
_SPAN_CONTEXT_IS_PLAIN = tuple(SpanContext(1, 2, False, _FLAGS[1])) == (1, 2, False, 1, DEFAULT_TRACE_STATE, True)


def make_span_context(
    trace_id: int, span_id: int, is_remote: bool, flags: int, state: TraceState | None
) -> SpanContext:
    """Return a `SpanContext` of ids known to be valid, without checking them again."""
    trace_state = DEFAULT_TRACE_STATE if state is None else state
    if _SPAN_CONTEXT_IS_PLAIN:
        return _new_tuple(SpanContext, (trace_id, span_id, is_remote, _FLAGS[flags], trace_state, True))
    return SpanContext(trace_id, span_id, is_remote, _FLAGS[flags], trace_state)


class LeanSpan(Span):
    """A recording span. Made by `LeanTracer`; read by the encoder, whose contract the public slots are.

    `own` is always a dict of plain values, never larger than the limit; `fixed` holds attributes that many spans
    share, encoded once. While an instrument's span records, `fixed` may be the instrument's note of it, whose
    `mapping` is worked out if somebody reads `attributes`. `events` and `links` are lists of tuples, or one empty
    tuple. `kind` is the API's `SpanKind` as long as the span lives. Instrumentations may hang attributes of their own
    on it, as the API's class has no slots.
    """

    __slots__ = (
        "_context",
        "_open",
        "_on_exception",
        "_parent",
        "_tracer",
        "_unsettled",
        "dropped_attributes",
        "dropped_events",
        "dropped_links",
        "end_time",
        "events",
        "fixed",
        "kind",
        "links",
        "name",
        "own",
        "parent_is_remote",
        "parent_span_id",
        "scope",
        "span_id",
        "start_time",
        "status_code",
        "status_description",
        "trace_flags",
        "trace_id",
        "trace_state",
    )

    def __init__(
        self,
        tracer: LeanTracer,
        name: str,
        kind: SpanKind,
        trace_id: int,
        span_id: int,
        parent: LeanSpan | SpanContext | None,
        parent_span_id: int,
        trace_flags: int,
        trace_state: TraceState | None,
        start_time: int,
        attributes: dict[Any, Any],
        fixed: Any = None,
        scope: Any = None,
    ) -> None:
        self._tracer = tracer
        self.name = name
        self.kind: Any = kind
        self.trace_id = trace_id
        self.span_id = span_id
        self._parent = parent
        self.parent_span_id = parent_span_id
        self.parent_is_remote = False
        self.trace_flags = trace_flags
        self.trace_state = trace_state
        self.start_time = start_time
        self.end_time: int | None = None
        self.own = attributes
        self.fixed = fixed
        self.scope = scope
        self.events: list[EventRecord] | tuple[()] = ()
        self.links: list[LinkRecord] | tuple[()] = ()
        self.status_code = 0
        self.status_description: str | None = None
        self.dropped_attributes = 0
        self.dropped_events = 0
        self.dropped_links = 0
        self._context: SpanContext | None = None
        self._unsettled = False
        self._on_exception = (True, True)
        self._open = True

    # -- attributes ------------------------------------------------------------------------------------------------

    @property
    def attributes(self) -> dict[str, Any]:
        """All attributes so far: the span's own, and those that it shares with others."""
        return self.own if self.fixed is None else {**self.fixed.mapping, **self.own}

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute; on an ended span nothing happens but a warning."""
        attributes = self.own
        if (
            self.end_time is None
            and type(value) in PLAIN
            and type(key) is str
            and key
            and key not in attributes
            and len(attributes) < self._tracer.attribute_limit
        ):
            attributes[key] = value
        else:
            self._set_with_care(key, value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set several attributes. A key that is no text is turned into text if that says something."""
        if self.end_time is not None:
            _logger.warning("Setting attribute on ended span.")
            return
        try:
            if self._update(dict(attributes)):
                return
            self.clean_keys()
            for key, value in attributes.items():
                self.set_attribute(key if type(key) is str else key_text(key), value)
        except Exception:  # noqa: BLE001 - not a mapping, or one that changes or raises while it is read
            _logger.warning("Attributes of type %s cannot be set.", type(attributes).__name__)

    def _update(self, fresh: dict[Any, Any]) -> bool:
        """Take all of `fresh` at once if nothing about it is unusual; return whether it was."""
        own = self.own
        usual = (
            _all_plain(map(type, fresh.values()))
            and _all_text(map(type, fresh))
            and "" not in fresh
            and own.keys().isdisjoint(fresh)
            and len(own) + len(fresh) <= self._tracer.attribute_limit
        )
        if usual:
            own.update(fresh)
        return usual

    def _set_with_care(self, key: Any, value: Any) -> None:
        if self.end_time is not None:
            _logger.warning("Setting attribute on ended span.")
            return
        if not isinstance(key, str) or not key or self._tracer.attribute_limit == 0:
            self.dropped_attributes += 1
            return
        self.clean_keys()
        attributes = self.own
        key, value = str.__str__(key), plain(value)
        attributes.pop(key, None)  # set again, a key becomes the youngest
        if len(attributes) >= self._tracer.attribute_limit:
            attributes.pop(next(iter(attributes)), None)
            self.dropped_attributes += 1
        attributes[key] = value

    def clean_keys(self) -> None:
        """Make text of the keys that the span was started with, and drop those that can't be; nearly always nothing."""
        own = self.own
        if _all_text(map(type, own)) and "" not in own:
            return
        cleaned = {name: value for key, value in list(own.items()) if (name := key_text(key))}
        self.dropped_attributes += len(own) - len(cleaned)
        own.clear()
        own.update(cleaned)

    def keep_youngest(self, limit: int) -> None:
        """Drop the oldest attributes beyond `limit`."""
        self.clean_keys()
        own = self.own
        surplus = list(own)[: max(len(own) - limit, 0)]
        for key in surplus:
            del own[key]
        self.dropped_attributes += len(surplus)

    # -- events, links, exceptions ---------------------------------------------------------------------------------

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None) -> None:
        """Add an event at `timestamp` (nanoseconds), by default now."""
        if self.end_time is not None:
            _logger.warning("Tried calling %s on an ended span.", "add_event")
            return
        self._append_event(name, plain_copy(attributes), timestamp)

    def _append_event(self, name: str, attributes: dict[str, Any] | None, timestamp: int | None) -> None:
        event = EventRecord(name, time_ns() if timestamp is None else timestamp, attributes)
        events = self.events
        if isinstance(events, tuple):
            events = self.events = []
        events.append(event)
        if len(events) > self._tracer.limits.events:
            del events[0]
            self.dropped_events += 1

    def add_link(self, context: SpanContext, attributes: Mapping[str, Any] | None = None) -> None:
        """Add a link to another span; one that points nowhere and says nothing is ignored."""
        if not is_valid_link(context, attributes):
            return
        if self.end_time is not None:
            _logger.warning("Tried calling %s on an ended span.", "add_link")
            return
        links = self.links
        if isinstance(links, tuple):
            links = self.links = []
        links.append(link_record(context, attributes))
        if len(links) > self._tracer.limits.links:
            del links[0]
            self.dropped_links += 1

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add an event that describes `exception`; its stack trace is formatted on the delivery thread."""
        if self.end_time is not None:
            _logger.warning("Tried calling %s on an ended span.", "record_exception")
            return
        described = exception_attributes(exception)
        described["exception.escaped"] = str(escaped)
        if attributes:
            described.update(plain_copy(attributes) or {})
        self._unsettled = True
        self._append_event("exception", described, timestamp)

    def settle(self) -> None:
        """Format what was left for the delivery thread: stack traces of recorded exceptions."""
        if self._unsettled:
            for _, _, attributes in self.events:
                if attributes is not None:
                    exceptions.settle(attributes)
            self._unsettled = False

    # -- name, status, end -----------------------------------------------------------------------------------------

    def update_name(self, name: str) -> None:
        """Rename the span."""
        if self.end_time is not None:
            _logger.warning("Tried calling %s on an ended span.", "update_name")
            return
        self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status: OK is final, UNSET is ignored, and only ERROR carries a description."""
        if self.end_time is not None:
            _logger.warning("Tried calling %s on an ended span.", "set_status")
            return
        code = status.status_code if isinstance(status, Status) else status
        if self.status_code == OK or not isinstance(code, StatusCode) or code is StatusCode.UNSET:
            return
        if isinstance(status, Status):
            if description is not None:
                _logger.warning(
                    "Description %s ignored. Use either `Status` or `(StatusCode, Description)`", description
                )
            description = status.description
        elif description:
            description = Status(code, description).description
        self.status_description = description
        self.status_code = code.value

    def is_recording(self) -> bool:
        """Return whether the span has not ended."""
        return self.end_time is None

    def end(self, end_time: int | None = None) -> None:
        """End the span now or at `end_time` (nanoseconds) and hand it on; the second call does nothing but warn."""
        try:
            del self._open
        except AttributeError:
            _logger.warning("Calling end() on an ended span.")
            return
        self.end_time = time_ns() if end_time is None else end_time
        self._tracer.sink(self)

    def fail(self, exception: BaseException, *, record: bool, set_status: bool, escaped: bool) -> None:
        """Note that `exception` left the block that this span stands for."""
        if self.end_time is not None:
            return
        if record and not captured.is_recorded(exception, self.span_id):
            self.record_exception(exception, escaped=escaped)
        if set_status:
            text = f"{type(exception).__name__}: {exceptions.message(exception)}"
            self.set_status(StatusCode.ERROR, text)

    def __enter__(self) -> LeanSpan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exception is not None:
            record, set_status = self._on_exception
            self.fail(exception, record=record, set_status=set_status, escaped=True)
        self.end()

    # -- what upstream's span offers to read -----------------------------------------------------------------------

    def get_span_context(self) -> SpanContext:
        """Return the ids, flags and state to propagate; made at the first call."""
        context = self._context
        if context is None:
            context = self._context = make_span_context(
                self.trace_id, self.span_id, False, self.trace_flags, self.trace_state
            )
        return context

    @property
    def context(self) -> SpanContext:
        """The same as `get_span_context`."""
        return self.get_span_context()

    @property
    def parent(self) -> SpanContext | None:
        """The context of the parent, or None for a root."""
        parent = self._parent
        return parent.get_span_context() if isinstance(parent, LeanSpan) else parent

    @property
    def status(self) -> Status:
        """The status as the API's object."""
        return Status(StatusCode(self.status_code), self.status_description)

    @property
    def resource(self) -> Resource:
        """Who is speaking."""
        return self._tracer.resource

    @property
    def instrumentation_scope(self) -> InstrumentationScope:
        """The scope of the tracer that made the span."""
        scope: InstrumentationScope = self.scope
        return scope

    def to_json(self, indent: int | None = 4) -> str:
        """Return the span as upstream's `ReadableSpan.to_json` writes it."""
        written: str = self._readable_span().to_json(indent)  # type: ignore[no-untyped-call,unused-ignore]
        return written

    def _readable_span(self) -> ReadableSpan:
        """Return a true `ReadableSpan` of this moment; some processors of others call it by this name."""
        from otel_forge.sdk.readable import readable_span  # needs upstream's SDK of log records, too

        return readable_span(self, self._tracer.limits)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(name="{self.name}", context={self.get_span_context()})'


def is_valid_link(context: SpanContext | None, attributes: Mapping[str, Any] | None) -> bool:
    """Return whether a link points somewhere or at least says something (the rule of upstream)."""
    return bool(context and (context.is_valid or attributes or context.trace_state))


def link_record(context: SpanContext, attributes: Mapping[str, Any] | None) -> LinkRecord:
    """Return a link as the encoder reads it."""
    return LinkRecord(
        context.trace_id,
        context.span_id,
        int(context.trace_flags),
        context.trace_state or None,
        plain_copy(attributes),
        context.is_remote,
    )


def link_records(links: Sequence[Link]) -> list[LinkRecord]:
    """Return those of `links` that are valid, as the encoder reads them."""
    return [
        link_record(link.context, link.attributes)
        for link in links
        if link and is_valid_link(link.context, link.attributes)
    ]
