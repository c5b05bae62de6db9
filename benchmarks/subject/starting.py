"""The measured start: tells when the first response was there, then what memory telemetry takes once it has worked."""

from __future__ import annotations

from benchmarks.subject.vendors import set_up

set_up()

import time  # noqa: E402
from typing import Any  # noqa: E402

from benchmarks.subject import control  # noqa: E402
from benchmarks.subject.flushing import flush  # noqa: E402
from benchmarks.subject.worker import Worker, rss_kib  # noqa: E402


def main() -> None:
    """Answer one request, report; then answer whatever the harness asks."""
    worker = Worker()
    worker.requests_unmeasured("asset", 1)
    first = {"wall": time.time(), "cpu_ms": time.process_time() * 1e3, "rss_kib": rss_kib()}

    def handle(command: dict[str, Any]) -> dict[str, Any]:
        if command["do"] == "first":
            return first
        worker.requests_unmeasured("asset", command["count"])
        flush()
        return {"rss_kib": rss_kib()}

    control.serve(handle)


if __name__ == "__main__":
    main()
