"""The courier: order, waiting, halves, and every item accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from otel_forge.delivery.accounts import Account, Accounts
from otel_forge.delivery.answers import Outcome, Verdict
from otel_forge.delivery.batch import Batch, Fragment, MemoryOutbox
from otel_forge.delivery.courier import Courier

DELIVERED = Outcome(Verdict.DELIVERED)
REFUSED_CONNECTION = Outcome(Verdict.LATER, "connection refused")


class Playing:
    """A sender with a script, and the clock that it and the courier live by."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.sent: list[bytes] = []
        self.timeouts: list[float | None] = []
        self.now = 100.0

    def send(self, body: bytes, timeout: float | None = None) -> Outcome:
        self.sent.append(body)
        self.timeouts.append(timeout)
        return self.outcomes.pop(0) if self.outcomes else DELIVERED

    def close(self) -> None:
        """Have nothing to close."""


class Scene:
    """A courier with its surroundings."""

    def __init__(self, *outcomes: Outcome, capacity: int = 1000) -> None:
        self.playing = Playing(*outcomes)
        self.accounts = Accounts()
        self.said: list[str] = []
        self.courier = Courier(
            "traces",
            self.playing,
            lambda batch: b"|".join(data for _, data, _ in batch.fragments),
            self.accounts,
            self.said.append,
            outbox=MemoryOutbox(capacity, lambda items: self.courier._drop("buffer full", items)),
            clock=lambda: self.playing.now,
            random=lambda: 1.0,
        )
        self.accounts.watch("traces", lambda: (0, self.courier.held))

    def add(self, *names: str) -> None:
        self.accounts.created("traces", len(names))
        self.courier.add(fragments(*names))

    @property
    def account(self) -> Account:
        account = self.accounts.read()["traces"]
        assert account.created == account.delivered + account.held + account.lost
        return account


def fragments(*names: str) -> Sequence[Fragment]:
    return [("scope", name.encode(), 1) for name in names]


def test_batches_go_in_order() -> None:
    """One request each."""
    scene = Scene()
    scene.add("a", "b")
    scene.add("c")
    assert scene.courier.deliver()
    assert scene.playing.sent == [b"a|b", b"c"]
    assert scene.account == Account(created=3, delivered=3)


def test_after_a_failure_it_waits_longer_each_time_and_loses_nothing() -> None:
    """1, 2, 4 seconds (here without jitter), then everything goes."""
    scene = Scene(*[REFUSED_CONNECTION] * 3)
    scene.add("a")
    waits = []
    for _ in range(3):
        assert not scene.courier.deliver()
        waits.append(scene.courier.wait)
        scene.playing.now += scene.courier.wait - 0.01
        assert not scene.courier.deliver()
        scene.playing.now += 0.01
    scene.add("b")
    assert scene.account.held == 2
    assert scene.courier.deliver()
    assert waits == [1.0, 2.0, 4.0]
    assert scene.playing.sent == [b"a"] * 4 + [b"b"]
    assert scene.said == ["connection refused"] * 3
    assert scene.account == Account(created=2, delivered=2)
    assert scene.courier.failure == ""


def test_retry_after_is_honoured_with_the_data_kept() -> None:
    """Nothing is sent before the time that the other side named."""
    scene = Scene(Outcome(Verdict.LATER, "HTTP 429", 429, retry_after=40))
    scene.add("a")
    scene.courier.deliver()
    scene.playing.now += 39.9
    scene.courier.deliver()
    assert len(scene.playing.sent) == 1
    scene.playing.now += 0.1
    scene.courier.deliver()
    assert scene.account == Account(created=1, delivered=1)


def test_who_waits_with_a_deadline_gets_a_try_at_once() -> None:
    """With no more time than is left."""
    scene = Scene(REFUSED_CONNECTION)
    scene.add("a")
    scene.courier.deliver()
    assert scene.courier.deliver(deadline=scene.playing.now + 0.7)
    assert scene.playing.timeouts == [None, pytest.approx(0.7)]
    assert not Scene(REFUSED_CONNECTION).courier.held


def test_a_batch_too_large_goes_in_halves_until_it_fits() -> None:
    """A record too large by itself is dropped, counted; its neighbours arrive."""
    too_large = Outcome(Verdict.TOO_LARGE, "HTTP 413", 413)
    scene = Scene(too_large, DELIVERED, too_large, too_large)
    scene.add("a", "b", "c", "d")
    scene.courier.deliver()
    assert scene.playing.sent == [b"a|b|c|d", b"a|b", b"c|d", b"c", b"d"]
    assert scene.account == Account(created=4, delivered=3, dropped={"too large": 1})


def test_what_is_refused_is_dropped_and_said() -> None:
    """The next batch goes on."""
    scene = Scene(Outcome(Verdict.REFUSED, "HTTP 400 Bad Request", 400))
    scene.add("a", "b")
    scene.add("c")
    assert scene.courier.deliver()
    assert scene.said == ["HTTP 400 Bad Request"]
    assert scene.account == Account(created=3, delivered=1, dropped={"refused": 2})


def test_a_partial_success_counts_what_was_rejected() -> None:
    """Never more than was sent."""
    scene = Scene(Outcome(Verdict.DELIVERED, "quota", 200, rejected=2), Outcome(Verdict.DELIVERED, rejected=99))
    scene.add("a", "b", "c")
    scene.add("d")
    scene.courier.deliver()
    assert scene.said == ["2 rejected: quota", "1 rejected"]
    assert scene.account == Account(created=4, delivered=1, dropped={"rejected": 3})


def test_the_outbox_gives_up_the_oldest_beyond_its_bytes() -> None:
    """Counted; the batch that came last always stays."""
    scene = Scene(REFUSED_CONNECTION, capacity=10)
    for name in ("aaaa", "bbbb", "cccc", "a very long one"):
        scene.add(name)
    assert scene.account.dropped == {"buffer full": 3}
    assert scene.account.held == 1


def test_records_of_a_scope_stand_together() -> None:
    """In the order in which the scopes appear."""
    one, two = object(), object()
    batch = Batch([(one, b"1", 1), (two, b"2", 1), (two, b"3", 1), (one, b"4", 1)])
    groups: list[tuple[Any, list[bytes]]] = batch.by_scope()
    assert groups == [(one, [b"1", b"4"]), (two, [b"2", b"3"])]
