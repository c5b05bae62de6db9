"""Units: what is known, and what becomes of values."""

from __future__ import annotations

import pytest
from opentelemetry.exporter.prometheus._mapping import _UNIT_MAPPINGS

from otel_forge.errors import ForgeError, MetricError
from otel_forge.metrics.names import conventional
from otel_forge.metrics.units import unit_of

CONVERSIONS = [
    ("ns", 1_500_000, "s", 0.0015, "histogram"),
    ("us", 1_500, "s", 0.0015, "histogram"),
    ("µs", 1_500, "s", 0.0015, "histogram"),
    ("ms", 1234, "s", 1.234, "histogram"),
    ("milliseconds", 0.5, "s", 0.0005, "histogram"),
    ("s", 2, "s", 2, "histogram"),
    ("Seconds", 2.5, "s", 2.5, "histogram"),
    ("min", 2, "s", 120, "histogram"),
    ("h", 1, "s", 3600, "histogram"),
    ("days", 1, "s", 86_400, "histogram"),
    ("bytes", 7, "By", 7, "histogram"),
    ("By", 7, "By", 7, "histogram"),
    ("KB", 7, "By", 7_000, "histogram"),
    ("MB", 1.5, "By", 1_500_000, "histogram"),
    ("GB", 1, "By", 1_000_000_000, "histogram"),
    ("KiB", 2, "By", 2_048, "histogram"),
    ("MiB", 1, "By", 1_048_576, "histogram"),
    ("GiB", 1, "By", 1_073_741_824, "histogram"),
    ("percent", 42, "1", 0.42, "gauge"),
    ("%", 100, "1", 1, "gauge"),
    ("ratio", 0.3, "1", 0.3, "gauge"),
    ("1", 0.3, "1", 0.3, "gauge"),
    ("count", 3, "{count}", 3, "counter"),
    ("{asset}", 3, "{asset}", 3, "counter"),
]


@pytest.mark.parametrize(("text", "value", "ucum", "amount", "kind"), CONVERSIONS)
def test_a_value_is_converted_to_the_base_unit(text: str, value: float, ucum: str, amount: float, kind: str) -> None:
    """Exactly: what can be written is not a hair off."""
    unit = unit_of(text)
    assert (unit.ucum, unit.kind, value * unit.multiply / unit.divide) == (ucum, kind, amount)


def test_every_unit_is_one_that_prometheus_has_a_word_for() -> None:
    """Else its names would end in something else; what is counted has none."""
    assert {ucum for _, _, ucum, _, _ in CONVERSIONS if "{" not in ucum} <= set(_UNIT_MAPPINGS)


@pytest.mark.parametrize("text", ["", "parsec", "mb", "{}", "{a b}", "{" + "a" * 61 + "}", "ms ", None, 7, ["ms"]])
def test_an_unknown_unit_is_said_with_what_is_allowed(text: object) -> None:
    """Rather than taken for something to count."""
    with pytest.raises(MetricError, match="is not known; allowed are ns, us, ms.*such as {asset}") as raised:
        unit_of(text)
    assert isinstance(raised.value, ForgeError) and isinstance(raised.value, ValueError)


@pytest.mark.parametrize(
    ("name", "unit", "recorded"),
    [
        ("asset_load_time", "ms", "asset_load_time"),
        ("assetLoadTime", "ms", "asset_load_time"),
        ("asset-load/time", "s", "asset_load_time"),
        ("HTTPRequests", "count", "http_requests"),
        ("p95Latency", "ms", "p95_latency"),
        ("asset.load.time", "s", "asset.load.time"),
        ("load_time_ms", "ms", "load_time"),
        ("loadTimeMillis", "ms", "load_time"),
        ("load_time_ms", "s", "load_time_ms"),
        ("load_time_seconds", "s", "load_time_seconds"),
        ("upload_mb", "MB", "upload"),
        ("ms", "ms", "ms"),
        ("cpu_percent", "percent", "cpu"),
    ],
)
def test_a_name_is_recorded_as_the_conventions_write_names(name: str, unit: str, recorded: str) -> None:
    """Lower case, with underscores; the unit that is converted away goes from its end."""
    assert conventional(name, unit_of(unit)) == recorded


@pytest.mark.parametrize("name", ["", "7up", "a b", "größe", "a" * 256, "_a", "a\n", None, 7])
def test_a_name_that_cannot_be_is_said_with_what_is_allowed(name: object) -> None:
    """The specification's instrument names."""
    with pytest.raises(MetricError, match="cannot be the name of a metric; allowed is a letter, then letters"):
        conventional(name, unit_of("ms"))
