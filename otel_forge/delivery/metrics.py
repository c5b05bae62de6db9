"""The pipeline of metrics: collected at an interval, delivered like everything else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from otel_forge.delivery.accounts import Accounts
from otel_forge.delivery.batch import Fragment, Packer
from otel_forge.delivery.courier import Courier
from otel_forge.delivery.outbox import Outbox
from otel_forge.delivery.patience import CutShort
from otel_forge.delivery.worker import Worker
from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard

ROUND = 0.5
"""Seconds between two rounds while a backlog is delivered."""


class MetricPipeline:
    """Calls `collect` every `interval` seconds and delivers what it returns: fragments, and how many points were lost.

    ``collect(timeout)`` gathers and encodes; metrics exist from the start, so `start` starts the thread. With `durable`
    a collection is on the disk before it is sent. `told` is called after each round, with True when it was the last.
    """

    def __init__(
        self,
        collect: Callable[[float], tuple[Sequence[Fragment], int]],
        packer: Packer,
        outbox: Outbox,
        courier: Courier,
        accounts: Accounts,
        *,
        interval: float,
        collect_timeout: float,
        durable: bool = False,
        told: Callable[[bool], object] = lambda is_over: None,
        prepare_thread: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collect = collect
        self._packer = packer
        self._outbox = outbox
        self._courier = courier
        self._accounts = accounts
        self._interval = interval
        self._collect_timeout = collect_timeout
        self._durable = durable
        self._told = told
        self._clock = clock
        self._due = clock() + interval
        self._worker = Worker(
            "metrics", self._deliver, self._pause, prepare=prepare_thread, finish=self._finish, clock=clock
        )
        on_fork_in_child(self._forget)

    def _forget(self) -> None:
        self._outbox.forget()
        self._courier.forget()
        self._packer.forget()
        self._due = self._clock() + self._interval
        self.start()

    def start(self) -> None:
        """Start collecting; a forked child does so by itself."""
        self._worker.start()

    def flush(self, timeout: float) -> bool:
        """Collect and deliver within `timeout` seconds; return whether the back end has taken everything."""
        if self._worker.is_closed:
            return False
        lost = self._outbox.lost
        return self._worker.flush(timeout) and lost == self._outbox.lost

    def close(self, timeout: float) -> bool:
        """Collect and deliver for the last time, within `timeout` seconds, and stop; what is left is in the spool."""
        return self._worker.close(timeout)

    def _pause(self) -> float:
        waits = [self._due - self._clock()]
        if self._outbox.backlog:
            waits.append(self._courier.wait or ROUND)
        if self._outbox.until_sweep is not None:
            waits.append(self._outbox.until_sweep)
        return max(min(waits), 0.0)

    def _deliver(self, deadline: float | None) -> bool:
        self._outbox.sweep()
        now = self._clock()
        if self._worker.send_by is not None:
            deadline = self._worker.send_by
        if deadline is not None or now >= self._due:
            self._due = now + self._interval
            timeout = self._collect_timeout if deadline is None else min(deadline - now, self._collect_timeout)
            self._add(*self._collect(max(timeout, 0.001)))
        self._outbox.keep(everything=self._durable)
        done = self._courier.deliver(deadline, idle=self._meanwhile, again=lambda: not self._worker.is_closed)
        self._outbox.keep(everything=True)
        self._told(False)
        return done

    def _meanwhile(self) -> None:
        """Write what is held up while a request is on its way; raises CutShort if there is no time left for that."""
        with guard("keeping metrics while the back end is waited for"):
            self._outbox.keep(everything=self._worker.is_closed)
        if self._worker.send_by is not None and self._clock() >= self._worker.send_by:
            raise CutShort

    def _add(self, fragments: Sequence[Fragment], lost: int) -> None:
        batches = self._packer.pack(fragments)
        items = sum([batch.items for batch in batches])
        self._accounts.accept("metrics", items, sum([batch.size for batch in batches]), unencodable=lost)
        for batch in batches:
            self._outbox.add(batch)

    def _finish(self) -> None:
        self._outbox.close()
        self._courier.close()
        self._told(True)


def points_of(metric: Any) -> int:
    """Return how many points a metric has."""
    return len(metric.data.data_points)
