"""The long run of the outages: ``python -m tests.delivery.long_outage [--minutes 1 10] [--rate 100 2000]``.

A real program makes numbered records, meets an outage in real time, then has the back end again.
Every number that has not arrived is named, and the exit status is 1; memory and the spool's size are shown as it goes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests import faults
from tests.delivery.test_faults import CHECKOUT, EMITTER, INSTRUMENT, settled_accounts, told
from tests.faults import FaultProxy
from tests.numbered import NumberedReceiver, in_ranges
from tests.programs import Programs

FAULTS = {
    "refused": faults.refuse,
    "black-hole": faults.black_hole,
    "503": faults.unavailable,
    "429": faults.throttled(5),
    "slow-answer": faults.slow_answer,
}
HEALTHY_BEFORE, CATCHING_UP = 20.0, 600.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run each asked-for outage and say what became of it; return 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.delivery.long_outage", description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0, 10.0])
    parser.add_argument("--rate", type=int, nargs="+", default=[100, 2000])
    parser.add_argument("--fault", choices=list(FAULTS), default="refused")
    options = parser.parse_args(argv)
    whole = True
    for minutes in options.minutes:
        for rate in options.rate:
            print(f"{options.fault} for {minutes:g} min at {rate}/s", flush=True)
            whole &= outage(minutes * 60, rate, FAULTS[options.fault])
    return 0 if whole else 1


def outage(seconds: float, rate: int, fault: faults.Fault) -> bool:
    """Run one outage; return whether every record arrived, once."""
    with (
        tempfile.TemporaryDirectory() as folder,
        NumberedReceiver() as receiver,
        FaultProxy(receiver.url) as proxy,
        Programs(Path(folder)) as programs,
    ):
        spool = Path(folder) / "spool"
        program = programs.start(
            INSTRUMENT, "python", str(EMITTER), str(rate),
            PYTHONPATH=str(CHECKOUT), OTEL_SERVICE_NAME="emitter", OTEL_FORGE_PIPELINE="lean",
            OTEL_EXPORTER_OTLP_ENDPOINT=proxy.url, OTEL_FORGE_SPOOL_DIR=str(spool),
            OTEL_FORGE_SPOOL_MAX_SIZE=str(4 << 30),
        )  # fmt: skip
        receiver.wait_for(lambda _: receiver.tally.numbers["traces"])
        _watch(program.pid, spool, receiver, HEALTHY_BEFORE, "healthy")
        proxy.be(fault)
        _watch(program.pid, spool, receiver, seconds, "outage")
        proxy.be(faults.healthy)
        healed = time.monotonic()
        _watch(program.pid, spool, receiver, HEALTHY_BEFORE, "healthy again")
        emitted = int(told(program, "emitted").split()[0])
        lost = _lost(receiver, emitted)
        print(f"  {emitted} made; all here {time.monotonic() - healed:.0f} s after the outage", flush=True)
        repeated = {name: receiver.tally.repeated(name) for name in ("traces", "logs")}
        print(f"  lost: {in_ranges(lost) or 'nothing'}; twice: {in_ranges(repeated) or 'nothing'}")
        print(f"  accounts: {settled_accounts(program)}", flush=True)
        _, ending = program.ended_within(30)
        counted = receiver.tally.total("test.emitted")
        print(f"  counter: {counted:.0f} of {emitted}; the exit took {ending:.2f} s", flush=True)
        return not any(lost.values()) and not any(repeated.values()) and counted == emitted


def _lost(receiver: NumberedReceiver, emitted: int) -> dict[str, list[int | str]]:
    expected = {name: range(emitted) for name in ("traces", "logs")}
    try:
        receiver.wait_for_all(expected, timeout=CATCHING_UP)
    except AssertionError as error:
        print(f"  {error}", file=sys.stderr)
    return {name: receiver.tally.missing(name, numbers) for name, numbers in expected.items()}


def _watch(pid: int, spool: Path, receiver: NumberedReceiver, seconds: float, stage: str) -> None:
    """Show memory, disk and arrivals every ten seconds."""
    process, ending = psutil.Process(pid), time.monotonic() + seconds
    while (left := ending - time.monotonic()) > 0:
        time.sleep(min(left, 10.0))
        memory = process.memory_info().rss / 1e6
        arrived = len(receiver.tally.numbers["traces"])
        print(f"  {stage}: {memory:.0f} MB, {disk_used(spool) / 1e6:.0f} MB spooled, {arrived} spans here", flush=True)


def disk_used(folder: Path) -> int:
    """Return the bytes of all files below `folder`; those that go meanwhile don't count."""
    total = 0
    for path in folder.rglob("*") if folder.exists() else ():
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


if __name__ == "__main__":
    sys.exit(main())
