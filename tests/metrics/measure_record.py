"""What recording costs: `python -m tests.metrics.measure_record`.

Minima of rounds that take the variants in turn, in microseconds of CPU; `record` is compared with the instrument of the
OpenTelemetry API that it ends in.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from opentelemetry import metrics as api

from otel_forge import metrics
from otel_forge.sdk.meter import LeanMeterProvider
from otel_forge.sdk.streams import MetricStorage
from tests.sdk.pairs import RESOURCE

ROUNDS, CALLS = 15, 20_000


def variants() -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    histogram, counter = (
        api.get_meter("m").create_histogram("h", "s"),
        api.get_meter("m").create_counter("c", "{count}"),
    )
    typed, kept = metrics.histogram("typed", "ms"), metrics.counter("kept")
    return {
        "API histogram, one attribute": lambda: histogram.record(1.234, {"asset_type": "weapon"}),
        "record(ms), one tag": lambda: metrics.record("asset_load_time", 1234, "ms", asset_type="weapon"),
        "metrics.histogram(ms).record, one tag": lambda: typed.record(1234, asset_type="weapon"),
        "API counter, one attribute": lambda: counter.add(1, {"endpoint": "/a"}),
        "record(count), one tag": lambda: metrics.record("api_request_count", 1, "count", endpoint="/a"),
        "metrics.counter.add, one tag": lambda: kept.add(1, endpoint="/a"),
        "record(ms), tags as a mapping": lambda: metrics.record("asset_load_time", 1, "ms", {"asset_type": "weapon"}),
        "record(ms), no tags": lambda: metrics.record("asset_load_time", 1234),
        "nothing": lambda: None,
    }


def main() -> None:
    """Print a table."""
    api.set_meter_provider(LeanMeterProvider(MetricStorage(), RESOURCE))
    measured = variants()
    best = dict.fromkeys(measured, float("inf"))
    for _ in range(ROUNDS):
        for name, call in measured.items():
            began = time.process_time()
            for _ in range(CALLS):
                call()
            best[name] = min(best[name], (time.process_time() - began) / CALLS * 1e6)
    for name, microseconds in best.items():
        print(f"{name:40s} {microseconds - best['nothing']:6.2f} us")


if __name__ == "__main__":
    main()
