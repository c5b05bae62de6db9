"""The tracer and its provider: they start lean spans.

`LeanTracer.start_span` finds the parent, decides on sampling and makes the span. What the spans of a
provider share (where ended spans go, limits, ids) hangs on the tracer, so that a span needs one reference.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Token
from time import time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind

from otel_forge.guard import guard
from otel_forge.sdk.current import SPAN_KEY, SUPPRESSED, attach, context_with, current_context, detach
from otel_forge.sdk.decision import ALWAYS, LOW_BITS, Rule, standard_rule
from otel_forge.sdk.ids import RANDOM_TRACE_ID, PrivateIds
from otel_forge.sdk.limits import RecordLimits
from otel_forge.sdk.processing import ProcessingProvider
from otel_forge.sdk.span import LeanSpan, link_records, make_span_context
from otel_forge.sdk.started import StartedSpans
from otel_forge.sdk.values import PLAIN, plain_copy

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

_logger = logging.getLogger(__name__)

_SAMPLED = 0x01
_INTERNAL, _CLIENT = SpanKind.INTERNAL, SpanKind.CLIENT
_all_plain = PLAIN.issuperset


class LeanTracer(trace.Tracer):
    """Starts the spans of one instrumentation scope."""

    def __init__(self, provider: LeanTracerProvider, scope: InstrumentationScope) -> None:
        self.instrumentation_scope = scope
        self._provider = provider
        self._ids = provider.id_generator
        self._trace_id: Callable[[], int] = self._ids.generate_trace_id
        self._span_id: Callable[[], int] = self._ids.generate_span_id
        if isinstance(self._ids, PrivateIds):
            self._trace_id = functools.partial(self._ids.bits, 128)
            self._span_id = functools.partial(self._ids.bits, 64)
        self.take_over()

    def take_over(self) -> None:
        """Take what may change in the life of a provider: processors, resource, sampler."""
        provider = self._provider
        self.limits = provider.limits
        self.attribute_limit = provider.limits.attributes
        self.resource = provider.resource
        self.sampler = provider.sampler
        rule = self._rule = provider.rule
        self._parent_decides = rule is None or rule.parent_decides
        always = isinstance(self._ids, PrivateIds) and (rule is None or rule.bound == ALWAYS)
        self._root_flags = _SAMPLED | RANDOM_TRACE_ID if always else None
        self.sink: Callable[[LeanSpan], object] = provider.sink_of(self.instrumentation_scope)
        self._started = provider.started
        counts = provider.started_spans
        self._roots, self._locals, self._remotes = counts.of_roots, counts.of_locals, counts.of_remotes
        self.is_short = rule is not None and self._started is None
        """Whether `begin` does all that `start_span` would: a standard sampler and no processors."""

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = _INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        """Start a span that is a child of the current one, or of the one in `context`; see the API."""
        if self._rule is None:
            span = self._ask_sampler(name, context, kind, attributes, links)
        else:
            span = self.begin(name, context, kind, _owned(attributes) if attributes else {}, None, start_time)
        if type(span) is not LeanSpan:
            return cast(Span, span)
        if start_time is not None:
            span.start_time = start_time
        if links:
            self._link(span, links)
        if not (record_exception and set_status_on_exception):
            span._on_exception = (record_exception, set_status_on_exception)
        if len(span.own) > self.attribute_limit:
            span.keep_youngest(self.attribute_limit)
        if self._started is not None:
            self._started(span, context)
        return cast(Span, span)

    def begin(
        self,
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: dict[Any, Any],
        fixed: Any = None,
        start_time: int | None = None,
    ) -> Any:
        """Start a span the short way, for instruments that know what they do.

        `attributes` becomes the span's own dict: it must be fresh, hold plain values only and respect the limit;
        `fixed` are attributes shared by many spans. Processors are not told and only standard samplers are
        known here: use it when `is_short` says so.
        """
        parent: Any = (current_context() if context is None else context).get(SPAN_KEY)
        remote = False
        if parent is not None and type(parent) is not LeanSpan:
            parent = _span_context_of(parent)
        if parent is None:
            trace_id = self._trace_id() or 1
            parent_span_id, state = 0, None
            flags = self._root_flags
            if flags is None:
                flags = self._decide_root(trace_id)
            self._roots[flags & _SAMPLED]()
        elif type(parent) is LeanSpan:
            trace_id = parent.trace_id
            parent_span_id = parent.span_id
            state = parent.trace_state
            flags = parent.trace_flags
            if not self._parent_decides:
                flags = self._decide(trace_id, flags)
            self._locals[flags & _SAMPLED]()
        elif parent is SUPPRESSED:
            return SUPPRESSED
        else:
            trace_id, parent_span_id, remote, flags, state, _ = parent
            state = state or None
            flags = flags & 3 if self._parent_decides else self._decide(trace_id, flags & 3)
            (self._remotes if remote else self._locals)[flags & _SAMPLED]()
        span_id = self._span_id() or 1
        if not flags & _SAMPLED:
            return NonRecordingSpan(make_span_context(trace_id, span_id, False, flags, state))
        if start_time is None:
            start_time = time_ns()
        span = LeanSpan(
            self,
            name,
            kind,
            trace_id,
            span_id,
            parent,
            parent_span_id,
            flags,
            state,
            start_time,
            attributes,
            fixed,
            self.instrumentation_scope,
        )
        if remote:
            span.parent_is_remote = True
        return span

    def _decide_root(self, trace_id: int) -> int:
        """Return the flags of a root span."""
        return self._decide(trace_id, RANDOM_TRACE_ID if self._ids.is_trace_id_random() else 0)

    def _decide(self, trace_id: int, flags: int) -> int:
        """Return `flags` with the decision that the trace id makes."""
        sampled = trace_id & LOW_BITS < (self._rule or _ALWAYS_ON).bound
        return flags | _SAMPLED if sampled else flags & ~_SAMPLED

    def start_as_current_span(  # type: ignore[override]
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = _INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> CurrentSpan:
        """Return a context manager, or decorator, within which a new span is the current one."""
        return CurrentSpan(
            self,
            (name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception),
            end_on_exit,
        )

    def _ask_sampler(
        self,
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: Mapping[str, Any] | None,
        links: Sequence[Link] | None,
    ) -> Any:
        """Start a span as the sampler wants it; one that raises counts as not there."""
        parent = _parent_context((current_context() if context is None else context).get(SPAN_KEY))
        if parent is SUPPRESSED:
            return SUPPRESSED
        trace_id = self._ids.generate_trace_id() if parent is None else parent.trace_id
        with guard("asking the sampler"):
            result = self.sampler.should_sample(context, trace_id, name, kind, attributes, links or ())
            return self._as_sampled(name, kind, trace_id, parent, result)
        return self.begin(name, context, kind, plain_copy(attributes) or {})

    def _as_sampled(self, name: str, kind: SpanKind, trace_id: int, parent: SpanContext | None, result: Any) -> Any:
        random = self._ids.is_trace_id_random() if parent is None else parent.trace_flags & RANDOM_TRACE_ID
        flags = (RANDOM_TRACE_ID if random else 0) | (_SAMPLED if result.decision.is_sampled() else 0)
        state = result.trace_state or None
        span_id = self._ids.generate_span_id()
        self._provider.started_spans.add(parent, result.decision)
        if not result.decision.is_recording():
            return NonRecordingSpan(make_span_context(trace_id, span_id, False, flags, state))
        attributes = plain_copy(result.attributes) or {}
        parent_id = 0 if parent is None else parent.span_id
        scope = self.instrumentation_scope
        now = time_ns()
        span = LeanSpan(
            self, name, kind, trace_id, span_id, parent, parent_id, flags, state, now, attributes, None, scope
        )
        span.parent_is_remote = parent is not None and parent.is_remote
        return span

    def _link(self, span: LeanSpan, links: Sequence[Link]) -> None:
        records = link_records(links)
        surplus = len(records) - self.limits.links
        if surplus > 0:
            del records[:surplus]
            span.dropped_links = surplus
        if records:
            span.links = records


class CurrentSpan:
    """What ``start_as_current_span`` returns: a context manager that also decorates functions, coroutines included."""

    __slots__ = ("_arguments", "_end_on_exit", "_span", "_token", "_tracer")

    def __init__(self, tracer: LeanTracer, arguments: tuple[Any, ...], end_on_exit: bool) -> None:
        self._tracer = tracer
        self._arguments = arguments
        self._end_on_exit = end_on_exit

    def __enter__(self) -> Span:
        span = self._span = self._tracer.start_span(*self._arguments)
        self._token: Token[Context] = attach(context_with(span, current_context()))
        return span

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        detach(self._token)
        span = self._span
        try:
            # GeneratorExit, KeyboardInterrupt and the like are no errors of the block.
            if isinstance(exception, Exception) and isinstance(span, LeanSpan):
                record, set_status = self._arguments[6:8]
                span.fail(exception, record=record, set_status=set_status, escaped=False)
        finally:
            if self._end_on_exit:
                span.end()

    def __call__(self, function: Any) -> Any:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaiting(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return await function(*args, **kwargs)

            return awaiting

        @functools.wraps(function)
        def calling(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return calling

    def _again(self) -> CurrentSpan:
        return CurrentSpan(self._tracer, self._arguments, self._end_on_exit)


class LeanTracerProvider(ProcessingProvider["SpanProcessor"], trace.TracerProvider):
    """Makes tracers whose ended, sampled spans go to `sink`; processors of others are served as well."""

    def __init__(
        self,
        sink: Callable[[LeanSpan], object],
        resource: Resource,
        *,
        sampler: Sampler = DEFAULT_ON,
        id_generator: IdGenerator | None = None,
        limits: RecordLimits | None = None,
        flush: Callable[[float], bool] = lambda seconds: True,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(resource, limits, flush, close)
        self.sampler = sampler
        self.rule = standard_rule(sampler)
        self.id_generator = id_generator or PrivateIds()
        self.started_spans = StartedSpans()
        self._queue = sink
        self._tracers: dict[Any, LeanTracer] = {}
        self._tell_client: Callable[[LeanSpan], None] | None = None
        self._silent_scopes = ""

    @property
    def sink(self) -> Callable[[LeanSpan], object]:
        """Where a span goes when it ends: straight to the queue if nobody else wants to know."""
        return self._queue if self.rule is not None and not self._processors else self._finish

    def sink_of(self, scope: InstrumentationScope) -> Callable[[LeanSpan], object]:
        """Return where the spans of `scope` go: by way of whoever wants to be told of client spans."""
        tell, sink = self._tell_client, self.sink
        if tell is None or scope.name.startswith(self._silent_scopes):
            return sink

        def told(span: LeanSpan) -> None:
            if span.kind is _CLIENT:
                tell(span)
            sink(span)

        return told

    def tell_of_clients(self, listener: Callable[[LeanSpan], None], *, besides: str) -> None:
        """Call `listener` with each client span that ends, but for scopes whose names begin with `besides`.

        It is called by whoever ends the span, must be quick and must not raise.
        """
        self._tell_client, self._silent_scopes = listener, besides
        self._refresh()

    @property
    def started(self) -> Callable[[LeanSpan, Context | None], None] | None:
        """What is told of a span that starts."""
        return self._tell_start if self._processors else None

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> LeanTracer:
        """Return the tracer of a scope, always the same for the same scope."""
        if not instrumenting_module_name:
            _logger.error("get_tracer called with missing module name.")
        scope = InstrumentationScope(
            instrumenting_module_name or "", instrumenting_library_version or "", schema_url, attributes
        )
        with self._lock:
            tracer = self._tracers.get(scope)
            if tracer is None:
                tracer = self._tracers[scope] = LeanTracer(self, scope)
            return tracer

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Tell `span_processor` of every span from now on; it receives a true `ReadableSpan` when one ends."""
        self._add(span_processor)

    def replace_resource(self, resource: Resource) -> None:
        """Speak for `resource` from now on, as a forked child does."""
        self.started_spans = StartedSpans()
        super().replace_resource(resource)

    def _speakers(self) -> Iterable[LeanTracer]:
        return self._tracers.values()

    def _tell_start(self, span: LeanSpan, context: Context | None) -> None:
        for processor in self._processors:
            with guard(f"on_start of {type(processor).__name__}"):
                processor.on_start(cast(Any, span), parent_context=context)

    def _finish(self, span: LeanSpan) -> None:
        if self._processors:
            self._tell_end(span)
        if span.trace_flags & _SAMPLED:
            self._queue(span)
        else:
            self.started_spans.count_ended_record_only()

    def _tell_end(self, span: LeanSpan) -> None:
        for processor in self._processors:
            with guard(f"_on_ending of {type(processor).__name__}"):
                processor._on_ending(cast(Any, span))
        from otel_forge.sdk.readable import readable_span  # needs upstream's SDK of log records, too

        readable = readable_span(span, self.limits)
        for processor in self._processors:
            with guard(f"on_end of {type(processor).__name__}"):
                processor.on_end(readable)


_ALWAYS_ON = Rule(parent_decides=True, bound=ALWAYS)


def _owned(attributes: Mapping[str, Any]) -> dict[Any, Any]:
    """Return a copy of `attributes` with plain values."""
    try:
        copied = dict(attributes)
        if _all_plain(map(type, copied.values())):
            return copied
    except Exception:  # noqa: BLE001 - not a mapping, or one that raises
        return {}
    return plain_copy(copied) or {}


def _span_context_of(parent: Any) -> Any:
    """Return the valid context of a parent that is not ours, `SUPPRESSED`, or None."""
    if parent is None or not isinstance(parent, Span):
        return None
    if parent is SUPPRESSED:
        return parent
    context = parent.get_span_context()
    return context if isinstance(context, SpanContext) and context.is_valid else None


def _parent_context(parent: Any) -> Any:
    return parent.get_span_context() if type(parent) is LeanSpan else _span_context_of(parent)
