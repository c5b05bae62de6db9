"""`track_performance`: how long a function or a block takes, as a span, a histogram and, when it is slow, a warning.

A call that is quick costs a span and one measurement; text is only made for one that is slow. The names are those of
the semantic conventions where they have one (``code.function.name``, ``error.type``, seconds); the conventions have
no duration of functions, so those of the metrics are ours.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable, Mapping
from time import perf_counter
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast, overload

from opentelemetry import metrics, trace
from opentelemetry.metrics import Meter
from opentelemetry.trace import Span, SpanContext, StatusCode, Tracer, format_trace_id

from otel_forge.errortracking import sentry
from otel_forge.guard import guard
from otel_forge.notices import notice
from otel_forge.sdk import captured, exceptions
from otel_forge.sdk.current import attach, context_with, current_context, detach
from otel_forge.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

SCOPE = "otel_forge.metrics.performance"
DURATION, ERRORS = "otel_forge.function.duration", "otel_forge.function.errors"
BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class Recorder:
    """Where the measurements go: by default to the global providers, whenever those are set."""

    def __init__(self, tracer: Tracer, meter: Meter) -> None:
        self.tracer = tracer
        self.duration = meter.create_histogram(
            DURATION, "s", "Duration of tracked functions and blocks.", explicit_bucket_boundaries_advisory=BOUNDARIES
        )
        self.errors = meter.create_counter(ERRORS, "{error}", "Exceptions that left tracked functions and blocks.")


_recorder = Recorder(trace.get_tracer(SCOPE), metrics.get_meter(SCOPE))
_slow_ms = 1000.0


def configure(settings: Settings) -> None:
    """Take over from what duration on a call is slow, unless it says so itself."""
    global _slow_ms
    _slow_ms = settings.slow_call


@overload
def track_performance(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def track_performance(
    name: str | None = None,
    /,
    *,
    threshold_ms: float | None = None,
    attributes: Mapping[str, str | bool | int | float] | None = None,
) -> Tracked: ...


def track_performance(
    subject: Callable[..., Any] | str | None = None,
    /,
    *,
    threshold_ms: float | None = None,
    attributes: Mapping[str, str | bool | int | float] | None = None,
) -> Any:
    """Measure a function, ``@track_performance``, or a block, ``with track_performance("name"):`` (or ``async with``).

    The name is that of the function unless given. Above `threshold_ms` milliseconds (by default those of
    ``OTEL_FORGE_SLOW_CALL``) a warning is logged, with the trace id. `attributes` go to span and metrics: few values,
    as each set of them is a series. Results and exceptions pass through unchanged. Generator functions are left
    alone: the call only makes the generator; measure a block within it.
    """
    name = subject if isinstance(subject, str) else None
    tracked = Tracked(name, threshold_ms, attributes, sys._getframe(1).f_globals.get("__name__", "__main__"))
    return tracked(cast(Any, subject)) if callable(subject) or _is_method_object(subject) else tracked


class Tracked:
    """What to measure under which name; decorates functions, and is the context manager of one block."""

    def __init__(
        self,
        name: str | None,
        threshold_ms: float | None,
        attributes: Mapping[str, str | bool | int | float] | None,
        module: str,
    ) -> None:
        self._given_name = name
        self._threshold_ms = threshold_ms
        self._given = dict(attributes or {})
        self._module = module
        self._blocks: list[_Call | None] = []
        self._name_it(name or f"{module}.<block>")

    def _name_it(self, name: str) -> None:
        self.name = name
        self.attributes = {**self._given, "code.function.name": name}

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return `function`, measured; what cannot be measured is returned as it is, with a line that says so."""
        if _is_method_object(function):
            kind: Any = type(function)
            return cast(Callable[P, R], kind(self(cast(Any, function).__func__)))
        if inspect.isclass(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            notice(f"track_performance leaves {function.__qualname__} alone: it is a class or a generator function.")
            return cast(Callable[P, R], function)
        what = Tracked(self._given_name, self._threshold_ms, self._given, function.__module__)
        if self._given_name is None:
            what._name_it(f"{function.__module__}.{function.__qualname__}")
        timed = _timed_async(function, what) if inspect.iscoroutinefunction(function) else _timed(function, what)
        return cast(Callable[P, R], functools.update_wrapper(timed, function))

    def __enter__(self) -> Span:
        call = _begin(self)
        self._blocks.append(call)
        return trace.INVALID_SPAN if call is None else call.span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        call = self._blocks.pop() if self._blocks else None
        if call is not None:
            call.end(error)

    async def __aenter__(self) -> Span:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def warn(self, milliseconds: float, context: SpanContext) -> None:
        """Say in the log that a call was slow, and in which trace: not every format shows that by itself."""
        limit = self.threshold_ms
        fields = {"name": self.name, "duration_ms": round(milliseconds, 1), "threshold_ms": limit}
        where = f" (trace {format_trace_id(context.trace_id)})" if context.is_valid else ""
        logging.getLogger(self._module).warning(
            "%s took %.0f ms, more than %.0f%s",
            self.name,
            milliseconds,
            limit,
            where,
            extra={"otel_forge_fields": fields},
        )

    @property
    def threshold_ms(self) -> float:
        """From what duration on a call is slow, in milliseconds."""
        return _slow_ms if self._threshold_ms is None else self._threshold_ms


def _timed(function: Callable[..., Any], what: Tracked) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        call = _begin(what)
        if call is None:
            return function(*args, **kwargs)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            call.end(error)
            raise
        call.end(None)
        return result

    return timed


def _timed_async(function: Callable[..., Any], what: Tracked) -> Callable[..., Any]:
    async def timed(*args: Any, **kwargs: Any) -> Any:
        call = _begin(what)
        if call is None:
            return await function(*args, **kwargs)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            call.end(error)
            raise
        call.end(None)
        return result

    return timed


def _begin(what: Tracked) -> _Call | None:
    """Start the measurement of one call; None where that fails, which costs the application nothing."""
    try:
        return _Call(what)
    except Exception:
        with guard("starting a measurement"):
            raise
    return None


class _Call:
    """One call on its way."""

    __slots__ = ("_started", "_token", "_what", "span")

    def __init__(self, what: Tracked) -> None:
        context = current_context()
        self._what = what
        self.span = _recorder.tracer.start_span(what.name, context, attributes=what.attributes)
        self._token = attach(context_with(self.span, context))
        self._started = perf_counter()

    def end(self, error: BaseException | None) -> None:
        """Record how long it took and how it ended. Never raises."""
        seconds = perf_counter() - self._started
        try:
            self._record(seconds, error if isinstance(error, Exception) else None)
        except Exception:
            with guard("ending a measurement"):
                raise
        finally:
            detach(self._token)
            self.span.end()

    def _record(self, seconds: float, error: Exception | None) -> None:
        what, span = self._what, self.span
        attributes = what.attributes
        if error is not None:
            attributes = {**attributes, "error.type": exceptions.type_name(error)}
            _recorder.errors.add(1, attributes)
            _mark_failed(span, error)
        _recorder.duration.record(seconds, attributes)
        milliseconds = seconds * 1000
        is_slow = milliseconds > what.threshold_ms
        if is_slow:
            what.warn(milliseconds, span.get_span_context())
        if "sentry_sdk" in sys.modules:
            data = {"name": what.name, "duration_ms": round(milliseconds, 1)}
            message = f"{what.name} took {milliseconds:.0f} ms"
            sentry.breadcrumb("performance", message, "warning" if is_slow else "info", data)


def _mark_failed(span: Span, error: Exception) -> None:
    span.set_attribute("error.type", exceptions.type_name(error))
    if not captured.is_recorded(error, span.get_span_context().span_id):
        span.record_exception(error)
    span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {exceptions.message(error)}")


def _is_method_object(subject: object) -> bool:
    return isinstance(subject, (staticmethod, classmethod))
