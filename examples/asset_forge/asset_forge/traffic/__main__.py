"""The command ``python -m asset_forge.traffic``."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from asset_forge.traffic.runner import Traffic, TrafficSettings
from asset_forge.traffic.targets import TARGETS


def number_above(low: float, text: str) -> float:
    """Read a finite number above low."""
    value = float(text)
    if not (math.isfinite(value) and value > low):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above {low:g}")
    return value


def seconds(text: str) -> float:
    """Read a duration above 0."""
    return number_above(0, text)


def rate(text: str) -> float:
    """Read a rate of 0 or more."""
    return 0.0 if float(text) == 0 else number_above(0, text)


def count(text: str) -> int:
    """Read a whole number of 1 or more."""
    return int(number_above(0, str(int(text))))


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    made = argparse.ArgumentParser(
        prog="python -m asset_forge.traffic",
        description="Send a seeded mix of requests to an application on this machine; keep count of it.",
    )
    made.add_argument("--target", choices=sorted(TARGETS), default="asset-forge", help="what the requests are for")
    made.add_argument("--base-url", help="where it listens; on this machine only (default: by target)")
    made.add_argument("--seed", type=int, default=7, help="the same seed sends the same requests (default 7)")
    made.add_argument("--duration", type=seconds, help="seconds until the end (default 60, or none with --requests)")
    made.add_argument("--requests", type=count, help="exact number of requests until the end")
    made.add_argument("--rate", type=rate, default=10.0, help="requests a second, 0 for flat out (default 10)")
    made.add_argument("--concurrency", type=count, default=8, help="requests under way at a time (default 8)")
    made.add_argument("--timeout", type=seconds, default=10.0, help="seconds to wait for an answer (default 10)")
    made.add_argument("--trace", action="store_true", help="send a traceparent header with every request")
    made.add_argument(
        "--fault-phases",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also send phases with faults",
    )
    made.add_argument("--image-server-url", default="http://127.0.0.1:3005", help="fault switch of the image server")
    made.add_argument("--ai-upstream-url", default="http://127.0.0.1:3006", help="fault switch of the AI upstream")
    made.add_argument("--ledger", type=Path, help="file that the ledger is written to at the end")
    return made


def settings_from(options: argparse.Namespace) -> TrafficSettings:
    """Turn the options into settings."""
    target = TARGETS[options.target]
    own = options.target == "asset-forge"
    control = {"image-server": options.image_server_url, "ai-upstream": options.ai_upstream_url} if own else {}
    duration = options.duration or (None if options.requests else 60.0)
    return TrafficSettings(
        target=target,
        base_url=options.base_url or target.default_url,
        seed=options.seed,
        rate=options.rate,
        concurrency=options.concurrency,
        duration_s=duration,
        requests=options.requests,
        timeout_s=options.timeout,
        fault_phases=options.fault_phases,
        control=control,
        trace=options.trace,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Send the traffic; returns 0, or 1 when any request got no answer, or 2 when the options are no good."""
    options = parser().parse_args(arguments)
    try:
        traffic = Traffic(settings_from(options))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2

    def stop(number: int, frame: FrameType | None) -> None:
        traffic.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    ledger = traffic.run()
    if options.ledger:
        ledger.write(options.ledger)
    total = ledger.as_json()["total"]
    print(json.dumps(total))
    return 1 if total["not_sent"] or total["unknown"] else 0


if __name__ == "__main__":
    sys.exit(main())
