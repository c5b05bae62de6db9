"""The traffic of the differential test: a table of small cases, run through one pipeline in a process of its own.

``python -m tests.instruments.traffic upstream|lean FILE`` runs every case and writes, as JSON, what arrived at an
OTLP receiver for each.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.instruments import telemetry
from tests.instruments.seen import seen
from tests.otlp_receiver import OtlpReceiver, Received

CASES: dict[str, Callable[[], object]] = {}


def case(run: Callable[[], object]) -> Callable[[], object]:
    """Add a case under its function's name."""
    CASES[run.__name__] = run
    return run


def main(pipeline: str, path: Path) -> None:
    """Run all cases through `pipeline` and write what was seen."""
    with OtlpReceiver() as receiver:
        flush = telemetry.PIPELINES[pipeline](receiver.url)
        from tests.instruments import cases

        results: dict[str, Any] = {}
        for name, run in CASES.items():
            receiver.received = Received()
            raised = _raised_by(run)
            flush()
            results[name] = {**seen(receiver.received, cases.is_own_metric), "raised": raised}
        path.write_text(_without_ports(json.dumps(results, indent=1, sort_keys=True), cases.PORTS))
    os._exit(0)  # the pipelines' ways to exit are not under test here


def _without_ports(text: str, ports: list[int]) -> str:
    """Return `text` with the ports of this run replaced by fixed numbers."""
    for index, port in enumerate(ports):
        text = re.sub(rf"\b{port}\b", str(90000 + index), text)
    return text


def _raised_by(run: Callable[[], object]) -> str:
    try:
        run()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    sys.modules["tests.instruments.traffic"] = sys.modules["__main__"]
    main(sys.argv[1], Path(sys.argv[2]))
