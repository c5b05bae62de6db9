"""The lean core under the SDK's names, for upstream's own tests: a plugin of the pytest that runs them.

`TracerProvider`, `LoggerProvider` and `MeterProvider` here take the place of those of ``opentelemetry.sdk``, and our
short way into and out of headers that of the W3C propagator. The tests call the lean core and nothing else; only what
they *read* of a span that still lives comes from the `ReadableSpan` that a processor would be given, because the SDK's
spans can be read like that.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from opentelemetry import context as context_api
from opentelemetry import propagate
from opentelemetry import trace as trace_api
from opentelemetry.propagators import textmap
from opentelemetry.sdk import _logs as logs_sdk
from opentelemetry.sdk import metrics as metrics_sdk
from opentelemetry.sdk import trace as trace_sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace.propagation import tracecontext

from otel_forge.instruments import carrier
from otel_forge.sdk.bound import BoundMetrics
from otel_forge.sdk.limits import UNLIMITED, RecordLimits
from otel_forge.sdk.logger import LeanLoggerProvider
from otel_forge.sdk.meter import LeanMeterProvider
from otel_forge.sdk.readable import readable_span
from otel_forge.sdk.reader import LeanMetricReader
from otel_forge.sdk.sampling import build_id_generator, build_sampler
from otel_forge.sdk.span import LeanSpan
from otel_forge.sdk.tracer import LeanTracer, LeanTracerProvider
from otel_forge.settings import Settings

_EXEMPLARS: Mapping[type, Any] = {
    metrics_sdk.AlwaysOnExemplarFilter: "always_on",
    metrics_sdk.AlwaysOffExemplarFilter: "always_off",
}
_W3C = tracecontext.TraceContextTextMapPropagator
_OWN = {"lean", "__class__", "__dict__"}
_READ = {name for name in dir(trace_sdk.ReadableSpan) if not name.startswith("_")} - {"get_span_context"}


class _Both(LeanSpan, trace_sdk.Span):  # type: ignore[misc]
    """What a `ReadWriteSpan` says it is."""


class ReadWriteSpan:
    """A lean span that can be read as the SDK's can: everything but reading is done by `lean`."""

    def __init__(self, lean: LeanSpan) -> None:
        self.lean = lean

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return _Both

    def __getattribute__(self, name: str) -> Any:
        if name in _OWN:
            return object.__getattribute__(self, name)
        return getattr(readable_span(self.lean, self.lean._tracer.limits) if name in _READ else self.lean, name)

    def __eq__(self, other: object) -> bool:
        return getattr(other, "lean", other) is self.lean

    def __hash__(self) -> int:
        return hash(self.lean)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *raised: Any) -> None:
        self.lean.__exit__(*raised)


class ReadWriteTracer(LeanTracer):
    """A lean tracer whose spans can be read."""

    def start_span(self, *args: Any, **kwargs: Any) -> Any:
        """Start a lean span and show it as the SDK's."""
        span = super().start_span(*args, **kwargs)
        return ReadWriteSpan(span) if type(span) is LeanSpan else span


class TracerProvider(LeanTracerProvider):
    """The lean tracer provider with the arguments and the defaults of the SDK's."""

    def __init__(
        self,
        sampler: Any = None,
        resource: Resource | None = None,
        shutdown_on_exit: bool = True,
        active_span_processor: Any = None,
        id_generator: Any = None,
        span_limits: Any = None,
        **_: Any,
    ) -> None:
        Report.touches += 1
        settings = Settings.from_env(os.environ)
        super().__init__(
            lambda span: None,
            resource or Resource.create({}),
            sampler=sampler or build_sampler(settings, print),
            id_generator=id_generator or build_id_generator(settings, print),
            limits=_limits(span_limits) if span_limits else RecordLimits.of_spans(settings.limits),
        )
        if active_span_processor is not None:
            self.add_span_processor(active_span_processor)

    def get_tracer(self, *args: Any, **kwargs: Any) -> LeanTracer:
        """Return the tracer, its spans made readable."""
        tracer = super().get_tracer(*args, **kwargs)
        tracer.__class__ = ReadWriteTracer
        return tracer


class LoggerProvider(LeanLoggerProvider):
    """The lean logger provider with the arguments of the SDK's."""

    def __init__(self, resource: Resource | None = None, shutdown_on_exit: bool = True, *args: Any, **_: Any) -> None:
        Report.touches += 1
        limits = RecordLimits.of_log_records(Settings.from_env(os.environ).limits)
        super().__init__(None, resource or Resource.create({}), limits=limits)
        for processor in args[:1]:
            self.add_log_record_processor(processor)


class MeterProvider(LeanMeterProvider):
    """The lean meter provider with the arguments of the SDK's; its reader collects what the lean core holds."""

    def __init__(
        self,
        metric_readers: Sequence[Any] = (),
        resource: Resource | None = None,
        exemplar_filter: Any = None,
        shutdown_on_exit: bool = True,
        views: Sequence[Any] = (),
    ) -> None:
        Report.touches += 1
        resource = resource or Resource.create({})
        by_default = Settings.from_env(os.environ).exemplar_filter
        storage = BoundMetrics(views=views, exemplars=_EXEMPLARS.get(type(exemplar_filter), by_default))
        for reader in metric_readers[:1]:
            storage._temporality = reader._instrument_class_temporality
            storage._aggregation = reader._instrument_class_aggregation
        super().__init__(storage, resource)
        own = LeanMetricReader(storage, lambda: resource)
        for reader in metric_readers:
            reader._set_collect_callback(lambda reader, timeout_millis: _or_nothing(own.gather(timeout_millis / 1000)))
        self._readers = metric_readers

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Shut down, with the readers that collect from here."""
        super().shutdown(timeout_millis)
        for reader in self._readers:
            reader.shutdown(timeout_millis=timeout_millis)


def _or_nothing(gathered: Any) -> Any:
    return gathered if gathered.resource_metrics else None


class _ShortWay:
    """Our own way into and out of headers, which itself asks upstream's for what is unusual."""

    def __init__(self) -> None:
        self._extract, self._inject = _W3C.extract, _W3C.inject
        self._is_asked_by_us = False

    def extract(self, upstream: Any, given: Any, context: Any = None, getter: Any = textmap.default_getter) -> Any:
        """Read the headers as the server instruments do, from a WSGI environ."""
        if self._is_asked_by_us:
            return self._extract(upstream, given, context, getter)
        found = {name: getter.get(given, name) for name in ("traceparent", "tracestate")}
        environ = {f"HTTP_{name.upper()}": ",".join(values) for name, values in found.items() if values}
        with self._asking():
            return context_api.Context({**(context or {}), **carrier.extract(environ)})

    def inject(self, upstream: Any, given: Any, context: Any = None, setter: Any = textmap.default_setter) -> None:
        """Write the headers as the client instruments do."""
        if self._is_asked_by_us:
            self._inject(upstream, given, context, setter)
            return
        headers: dict[str, str] = {}
        context = context_api.get_current() if context is None else context
        span = trace_api.get_current_span(context)
        with self._asking():
            carrier.inject(getattr(span, "lean", span), context, headers)
        for name in [name for name in upstream.fields if name in headers]:
            setter.set(given, name, headers[name])

    @contextmanager
    def _asking(self) -> Iterator[None]:
        Report.touches += 1
        self._is_asked_by_us = True
        try:
            yield
        finally:
            self._is_asked_by_us = False


class Report:
    """What became of each test, and whether it had anything to do with the lean core."""

    touches = 0

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outcomes: dict[str, tuple[str, bool]] = {}
        self._propagate = dict(propagate.__dict__)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Remember whether the lean core was touched while `item` ran, fixtures included."""
        propagate.__dict__.update(self._propagate)  # tests load it anew
        Report.touches = 0
        result = yield
        outcome, _ = self._outcomes[item.nodeid]
        self._outcomes[item.nodeid] = (outcome, bool(Report.touches))
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst of what is said of a test."""
        outcome, _ = self._outcomes.get(report.nodeid, ("passed", False))
        self._outcomes[report.nodeid] = (report.outcome if outcome == "passed" else outcome, False)

    def pytest_sessionfinish(self) -> None:
        """Write it all down."""
        self._path.write_text(json.dumps(self._outcomes))


def _reload(module: ModuleType, reload: Callable[[ModuleType], ModuleType] = importlib.reload) -> ModuleType:
    """Load `module` anew, but not the one in which we have taken places; ours reads the environment when asked."""
    return module if module is trace_sdk else reload(module)


def pytest_configure(config: pytest.Config) -> None:
    """Take the SDK's places, before any test is imported."""
    short_way = _ShortWay()
    replaced: Any = (
        (trace_sdk, "TracerProvider", TracerProvider),
        (trace_sdk, "Tracer", LeanTracer),
        (logs_sdk, "LoggerProvider", LoggerProvider),
        (importlib, "reload", _reload),
        (metrics_sdk, "MeterProvider", MeterProvider),
        (_W3C, "extract", lambda *given, **named: short_way.extract(*given, **named)),
        (_W3C, "inject", lambda *given, **named: short_way.inject(*given, **named)),
    )
    for owner, name, ours in replaced:
        setattr(owner, name, ours)
    config.pluginmanager.register(Report(Path(os.environ["LEAN_IN_PLACE_REPORT"])))


def _limits(given: Any) -> RecordLimits:
    values: Sequence[int | None] = (
        given.max_span_attributes,
        given.max_span_attribute_length,
        given.max_events,
        given.max_links,
        given.max_event_attributes,
        given.max_link_attributes,
    )
    return RecordLimits(*(UNLIMITED if value is None else value for value in values))
