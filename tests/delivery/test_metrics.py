"""The pipeline of metrics: collected when due or asked for, and kept while they cannot be sent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from otel_forge.delivery.accounts import Account, Accounts
from otel_forge.delivery.answers import Outcome, Verdict
from otel_forge.delivery.courier import Courier
from otel_forge.delivery.metrics import MetricPipeline
from tests.delivery.scripted import eventually

HOUR = 3600.0


class BackEnd:
    """Takes what comes, unless it is down."""

    def __init__(self) -> None:
        self.is_down = False
        self.bodies: list[bytes] = []

    def send(self, body: bytes, timeout: float | None = None) -> Outcome:
        if self.is_down:
            return Outcome(Verdict.LATER, "down")
        self.bodies.append(body)
        return Outcome(Verdict.DELIVERED)

    def close(self) -> None:
        """Have nothing to close."""


class Scene:
    """A pipeline whose collections are numbered, three points each."""

    def __init__(self, interval: float) -> None:
        self.back_end = BackEnd()
        self.accounts = Accounts()
        self.collected = 0
        self.timeouts: list[float] = []
        courier = Courier(
            "metrics", self.back_end, lambda batch: b"".join(data for _, data, _ in batch.fragments), self.accounts
        )
        self.pipeline = MetricPipeline(self._collect, courier, self.accounts, interval=interval, collect_timeout=30)

    def _collect(self, timeout: float) -> list[Any]:
        self.collected += 1
        self.timeouts.append(timeout)
        return [("scope", str(self.collected).encode(), 3)]

    @property
    def account(self) -> Account:
        account = self.accounts.read()["metrics"]
        assert account.created == account.delivered + account.held + account.lost
        return account


@contextmanager
def running(interval: float) -> Iterator[Scene]:
    scene = Scene(interval)
    scene.pipeline.start()
    yield scene
    scene.pipeline.close(5)


def test_metrics_are_collected_at_the_interval() -> None:
    """Again and again."""
    with running(0.02) as scene:
        eventually(lambda: len(scene.back_end.bodies) >= 3)
        assert scene.back_end.bodies[:3] == [b"1", b"2", b"3"]


def test_flush_collects_at_once_and_in_no_more_time_than_there_is() -> None:
    """The interval here is an hour."""
    with running(HOUR) as scene:
        assert scene.pipeline.flush(5)
        assert scene.account == Account(created=3, delivered=3)
        assert 0 < scene.timeouts[0] <= 5


def test_a_collection_that_cannot_be_sent_is_kept() -> None:
    """With delta temporality nobody else has those numbers any more."""
    with running(HOUR) as scene:
        scene.back_end.is_down = True
        assert not scene.pipeline.flush(5)
        assert scene.account == Account(created=3, held=3)
        scene.back_end.is_down = False
        assert scene.pipeline.flush(5)
        assert scene.back_end.bodies == [b"1", b"2"]


def test_closing_collects_for_the_last_time() -> None:
    """Even what was measured a moment ago arrives."""
    with running(HOUR) as scene:
        assert scene.pipeline.close(5)
        assert scene.back_end.bodies == [b"1"]
        assert not scene.pipeline.flush(5)


def test_a_forked_child_collects_by_itself() -> None:
    """And has nothing of its parent's to send."""
    with running(0.02) as scene:
        scene.back_end.is_down = True
        eventually(lambda: scene.account.held)
        child = os.fork()
        if child == 0:
            scene.back_end.is_down = False
            scene.collected = 100
            eventually(lambda: scene.back_end.bodies)
            os._exit(0 if scene.back_end.bodies[0] == b"101" else 1)
        assert os.waitpid(child, 0)[1] == 0
