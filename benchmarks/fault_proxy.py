"""The fault proxy of the tests as a process of its own: in front of the receiver, commanded by the harness."""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.subject import control
from tests import faults

_BEHAVIOURS = {
    fault.__name__: fault for fault in (faults.healthy, faults.refuse, faults.black_hole, faults.slow_answer)
}


def main(target: str) -> None:
    """Stand in front of `target`, and behave as told."""
    with faults.FaultProxy(target, passing=("x-benchmark-variant",)) as proxy:

        def handle(command: dict[str, Any]) -> dict[str, Any]:
            if command["do"] == "be":
                proxy.be(_BEHAVIOURS[command["behaviour"]])
            return {"address": proxy.url}

        control.serve(handle)


if __name__ == "__main__":
    main(sys.argv[1])
