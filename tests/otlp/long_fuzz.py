"""The long run of the comparison with upstream: ``python -m tests.otlp.long_fuzz [examples]``, by default 60,000.

A third of the examples each are batches of spans, of log records, and of metrics. Every run draws new ones; a
difference is printed with the smallest example that shows it, and the exit status is 1.
"""

from __future__ import annotations

import logging
import sys
import time

from hypothesis import HealthCheck, Phase, given, settings

from tests.otlp import equality


def main(examples: int) -> None:
    """Compare `examples` batches and print how many passed in what time."""
    logging.disable(logging.CRITICAL)  # upstream complains about each odd key and value
    phases = (Phase.generate, Phase.shrink)
    thorough = settings(
        max_examples=examples // 3, deadline=None, database=None, phases=phases, suppress_health_check=list(HealthCheck)
    )
    checks = {
        "spans": given(equality.span_batches)(lambda batch: _count("spans", equality.assert_same_spans, *batch)),
        "logs": given(equality.log_batches)(lambda batch: _count("logs", equality.assert_same_logs, *batch)),
        "metrics": given(equality.metric_batches)(lambda data: _count("metrics", equality.assert_same_metrics, data)),
    }
    started = time.monotonic()
    for name, check in checks.items():
        thorough(check)()
        print(f"{name}: {_counts[name]} batches equal after {time.monotonic() - started:.0f} s", flush=True)


_counts = {"spans": 0, "logs": 0, "metrics": 0}


def _count(name: str, check: object, *arguments: object) -> None:
    check(*arguments)  # type: ignore[operator]
    _counts[name] += 1


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60_000)
