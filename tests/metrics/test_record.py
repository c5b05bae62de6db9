"""`record`: the handbook's way to record a metric."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from threading import Thread
from typing import Any

import pytest

from otel_forge.metrics import record, registry
from otel_forge.metrics.refusals import REFUSED
from otel_forge.settings import Settings
from tests.metrics.conftest import Begin, Recorded, lean, upstream

OVERFLOW = {"otel.metric.overflow": True}


def test_the_handbooks_two_examples(recorded: Recorded) -> None:
    """A duration is a histogram in seconds, a count a counter; tags are attributes, however they are given."""
    record("asset_load_time", 120, "ms", {"assetType": "model"})
    record("asset_load_time", 80, assetType="model")
    record("api_request_count", 1, "count", endpoint="/api/assets")
    record("api_request_count", 2, unit="count", tags={"endpoint": "/api/assets"})
    found = recorded.metrics()
    load, count = found["asset_load_time"], found["api_request_count"]
    assert (load.unit, type(load.data).__name__, count.unit, type(count.data).__name__) == (
        "s",
        "Histogram",
        "{count}",
        "Sum",
    )
    [times], [total] = load.data.data_points, count.data.data_points
    assert (times.count, times.sum, dict(times.attributes)) == (2, 0.2, {"assetType": "model"})
    assert (total.value, dict(total.attributes)) == (3, {"endpoint": "/api/assets"})


def test_the_buckets_fit_the_unit(recorded: Recorded) -> None:
    """Those of the conventions for seconds, a KiB to a GiB for bytes."""
    record("a", 30, "ms")
    record("b", 3, "MB")
    [times], [sizes] = recorded.points("a"), recorded.points("b")
    assert (times.explicit_bounds[0], times.explicit_bounds[-1]) == (0.005, 10)
    assert (sizes.explicit_bounds[0], sizes.explicit_bounds[-1]) == (1024, 1 << 30)


def test_a_conversion_is_said_once_for_each_unit_with_both_names(
    recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not for each metric, nor where nothing is converted."""
    for _ in range(3):
        record("assetLoadTime", 1, "ms")
        record("other_time_ms", 1)
        record("third", 1, "s")
        record("size", 1, "MB")
    assert capsys.readouterr().err.splitlines() == [
        "otel-forge: 'assetLoadTime' is given in ms and recorded as 'asset_load_time' in s, its values converted, as "
        "all others in ms are.",
        "otel-forge: 'size' is given in MB and recorded as 'size' in By, its values converted, as all others in MB "
        "are.",
    ]


def test_the_unit_chooses_the_instrument_unless_the_call_does(recorded: Recorded) -> None:
    """Counters, gauges and histograms by kind."""
    record("usage", 42, "percent")
    record("usage", 43, "percent")
    record("memory", 5, "MiB", kind="gauge")
    record("transferred", 5, "KB", kind="counter")
    record("transferred", 1, "bytes", kind="counter")
    record("open", 3, "{job}", kind="up_down_counter")
    record("open", -1, "{job}", kind="up_down_counter")
    assert [recorded.values(name) for name in ("usage", "memory", "transferred", "open")] == [
        [({}, 0.43)],
        [({}, 5 << 20)],
        [({}, 5001)],
        [({}, 2)],
    ]


def test_one_metric_is_given_in_several_units_and_names(recorded: Recorded) -> None:
    """Milliseconds here and seconds there are the same metric."""
    record("load_time", 1, "s")
    record("load_time", 500, "ms")
    record("loadTime", 250_000, "us")
    [point] = recorded.points("load_time")
    assert (point.count, point.sum) == (3, 1.75)


@pytest.mark.parametrize("value", [True, Decimal("1"), Fraction(1, 1)])
def test_numbers_of_other_types_are_numbers(recorded: Recorded, value: Any) -> None:
    """As NumPy's are."""
    record("n", value, "count")
    assert recorded.values("n") == [({}, 1)]


def test_a_number_beyond_64_bits_stops_no_exporter(begin: Begin) -> None:
    """OTLP has no such integer: upstream's exporter would fail at each collection from then on, for all metrics."""
    recorded = begin(upstream())
    record("huge", 1 << 63, "count")
    record("huge", 1, "count")
    record("low", -(10**30), "ratio")
    for name, expected in (("huge", float(1 << 63)), ("low", -1e30)):
        [(_, value)] = recorded.values(name)
        assert (type(value), value) == (float, expected)
    record("exact", 1 << 53, "count")
    assert recorded.values("exact") == [({}, 1 << 53)]


BAD_VALUES: list[tuple[Any, str]] = [
    ("seven", "a value of n is of type str; allowed are numbers"),
    (None, "a value of n is of type NoneType; allowed are numbers"),
    ([1], "a value of n is of type list; allowed are numbers"),
    (float("nan"), "a value of n is not finite; allowed are finite numbers"),
    (float("inf"), "a value of n is not finite; allowed are finite numbers"),
    (Fraction(10**400), "a value of n is not finite; allowed are finite numbers"),
    (Decimal("sNaN"), "a value of n is not finite; allowed are finite numbers"),
    (10**400, "a value of n is not finite; allowed are finite numbers"),
    (-1, "a value of n is negative; allowed for the kind counter is 0 and more"),
]


@pytest.mark.parametrize(("value", "said"), BAD_VALUES)
def test_a_bad_value_is_left_out_counted_and_said_once(
    recorded: Recorded, capsys: pytest.CaptureFixture[str], value: Any, said: str
) -> None:
    """Whatever it is; the value itself is not shown, because it may be a secret."""
    record("n", 1, "count")
    record("n", value, "count")
    record("n", value, "count")
    assert recorded.values("n") == [({}, 1)]
    assert recorded.refused() == {"value": 2}
    line = f"otel-forge: {said}. What cannot be recorded is left out and counted in {REFUSED}.\n"
    assert capsys.readouterr().err == line


BAD_CALLS: list[tuple[tuple[Any, ...], dict[str, Any], str, str]] = [
    (("a b", 1), {}, "name", "'a b' cannot be the name of a metric; allowed is a letter"),
    ((7, 1), {}, "name", "7 cannot be the name of a metric"),
    ((["a"], 1), {}, "name", "['a'] cannot be the name of a metric"),
    (("n", 1, "parsec"), {}, "unit", "the unit 'parsec' is not known; allowed are ns, us, ms"),
    (("n", 1, ["ms"]), {}, "unit", "the unit ['ms'] is not known"),
    (("n", 1), {"kind": "timer"}, "kind", "the kind 'timer' is not known; allowed are counter, up_down_counter"),
    (
        ("taken", 1, "ms"),
        {},
        "kind",
        "'taken' is already of the kind counter, in {count}, and cannot be of the kind histogram",
    ),
]


@pytest.mark.parametrize(("arguments", "options", "reason", "said"), BAD_CALLS)
def test_a_bad_call_is_left_out_counted_and_said_once(
    recorded: Recorded,
    capsys: pytest.CaptureFixture[str],
    arguments: Any,
    options: Any,
    reason: str,
    said: str,
) -> None:
    """It never raises, and what is allowed is in the line."""
    record("taken", 1, "count")
    for _ in range(3):
        record(*arguments, **options)
    assert recorded.refused() == {reason: 3}
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"otel-forge: {said}")


def test_names_are_bounded(recorded: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    """Names made of data fill neither the memory nor the terminal, and the first ones go on."""
    for number in range(3 * registry.MOST_NAMES):
        record(f"name_{number}", 1, "count")
    record("name_1", 1, "count")
    assert len(recorded.metrics()) == registry.MOST_NAMES + 1  # the one for what was refused
    assert recorded.values("name_1") == [({}, 2)]
    assert recorded.refused() == {"names": 2 * registry.MOST_NAMES}
    lines = capsys.readouterr().err.splitlines()
    assert "is one metric too many: a process has 1000 at the most" in lines[0]
    assert len(lines) == 100


def test_a_secret_in_a_name_is_not_shown(recorded: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    """What is said goes through the policy like all that leaves."""
    record("user password=hunter2-is-secret", 1)
    said = capsys.readouterr().err
    assert "cannot be the name" in said and "hunter2" not in said


def test_too_many_tags_share_a_series_and_the_tag_is_named(begin: Begin, capsys: pytest.CaptureFixture[str]) -> None:
    """In the lean pipeline: at the settings' limit, once for each metric."""
    recorded = begin(lean(limit=10))
    for number in range(40):
        record("hits", 1, "count", kind_of_user="free" if number % 2 else "paid", user=number, region="eu")
        if number % 15 == 0:
            recorded.metrics()
    found = recorded.values("hits")
    assert len(found) == 11
    assert found[-1] == (OVERFLOW, 30)
    recorded.metrics()
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "otel-forge: too many attribute sets, of which those beyond the limit share one series: hits (6 measurements), "
        "most of all by 'user'."
    )


def test_the_upstream_pipeline_has_the_same_cap(begin: Begin, capsys: pytest.CaptureFixture[str]) -> None:
    """Its SDK has none before 1.45.2; sums stay right."""
    recorded = begin(upstream())
    environ = {"OTEL_FORGE_PIPELINE": "upstream", "OTEL_FORGE_METRIC_CARDINALITY_LIMIT": "10"}
    registry.configure(Settings.from_env(environ))
    for number in range(40):
        record("hits", 1, "count", region="eu", user=number)
    record("hits", 1, "count", user=3, region="eu")
    found = recorded.values("hits")
    assert len(found) == 11
    assert ({"region": "eu", "user": 3}, 2) in found and (OVERFLOW, 30) in found
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "otel-forge: too many sets of tags for hits, most of all by 'user': those beyond the first 10"
    )


def test_threads_lose_nothing(recorded: Recorded) -> None:
    """Neither measurements nor the instrument that several make at once."""

    def work() -> None:
        for number in range(500):
            record("made", 1, "count", thread="any")
            record(f"made_{number % 7}", 1)

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorded.values("made") == [({"thread": "any"}, 4000)]
    assert sum(recorded.points(f"made_{number}")[0].count for number in range(7)) == 4000
