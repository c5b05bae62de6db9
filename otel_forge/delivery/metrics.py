"""The pipeline of metrics: collected at an interval, delivered like everything else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from otel_forge.delivery.accounts import Accounts
from otel_forge.delivery.batch import Fragment
from otel_forge.delivery.courier import Courier
from otel_forge.delivery.fork import on_fork_in_child
from otel_forge.delivery.worker import Worker


class MetricPipeline:
    """Calls `collect` every `interval` seconds and delivers the fragments that it returns.

    ``collect(timeout)`` gathers and encodes; metrics exist from the start, so `start` starts the thread.
    """

    def __init__(
        self,
        collect: Callable[[float], Sequence[Fragment]],
        courier: Courier,
        accounts: Accounts,
        *,
        interval: float,
        collect_timeout: float,
        prepare_thread: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collect = collect
        self._courier = courier
        self._accounts = accounts
        self._interval = interval
        self._collect_timeout = collect_timeout
        self._clock = clock
        self._due = clock() + interval
        self._worker = Worker(
            "metrics",
            self._deliver,
            interval,
            pause=self._pause,
            prepare=prepare_thread,
            finish=courier.close,
            clock=clock,
        )
        accounts.watch("metrics", lambda: (0, courier.held))
        on_fork_in_child(self._forget)

    def _forget(self) -> None:
        self._courier.forget()
        self._due = self._clock() + self._interval
        self.start()

    def start(self) -> None:
        """Start collecting; a forked child does so by itself."""
        self._worker.start()

    def flush(self, timeout: float) -> bool:
        """Collect and deliver within `timeout` seconds; return whether the back end has taken everything."""
        if self._worker.is_closed:
            return False
        lost = self._courier.lost
        return self._worker.flush(timeout) and lost == self._courier.lost

    def close(self, timeout: float) -> bool:
        """Collect and deliver for the last time, within `timeout` seconds, and stop."""
        return self._worker.close(timeout)

    def _pause(self) -> float:
        until_due = max(self._due - self._clock(), 0.001)
        return min(until_due, self._courier.wait or until_due)

    def _deliver(self, deadline: float | None) -> bool:
        now = self._clock()
        if deadline is not None or now >= self._due:
            self._due = now + self._interval
            timeout = self._collect_timeout if deadline is None else min(deadline - now, self._collect_timeout)
            self._add(self._collect(max(timeout, 0.001)))
        self._courier.deliver(deadline)
        return not self._courier.held

    def _add(self, fragments: Sequence[Fragment]) -> None:
        self._accounts.created("metrics", sum([items for _, _, items in fragments]))
        self._courier.add(fragments)


def points_of(metric: Any) -> int:
    """Return how many points a metric has."""
    return len(metric.data.data_points)
