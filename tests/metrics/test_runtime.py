"""Runtime metrics: the conventions' names, the system's numbers, each process its own."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from opentelemetry.semconv._incubating.attributes import (
    cpu_attributes,
    cpython_attributes,
    process_attributes,
    system_attributes,
)
from opentelemetry.semconv._incubating.metrics import cpython_metrics, process_metrics

from otel_forge.metrics.process import LinuxProcess, PortableProcess, this_process, usage
from otel_forge.metrics.runtime import SCOPE, SERIES, Series, watch_runtime
from tests.metrics.conftest import Recorded, lean, upstream
from tests.otlp_receiver import OtlpReceiver, attributes, points
from tests.programs import Programs

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(params=[lean, upstream])
def watched(request: pytest.FixtureRequest) -> Recorded:
    """A provider that collects the runtime, of either pipeline."""
    made: Callable[[], Recorded] = request.param
    recorded = made()
    watch_runtime(recorded.provider)
    return recorded


class Conventions:
    """A meter on which the conventions' own functions tell kind, unit and description of their metrics."""

    def __init__(self) -> None:
        self.defined: dict[str, tuple[str, str, str]] = {}

    def create_counter(self, name: str, description: str, unit: str) -> None:
        self.defined[name] = ("counter", unit, description)

    def create_up_down_counter(self, name: str, description: str, unit: str) -> None:
        self.defined[name] = ("up_down_counter", unit, description)

    def create_observable_gauge(self, name: str, callbacks: Any, description: str, unit: str) -> None:
        self.defined[name] = ("gauge", unit, description)


def test_names_kinds_and_units_are_the_conventions() -> None:
    """Those of the installed package, word by word."""
    meter: Any = Conventions()
    for module in (process_metrics, cpython_metrics):
        for name, function in vars(module).items():
            if name.startswith("create_"):
                function(meter, *([None] if name.endswith(("utilization", "uptime")) else []))
    ours = {series.name: (series.kind, series.unit, series.description) for series in SERIES}
    assert len(ours) == 11
    assert ours == {name: meter.defined[name] for name in ours}


def test_the_attributes_are_the_conventions() -> None:
    """And their values."""
    seen = {(key, value) for series in SERIES for _, given in series.read() for key, value in given.items()}
    assert seen == {
        (cpu_attributes.CPU_MODE, "user"),
        (cpu_attributes.CPU_MODE, "system"),
        (process_attributes.PROCESS_CONTEXT_SWITCH_TYPE, "voluntary"),
        (process_attributes.PROCESS_CONTEXT_SWITCH_TYPE, "involuntary"),
        (system_attributes.SYSTEM_PAGING_FAULT_TYPE, "minor"),
        (system_attributes.SYSTEM_PAGING_FAULT_TYPE, "major"),
        *((cpython_attributes.CPYTHON_GC_GENERATION, number) for number in range(3)),
    }


def test_everything_is_collected_with_either_provider(watched: Recorded) -> None:
    """Each series has a number that can be."""
    found = watched.metrics()
    assert set(found) == {series.name for series in SERIES}
    for name, metric in found.items():
        assert all(point.value >= 0 for point in metric.data.data_points), name
    assert found["process.uptime"].data.data_points[0].value > 0


@on_linux
def test_the_numbers_are_those_of_psutil() -> None:
    """Within what changes between two readings."""
    gc.collect()  # sockets that an earlier test has left would be closed in between
    ours, theirs, process = LinuxProcess(), PortableProcess(), psutil.Process()
    assert ours.memory().resident == pytest.approx(theirs.memory().resident, rel=0.05)
    assert ours.memory().virtual == pytest.approx(theirs.memory().virtual, rel=0.05)
    assert ours.threads() == theirs.threads() == process.num_threads()
    assert ours.file_descriptors() == theirs.file_descriptors() - 1  # psutil counts the one that it counts with
    assert ours.uptime() == pytest.approx(theirs.uptime(), abs=2)
    times, switches = process.cpu_times(), process.num_ctx_switches()
    used = usage()
    assert used.user == pytest.approx(times.user, abs=0.5)
    assert used.system == pytest.approx(times.system, abs=0.5)
    assert used.voluntary_switches >= switches.voluntary > 0  # psutil's are those of the first thread alone
    assert used.involuntary_switches >= switches.involuntary
    assert used.minor_faults + used.major_faults > 0


@on_linux
def test_the_numbers_follow_what_the_process_does() -> None:
    """Threads and files that are there count, and those that are gone do not."""
    process = this_process()
    assert isinstance(process, LinuxProcess)
    threads, files = process.threads(), process.file_descriptors()
    go = threading.Event()
    waiting = [threading.Thread(target=go.wait) for _ in range(3)]
    for thread in waiting:
        thread.start()
    reading, writing = os.pipe()
    assert (process.threads(), process.file_descriptors()) == (threads + 3, files + 2)
    go.set()
    for thread in waiting:
        thread.join()
    os.close(reading)
    os.close(writing)
    assert process.file_descriptors() == files


def test_garbage_collections_are_counted(watched: Recorded) -> None:
    """By generation."""

    def of_generation_2() -> int:
        [count] = [value for given, value in watched.values("cpython.gc.collections") if set(given.values()) == {2}]
        return int(count)

    before = of_generation_2()
    gc.collect()
    gc.collect()
    assert of_generation_2() - before == 2


def test_what_the_system_does_not_tell_is_left_out() -> None:
    """Without a word: there is nothing to do about it."""

    def refuse() -> Any:
        raise OSError("not here")

    recorded = lean()
    Series("counter", "refused", "s", "Not here.", refuse).register(recorded.meter)
    SERIES[1].register(recorded.meter)
    assert set(recorded.metrics()) == {SERIES[1].name}


APP = """
    import gc, os
    from opentelemetry import metrics

    for _ in range(50):
        gc.collect()
    child = os.fork()
    if child == 0:
        gc.collect()
        print("child", os.getpid())
    metrics.get_meter_provider().force_flush(10_000)
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("pipeline", ["lean", "upstream"])
def test_a_forked_child_tells_of_itself(programs: Programs, receiver: OtlpReceiver, pipeline: str) -> None:
    """On by default; its collections, CPU time and uptime begin with it."""
    script = programs.write("app.py", APP)
    app = programs.instrumented(
        sys.executable, str(script),
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_FORGE_PIPELINE=pipeline, OTEL_METRIC_EXPORT_INTERVAL="3600000",
    )  # fmt: skip
    assert app.wait() == 0, app.err
    of_child = next(found for found in readings(receiver) if found["cpython.gc.collections", 2] < 50)
    of_parent = [found for found in readings(receiver) if found["cpython.gc.collections", 2] >= 50]
    assert 1 <= of_child["cpython.gc.collections", 2] < 5
    assert of_parent
    assert of_child["process.cpu.time", "user"] < of_parent[0]["process.cpu.time", "user"]
    assert 0 <= of_child["process.uptime", None] < of_parent[0]["process.uptime", None]


def readings(receiver: OtlpReceiver) -> list[dict[tuple[str, Any], float]]:
    """Return the runtime's metrics of each request that arrived: values by name and attribute."""
    found = []
    for request in receiver.received.requests["metrics"]:
        values = {
            (metric.name, next(iter(attributes(point.attributes).values()), None)): point.as_double or point.as_int
            for of_scope in request.resource_metrics[0].scope_metrics
            if of_scope.scope.name == SCOPE
            for metric in of_scope.metrics
            for point in points(metric)
        }
        found.append(values)
    return [values for values in found if values]


@pytest.mark.parametrize("pipeline", ["lean", "upstream"])
def test_it_can_be_turned_off(programs: Programs, receiver: OtlpReceiver, pipeline: str) -> None:
    """OTEL_FORGE_RUNTIME_METRICS=false; then nothing of it is imported."""
    script = programs.write("app.py", "import sys; assert 'otel_forge.metrics.runtime' not in sys.modules")
    app = programs.instrumented(
        sys.executable, str(script),
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_FORGE_PIPELINE=pipeline, OTEL_FORGE_RUNTIME_METRICS="false",
    )  # fmt: skip
    assert app.wait() == 0, app.err
    assert not [name for name in receiver.received.metrics() if name.startswith(("process.", "cpython."))]


def test_start_up_imports_nothing_heavy_for_it(programs: Programs) -> None:
    """What few processes need is imported where it is needed."""
    heavy = "{'psutil', 'gunicorn', 'asyncio', 'resource'}"
    code = f"import sys, otel_forge.metrics.runtime; print(set(sys.modules) & {heavy})"
    program = programs.start(sys.executable, "-c", code)
    assert program.wait() == 0, program.err
    assert program.out == "set()\n"
