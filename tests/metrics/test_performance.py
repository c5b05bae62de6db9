"""`track_performance`: what it records of functions and blocks, and what it leaves as it was."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import format_trace_id

from otel_forge import guard
from otel_forge.metrics import performance
from otel_forge.metrics.performance import DURATION, ERRORS, Recorder, track_performance
from otel_forge.sdk.tracer import LeanTracerProvider
from otel_forge.settings import Settings
from tests.otlp_receiver import OtlpReceiver
from tests.programs import Programs


class Kept:
    """What was recorded."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])
        tracers = LeanTracerProvider(self.spans.append, Resource({}))
        self.recorder = Recorder(tracers.get_tracer("t"), self.provider.get_meter("m"))

    def points(self, name: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        metrics = [m for r in (data.resource_metrics if data else ()) for s in r.scope_metrics for m in s.metrics]
        return [point for metric in metrics if metric.name == name for point in metric.data.data_points]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    """Takes the place of the global providers."""
    found = Kept()
    monkeypatch.setattr(performance, "_recorder", found.recorder)
    yield found
    found.provider.shutdown()


@track_performance
def plain(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


class Store:
    """Methods of all kinds."""

    @track_performance
    def bound(self) -> str:
        return "bound"

    @track_performance
    @staticmethod
    def static() -> str:
        return "static"

    @classmethod
    @track_performance
    def of_class(cls) -> str:
        return cls.__name__

    @track_performance("store.load", attributes={"assetType": "model"})
    async def load(self) -> str:
        await asyncio.sleep(0)
        assert trace.get_current_span().is_recording()
        return "loaded"


def test_a_call_is_one_span_and_one_measurement(kept: Kept) -> None:
    """Named by the function, in seconds; nothing of the function's own face is lost."""
    assert plain(1, b=3) == 4
    [span], [point] = kept.spans, kept.points(DURATION)
    name = f"{__name__}.plain"
    assert (span.name, span.attributes, span.status_code) == (name, {"code.function.name": name}, 0)
    assert (dict(point.attributes), point.count) == ({"code.function.name": name}, 1)
    assert 0 <= point.sum < 1
    assert (plain.__name__, plain.__doc__) == ("plain", "Add two numbers.")
    assert str(inspect.signature(plain)).startswith("(a: ")
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_methods_of_all_kinds_and_coroutines_are_measured(kept: Kept) -> None:
    """Bound, static, of the class, asynchronous; a coroutine function stays one."""
    assert (Store().bound(), Store.static(), Store.of_class()) == ("bound", "static", "Store")
    assert inspect.iscoroutinefunction(Store.load)
    assert asyncio.run(Store().load()) == "loaded"
    assert [span.name.rpartition(".")[2] for span in kept.spans] == ["bound", "static", "of_class", "load"]
    assert kept.spans[-1].attributes == {"assetType": "model", "code.function.name": "store.load"}


def test_blocks_are_measured_and_nest(kept: Kept) -> None:
    """Each block is a span below the one around it; asynchronous ones, too."""

    async def both() -> None:
        async with track_performance("outer"):
            with track_performance("inner") as span:
                span.set_attribute("asset", 7)

    asyncio.run(both())
    inner, outer = kept.spans
    assert (inner.name, outer.name) == ("inner", "outer")
    assert (inner.parent_span_id, inner.attributes["asset"]) == (outer.span_id, 7)


def test_tasks_and_threads_do_not_mix_their_spans(kept: Kept) -> None:
    """A tracked coroutine that waits does not become the parent of what others do meanwhile."""

    @track_performance("task")
    async def task() -> None:
        await asyncio.sleep(0)

    async def many() -> None:
        await asyncio.gather(*(task() for _ in range(10)))

    asyncio.run(many())
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(plain, range(20))) == list(range(2, 22))
    assert len(kept.spans) == 30
    assert {span.parent for span in kept.spans} == {None}


def test_an_exception_is_counted_recorded_once_and_passed_on(kept: Kept) -> None:
    """It leaves as the very same object, with error.type on span, duration and counter."""

    @track_performance("failing")
    def failing() -> None:
        raise error

    error = KeyError("missing")
    with pytest.raises(KeyError) as caught:
        failing()
    assert caught.value is error
    [span], [duration], [errors] = kept.spans, kept.points(DURATION), kept.points(ERRORS)
    assert (span.status_code, span.status_description) == (2, "KeyError: 'missing'")
    assert [event.name for event in span.events] == ["exception"]
    expected = {"code.function.name": "failing", "error.type": "KeyError"}
    assert span.attributes == expected
    assert (dict(duration.attributes), dict(errors.attributes), errors.value) == (expected, expected, 1)


def test_a_cancelled_task_is_no_error(kept: Kept) -> None:
    """Cancellation, and what ends a program, pass without being counted."""

    @track_performance("waiting")
    async def waiting() -> None:
        await asyncio.Event().wait()

    async def cancel() -> None:
        task = asyncio.create_task(waiting())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert ([span.status_code for span in kept.spans], kept.points(ERRORS)) == ([0], [])


def test_a_slow_call_is_a_warning_with_the_trace_id(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    """Above the threshold of the call there is one line, of the module's own logger; below there is none."""
    with track_performance("quick", threshold_ms=60_000):
        pass
    with track_performance("slow", threshold_ms=0):
        pass
    [record] = caplog.records
    trace_id = format_trace_id(kept.spans[-1].trace_id)
    assert (record.name, record.levelno) == (__name__, logging.WARNING)
    assert record.getMessage() == f"slow took 0 ms, more than 0 (trace {trace_id})"
    assert vars(record)["otel_forge_fields"] == {"name": "slow", "duration_ms": ANY, "threshold_ms": 0}


def test_without_a_trace_the_warning_names_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No zeros in the place of an id."""
    provider = MeterProvider([])
    monkeypatch.setattr(performance, "_recorder", Recorder(trace.NoOpTracer(), provider.get_meter("m")))
    with track_performance("slow", threshold_ms=0):
        pass
    provider.shutdown()
    assert [record.getMessage() for record in caplog.records] == ["slow took 0 ms, more than 0"]


def test_the_threshold_is_a_setting(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    """OTEL_FORGE_SLOW_CALL holds where a call has none of its own."""
    try:
        performance.configure(Settings.from_env({"OTEL_FORGE_SLOW_CALL": "0.000001"}))
        plain(1)
    finally:
        performance.configure(Settings.from_env({}))
    plain(1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_generator_functions_and_classes_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be measured is returned as it is, and a line says so."""

    def numbers() -> Iterator[int]:
        yield 1

    class Thing:
        pass

    assert track_performance(numbers) is numbers
    assert track_performance(Thing) is Thing
    said = capsys.readouterr().err
    assert said.count("track_performance leaves") == 2 and "numbers" in said


def test_telemetry_that_fails_costs_the_call_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracer or an instrument that raises is said once and swallowed."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("telemetry is broken")

    guard.set_strict(False)
    broken: Any = SimpleNamespace(tracer=SimpleNamespace(start_span=refuse))
    monkeypatch.setattr(performance, "_recorder", broken)
    assert plain(1) == 3
    with track_performance("block") as span:
        assert span is trace.INVALID_SPAN
    kept = Kept()
    half: Any = SimpleNamespace(tracer=kept.recorder.tracer, duration=SimpleNamespace(record=refuse))
    monkeypatch.setattr(performance, "_recorder", half)
    assert plain(1) == 3
    assert len(kept.spans) == 1
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_call_leaves_a_breadcrumb_where_sentry_is(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Category performance, with name and duration; the level is warning above the threshold."""
    crumbs: list[dict[str, Any]] = []
    fake = SimpleNamespace(is_initialized=lambda: True, add_breadcrumb=lambda **crumb: crumbs.append(crumb))
    monkeypatch.setitem(sys.modules, "sentry_sdk", fake)
    plain(1)
    with track_performance("slow", threshold_ms=0):
        pass
    assert [(crumb["category"], crumb["level"]) for crumb in crumbs] == [
        ("performance", "info"),
        ("performance", "warning"),
    ]
    assert crumbs[0]["data"].keys() == {"name", "duration_ms"}


def test_the_setting_reaches_a_program_that_imports_it_later(programs: Programs, receiver: OtlpReceiver) -> None:
    """Telemetry starts before the application and imports nothing of this; the threshold holds all the same."""
    script = programs.write(
        "script.py",
        """
        import sys
        assert "otel_forge.metrics.performance" not in sys.modules and "sentry_sdk" not in sys.modules
        from otel_forge import track_performance
        with track_performance("quick"):
            pass
        """,
    )
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_FORGE_SLOW_CALL": "0.000001"}
    program = programs.instrumented(sys.executable, str(script), **environ, flags=())
    assert program.wait() == 0, program.err
    [span], [record] = receiver.received.spans(), receiver.received.logs()
    assert (span.name, record.trace_id, record.span_id) == ("quick", span.trace_id, span.span_id)
    assert record.body.string_value.startswith("quick took 0 ms")
