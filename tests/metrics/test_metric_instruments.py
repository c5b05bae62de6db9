"""Typed instruments, and values that are asked for."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from otel_forge import guard, metrics
from otel_forge.errors import MetricError
from tests.metrics.conftest import Begin, Recorded, upstream
from tests.otlp_receiver import OtlpReceiver, points
from tests.programs import Programs


def test_each_kind_records_what_it_is_for(recorded: Recorded) -> None:
    """In the conventions' units, with tags as keywords."""
    metrics.counter("assets.loaded", "{asset}", "Assets that were loaded.").add(2, asset_type="weapon")
    metrics.counter("assets.loaded", "{asset}").add(asset_type="weapon")
    metrics.up_down_counter("assets.in_work", "{asset}").add(-3)
    metrics.histogram("assets.load_time", "ms", boundaries=[100, 500]).record(250, asset_type="weapon")
    metrics.gauge("assets.quality", "percent").set(97)
    assert recorded.values("assets.loaded") == [({"asset_type": "weapon"}, 3)]
    assert recorded.values("assets.in_work") == [({}, -3)]
    assert recorded.values("assets.quality") == [({}, 0.97)]
    [times] = recorded.points("assets.load_time")
    assert (times.sum, tuple(times.explicit_bounds), tuple(times.bucket_counts)) == (0.25, (0.1, 0.5), (0, 1, 0))
    loaded = recorded.metrics()["assets.loaded"]
    assert (loaded.unit, loaded.description) == ("{asset}", "Assets that were loaded.")


def test_tags_that_are_no_words_are_keywords_as_well(recorded: Recorded) -> None:
    """By two stars, as with any function."""
    tags: dict[str, str | int] = {"http.route": "/a", "amount": 3}
    metrics.counter("hits").add(1, **tags)
    assert recorded.values("hits") == [({"http.route": "/a", "amount": 3}, 1)]


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (metrics.counter, ("a b",), "'a b' cannot be the name of a metric"),
        (metrics.histogram, ("a", "parsec"), "the unit 'parsec' is not known"),
        (
            metrics.gauge,
            ("taken", "count"),
            "'taken' is already of the kind counter, in {count}, and cannot be of the kind gauge",
        ),
        (metrics.observe, ("taken", lambda: 1), "and cannot be of the kind observed gauge, in {count}"),
        (metrics.observe, ("o", lambda: 1, "parsec"), "the unit 'parsec' is not known"),
    ],
)
def test_a_mistake_is_raised_where_the_instrument_is_made(
    recorded: Recorded, make: Any, arguments: tuple[Any, ...], message: str
) -> None:
    """Where its author sees it, with what is allowed."""
    metrics.counter("taken")
    with pytest.raises(MetricError, match=message):
        make(*arguments)


def test_recording_never_raises(recorded: Recorded) -> None:
    """A bad value costs itself."""
    bad: Any = "seven"
    metrics.counter("n").add(bad)
    metrics.counter("n").add(-1)
    metrics.histogram("h").record(bad)
    metrics.gauge("g").set(bad)
    assert recorded.refused() == {"value": 4}


def test_observed_values_are_asked_for_at_each_collection(recorded: Recorded) -> None:
    """A number, pairs with tags, or nothing; converted like any others."""
    answers: dict[str, Any] = {"queue": 3, "pools": [(40, {"pool": "a"}), (50, {"pool": "b"})], "none": None}
    metrics.observe("queue", lambda: answers["queue"], "{job}")
    metrics.observe("pools", lambda: answers["pools"], "percent", tags={"host": "h"})
    metrics.observe("none", lambda: answers["none"])
    metrics.observe("made", lambda: 7, "MB", kind="counter")
    assert recorded.values("queue") == [({}, 3)]
    assert recorded.values("pools") == [({"host": "h", "pool": "a"}, 0.4), ({"host": "h", "pool": "b"}, 0.5)]
    assert recorded.values("made") == [({}, 7_000_000)]
    assert "none" not in recorded.metrics()
    answers["queue"] = 4
    assert recorded.values("queue") == [({}, 4)]


@pytest.mark.parametrize("pipeline", ["lean", "upstream"])
def test_the_last_function_for_a_name_and_tags_stays(begin: Begin, recorded: Recorded, pipeline: str) -> None:
    """An app that is made twice, or a module that is loaded again, is not counted twice."""
    found = recorded if pipeline == "lean" else begin(upstream())
    for number in (1, 2):
        metrics.observe("queue", lambda number=number: number, tags={"of": "a"})  # type: ignore[misc]
        metrics.observe("queue", lambda number=number: 10 * number, tags={"of": "b"})  # type: ignore[misc]
    assert found.values("queue") == [({"of": "a"}, 2), ({"of": "b"}, 20)]


def test_a_function_that_raises_costs_only_its_value(recorded: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said once, and the others are still asked."""
    guard.set_strict(False)
    metrics.observe("broken", lambda: 1 // 0)
    metrics.observe("bad", lambda: "seven")  # type: ignore[arg-type, return-value]
    metrics.observe("fine", lambda: 1)
    for _ in range(2):
        assert recorded.values("fine") == [({}, 1)]
        assert "broken" not in recorded.metrics()
    assert capsys.readouterr().err.count("observing broken failed") == 1


def test_a_histogram_cannot_be_observed(recorded: Recorded) -> None:
    """There is no such instrument."""
    with pytest.raises(MetricError, match="cannot be an observed histogram; allowed are gauge, counter"):
        metrics.observe("h", lambda: 1, "s", kind="histogram")


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    """As in any module."""
    with pytest.raises(AttributeError, match="module 'otel_forge.metrics' has no attribute 'nothing'"):
        metrics.nothing  # noqa: B018
    assert set(metrics.__all__) <= set(dir(metrics))


def test_importing_metrics_imports_nothing_else(programs: Programs) -> None:
    """Start-up pays for every import; each name brings what it needs."""
    script = programs.write(
        "app.py",
        """
        import sys
        from otel_forge import metrics
        print(sorted(name for name in sys.modules if name.startswith(("otel_forge.", "opentelemetry"))))
        metrics.record("a", 1)
        print([name for name in ("psutil", "flask", "requests", "opentelemetry.sdk", "asyncio") if name in sys.modules])
        """,
    )
    app = programs.start(sys.executable, str(script))
    assert app.wait() == 0, app.err
    assert app.out == "['otel_forge.lazily', 'otel_forge.metrics', 'otel_forge.version']\n[]\n"


@pytest.mark.parametrize("pipeline", ["lean", "upstream"])
def test_a_program_records_before_and_after_telemetry_is_there(
    programs: Programs, receiver: OtlpReceiver, pipeline: str
) -> None:
    """Under opentelemetry-instrument, and in a child of its own that begins at zero."""
    script = programs.write(
        "app.py",
        """
        import os
        from opentelemetry import metrics as api
        from otel_forge import metrics

        LOADED = metrics.counter("assets.loaded", "{asset}")
        metrics.observe("pid", os.getpid, "{process}")
        LOADED.add(2)
        metrics.record("asset_load_time", 1234, "ms", asset_type="weapon")
        child = os.fork()
        if child == 0:
            LOADED.add(5)
        api.get_meter_provider().force_flush(10_000)
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """,
    )
    app = programs.instrumented(
        sys.executable, str(script),
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_FORGE_PIPELINE=pipeline, OTEL_METRIC_EXPORT_INTERVAL="3600000",
    )  # fmt: skip
    assert app.wait() == 0, app.err
    received = receiver.received.requests["metrics"]
    totals = {
        point.as_int
        for request in received
        for of_scope in request.resource_metrics[0].scope_metrics
        for metric in of_scope.metrics
        if metric.name == "assets.loaded"
        for point in points(metric)
    }
    assert totals == ({2, 5} if pipeline == "lean" else {2, 7})
    assert receiver.received.metrics()["asset_load_time"].unit == "s"
