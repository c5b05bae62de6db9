"""What redaction costs: ``python -m tests.redaction.measure_redaction``.

Prints the least CPU time of several runs: for texts as spans and logs hold them, and for 1 MB of each hostile text
(S2: at most 50 ms).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from otel_forge.redaction import Policy
from tests.redaction.test_linear import HOSTILE, LARGE

RUNS = 7
ORDINARY = (
    ("", "GET"),
    ("url.path", "/api/assets/8412"),
    ("url.path", "/api/assets/0f8fad5b-d9cb-469f-a165-70867728950e"),
    ("", "asset 8412 served in 3 ms"),
    ("", "asset 8412 of collection chairs served in 3 ms from cache"),
    ("", "login failed: password=hunter2, user=alice"),
    ("url.query", "page=2&limit=30"),
    ("db.query.text", "SELECT id, name, kind FROM assets WHERE id = ?"),
)


def _least(work: Callable[[], object], times: int) -> float:
    """Return the least CPU seconds of one call of `work`."""
    least = float("inf")
    for _ in range(RUNS):
        started = time.thread_time()
        for _ in range(times):
            work()
        least = min(least, (time.thread_time() - started) / times)
    return least


def main() -> None:
    """Print both tables."""
    policy = Policy()
    for key, text in ORDINARY:
        rule = policy.rule(key).text
        print(f"{_least(lambda: rule(text), 5000) * 1e6:8.2f} µs  {key:14} {text}")  # noqa: B023 - called at once
    hostile = []
    for unit in HOSTILE:
        text = (unit * (LARGE // len(unit) + 1))[:LARGE]
        hostile.append((_least(lambda: policy.text(text), 1) * 1e3, unit))  # noqa: B023 - called at once
    for milliseconds, unit in sorted(hostile, reverse=True):
        print(f"{milliseconds:8.1f} ms  1 MB of {unit!r}")


if __name__ == "__main__":
    main()
