"""What the spool costs: ``python -m tests.delivery.spool.measure [directory]``; decision 008 has the numbers.

Microseconds per call, median and 99th percentile, on the file system of the directory (the home directory's unless
given). Beside each append stands a bare `os.write` of the same bytes to one file, and the CPU of the process.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from otel_forge.delivery.spool import Quota, Spool, SpoolDirectory
from tests.delivery.spool.spools import a_batch

SIZES = {"512 spans, 130 KB": 130_000, "2 KB": 2_000}


def main(place: Path) -> None:
    """Measure and print."""
    for name, size in SIZES.items():
        _bare(place, name, size)
        for policy in ("never", "interval", "always"):
            _appends(place, name, size, policy)
    for name, size in SIZES.items():
        _take_over(place, name, size)


def _spool(folder: str, policy: str) -> Spool:
    quota = Quota(2 << 30, ("traces",))
    return Spool(SpoolDirectory(folder, "shop"), "traces", quota=quota, max_age=1e6, fsync=policy)  # type: ignore[arg-type]


def _bare(place: Path, name: str, size: int) -> None:
    body = os.urandom(size)
    with TemporaryDirectory(dir=place) as folder:
        descriptor = os.open(f"{folder}/file", os.O_WRONLY | os.O_CREAT)
        _report(f"{name:18} bare write", [_timed(lambda: os.write(descriptor, body)) for _ in range(1000)])
        os.close(descriptor)


def _appends(place: Path, name: str, size: int, policy: str) -> None:
    number = 200 if policy == "always" else 1000
    batches = [a_batch(each, size) for each in range(number)]
    with TemporaryDirectory(dir=place) as folder:
        spool, entries, times = _spool(folder, policy), [], []
        cpu = time.process_time()
        for batch in batches:
            times.append(_timed(lambda batch=batch: entries.append(spool.append(batch))))  # type: ignore[misc]
            spool.sync()
        cpu = time.process_time() - cpu
        _report(f"{name:18} append, fsync={policy}", times, f"; CPU {cpu / number * 1e6:.0f} a batch, syncs included")
        if policy == "never":
            _report(f"{name:18} read", [_timed(lambda entry=entry: spool.read(entry)) for entry in entries])  # type: ignore[misc]
            _report(f"{name:18} settle", [_timed(lambda entry=entry: spool.settle(entry)) for entry in entries])  # type: ignore[misc]
            times = [_timed(lambda batch=batch: spool.settle(spool.append(batch))) for batch in batches]  # type: ignore[misc]
            _report(f"{name:18} append and settle", times)
        spool.close()


def _take_over(place: Path, name: str, size: int) -> None:
    with TemporaryDirectory(dir=place) as folder:
        dead = _spool(folder, "never")
        for number in range((64 << 20) // size):
            dead.append(a_batch(number, size))
        dead.close()
        heir = _spool(folder, "never")
        started = time.perf_counter()
        found = len(heir.take_over())
        print(f"{name:18} take-over of 64 MiB: {found} records in {(time.perf_counter() - started) * 1e3:.0f} ms")
        heir.close()


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e6


def _report(what: str, times: list[float], more: str = "") -> None:
    times.sort()
    print(
        f"{what:40} {statistics.median(times):8.1f} us, p99 {times[int(len(times) * 0.99)]:8.1f} us{more}", flush=True
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path.home())
