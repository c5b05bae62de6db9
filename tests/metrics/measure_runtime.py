"""What runtime metrics cost: `python -m tests.metrics.measure_runtime`.

Microseconds of CPU (minima): to read each series, to collect them all with either pipeline, to encode them, and what
they add to start-up.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from otel_forge.metrics.runtime import SERIES, watch_runtime
from otel_forge.otlp.encode_metrics import MetricEncoder
from otel_forge.otlp.report import EncodingReport
from tests.metrics.conftest import Recorded, lean, upstream

ROUNDS, CALLS = 20, 200

_START = """
import time
from opentelemetry.sdk.metrics import MeterProvider
from otel_forge.sdk.meter import LeanMeterProvider
from otel_forge.sdk.streams import MetricStorage
from tests.sdk.pairs import RESOURCE
import otel_forge.import_hooks, otel_forge.fork, otel_forge.guard
provider = LeanMeterProvider(MetricStorage(), RESOURCE)
began = time.perf_counter()
from otel_forge.metrics.runtime import watch_runtime
watch_runtime(provider)
print(time.perf_counter() - began)
"""


def microseconds(call: Callable[[], object]) -> float:
    """Return the CPU time of one call, the least of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(CALLS):
            call()
        best = min(best, (time.process_time() - began) / CALLS * 1e6)
    return best


def main() -> None:
    """Print tables."""
    for series in SERIES:
        print(f"{series.name:44s} {microseconds(series.read):7.1f} us to read")
    for name, recorded in (("lean", lean()), ("upstream", upstream())):
        watch_runtime(recorded.provider)
        print(f"{'collecting all, ' + name:44s} {microseconds(recorded.metrics):7.1f} us")
    print(f"{'encoding all, lean':44s} {_encoding(lean()):7.1f} us")
    starts = [float(subprocess.check_output([sys.executable, "-c", _START])) for _ in range(10)]
    print(f"{'at start-up, imports included':44s} {min(starts) * 1e6:7.0f} us")


def _encoding(recorded: Recorded) -> float:
    watch_runtime(recorded.provider)
    found = recorded.metrics().values()

    def encode() -> None:
        encoder = MetricEncoder(EncodingReport())
        for metric in found:
            encoder.encode(metric)

    return microseconds(encode)


if __name__ == "__main__":
    main()
