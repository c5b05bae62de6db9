"""The pipeline of metrics: collected when due or asked for, and kept while they cannot be sent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from otel_forge.delivery.metrics import MetricPipeline
from tests.delivery.parts import DELIVERED, LATER, Parts, Sending
from tests.delivery.scripted import eventually

HOUR = 3600.0


class BackEnd(Sending):
    """Takes what comes, unless it is down."""

    def __init__(self) -> None:
        self.is_down = False
        super().__init__(lambda body: LATER if self.is_down else DELIVERED)


class Scene:
    """A pipeline whose collections are numbered, three points each."""

    def __init__(self, interval: float, folder: Path | None = None) -> None:
        self.back_end = BackEnd()
        self.parts = Parts(self.back_end, signal="metrics", folder=folder)
        self.collected = 0
        self.timeouts: list[float] = []
        parts = self.parts
        self.pipeline = MetricPipeline(
            self._collect,
            parts.packer,
            parts.outbox,
            parts.courier,
            parts.accounts,
            interval=interval,
            collect_timeout=30,
        )

    def _collect(self, timeout: float) -> tuple[list[Any], int]:
        self.collected += 1
        self.timeouts.append(timeout)
        return [("scope", str(self.collected).encode(), 3)], 0

    @property
    def counts(self) -> dict[str, Any]:
        return self.parts.counts


@contextmanager
def running(interval: float, folder: Path | None = None) -> Iterator[Scene]:
    scene = Scene(interval, folder)
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
        assert scene.counts == {"created": 3, "delivered": 3}
        assert 0 < scene.timeouts[0] <= 5


def test_a_collection_that_cannot_be_sent_is_kept() -> None:
    """With delta temporality nobody else has those numbers any more."""
    with running(HOUR) as scene:
        scene.back_end.is_down = True
        assert not scene.pipeline.flush(5)
        assert scene.counts == {"created": 3, "in_memory": 3}
        scene.back_end.is_down = False
        assert scene.pipeline.flush(5)
        assert scene.back_end.bodies == [b"12"]


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
        eventually(lambda: scene.counts.get("in_memory"))
        child = os.fork()
        if child == 0:
            scene.back_end.is_down = False
            scene.collected = 100
            eventually(lambda: scene.back_end.bodies)
            os._exit(0 if scene.back_end.bodies[0] == b"101" else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_a_collection_that_is_held_up_is_written(tmp_path: Path) -> None:
    """And later ones come after it, in the order of their time."""
    scene = Scene(HOUR, tmp_path)
    scene.back_end.is_down = True
    assert not scene.pipeline.flush(5)
    assert scene.counts == {"created": 3, "on_disk": 3}
    scene.back_end.is_down = False
    assert scene.pipeline.flush(5)
    assert b"".join(scene.back_end.bodies) == b"12"
    scene.pipeline.close(5)


def test_what_the_last_process_left_is_delivered(tmp_path: Path) -> None:
    """Before what is new."""
    first = Scene(HOUR, tmp_path)
    first.back_end.is_down = True
    assert not first.pipeline.close(5)
    assert first.counts == {"created": 3, "on_disk": 3}
    with running(HOUR, tmp_path) as second:
        assert second.pipeline.flush(5)
        assert b"".join(second.back_end.bodies) == b"11"
        assert second.counts == {"created": 6, "taken_over": 3, "delivered": 6}
