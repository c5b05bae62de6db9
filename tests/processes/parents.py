"""A program that makes processes: ``parents.py WAY CHILDREN RECORDS``. Children make numbered records, and end.

Numbers below zero are the parent's own: one before the first child, one after the last.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from opentelemetry import metrics, trace

from tests.numbered import NUMBER

COUNT = metrics.get_meter("parents").create_counter("test.made")
BEFORE, AFTER = -2, -1


def make(number: int) -> None:
    """Make one record of each signal."""
    with trace.get_tracer("parents").start_as_current_span("numbered", attributes={NUMBER: number}):
        logging.getLogger("parents").warning("number %d", number, extra={NUMBER: number})
    COUNT.add(1)


def make_all(child: int, records: int) -> None:
    """Make the records of one child."""
    for number in range(child * records, (child + 1) * records):
        make(number)


def by_fork(children: int, records: int) -> None:
    """Fork and end as a program does."""
    made = []
    for child in range(children):
        pid = os.fork()
        if pid == 0:
            make_all(child, records)
            sys.exit()
        made.append(pid)
    for pid in made:
        os.waitpid(pid, 0)


def by_fork_and_hard_exit(children: int, records: int) -> None:
    """Fork and end by ``os._exit``, which runs nothing."""
    made = []
    for child in range(children):
        pid = os.fork()
        if pid == 0:
            make_all(child, records)
            os._exit(0)
        made.append(pid)
    for pid in made:
        os.waitpid(pid, 0)


def by_multiprocessing(method: str, children: int, records: int) -> None:
    """Use processes of the standard library."""
    context = multiprocessing.get_context(method)
    made = [context.Process(target=make_all, args=(child, records)) for child in range(children)]  # type: ignore[attr-defined]
    for process in made:
        process.start()
    for process in made:
        process.join()


def by_pool(method: str, children: int, records: int) -> None:
    """Use a pool of two, each of which works for several children."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        for future in [pool.submit(make_all, child, records) for child in range(children)]:
            future.result()


def by_subprocess(children: int, records: int) -> None:
    """Run this program again."""
    made = [
        subprocess.Popen([sys.executable, str(Path(__file__)), "child", str(child), str(records)])
        for child in range(children)
    ]
    for process in made:
        process.wait()


WAYS = {
    "fork": by_fork,
    "fork and _exit": by_fork_and_hard_exit,
    "multiprocessing fork": lambda children, records: by_multiprocessing("fork", children, records),
    "multiprocessing spawn": lambda children, records: by_multiprocessing("spawn", children, records),
    "multiprocessing forkserver": lambda children, records: by_multiprocessing("forkserver", children, records),
    "pool fork": lambda children, records: by_pool("fork", children, records),
    "pool spawn": lambda children, records: by_pool("spawn", children, records),
    "subprocess": by_subprocess,
    "child": make_all,
}

if __name__ == "__main__":
    is_parent = sys.argv[1] != "child"
    if is_parent:
        make(BEFORE)
    WAYS[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
    if is_parent:
        make(AFTER)
