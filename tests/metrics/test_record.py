"""`record`: the handbook's way to record a metric."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_forge import guard
from otel_forge.metrics import record as module
from otel_forge.metrics.record import record


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    """Reads what is recorded."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr(module, "_meter", provider.get_meter("m"))
    monkeypatch.setattr(module, "_instruments", {})
    yield reader
    provider.shutdown()


def recorded(reader: InMemoryMetricReader) -> dict[str, Any]:
    """Return metrics by name."""
    data = reader.get_metrics_data()
    return {m.name: m for r in (data.resource_metrics if data else ()) for s in r.scope_metrics for m in s.metrics}


def test_the_handbooks_two_examples(reader: InMemoryMetricReader) -> None:
    """A duration is a histogram, a count a counter; tags are attributes."""
    record("asset_load_time", 120, "ms", {"assetType": "model"})
    record("asset_load_time", 80, tags={"assetType": "model"})
    record("api_request_count", 1, "count", {"endpoint": "/api/assets"})
    record("api_request_count", 2, "count", {"endpoint": "/api/assets"})
    found = recorded(reader)
    [load], [count] = (found[name].data.data_points for name in ("asset_load_time", "api_request_count"))
    assert (found["asset_load_time"].unit, load.count, load.sum) == ("ms", 2, 200)
    assert dict(load.attributes) == {"assetType": "model"}
    assert (count.value, dict(count.attributes)) == (3, {"endpoint": "/api/assets"})


def test_names_are_bounded_and_nothing_raises(reader: InMemoryMetricReader, capsys: pytest.CaptureFixture[str]) -> None:
    """Names made of data cannot fill the memory, and a bad value costs only itself."""
    guard.set_strict(False)
    for number in range(1100):
        record(f"name_{number}", 1)
    record("name_1", 1)
    bad: Any = "seven"
    record("name_1", bad)
    assert len(recorded(reader)) == 1000
    assert "is one name too many" in capsys.readouterr().err
