"""The courier: order, waiting, halves, turns of fresh and old, and every item accounted for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from otel_forge.delivery.answers import Outcome, Verdict
from otel_forge.delivery.batch import Packer
from otel_forge.delivery.courier import LONGEST_RETRY_AFTER, Courier
from otel_forge.delivery.patience import nothing
from otel_forge.otlp.splitting import count_records
from tests.delivery.parts import DELIVERED, LATER, Parts, joined, request_of

TOO_LARGE = Outcome(Verdict.TOO_LARGE, "HTTP 413", 413)


class Playing:
    """A sender with a script, and the clock that it and the courier live by."""

    address = "http://back.end"

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.answer: Callable[[bytes], Outcome] = lambda body: DELIVERED
        self.sent: list[bytes] = []
        self.ids: list[Sequence[str]] = []
        self.timeouts: list[float | None] = []
        self.now = 100.0

    def send(
        self,
        body: bytes,
        timeout: float | None = None,
        *,
        ids: Sequence[str] = (),
        idle: Callable[[], object] = nothing,
    ) -> Outcome:
        self.sent.append(body)
        self.ids.append(ids)
        self.timeouts.append(timeout)
        return self.outcomes.pop(0) if self.outcomes else self.answer(body)

    def close(self) -> None:
        """Have nothing to close."""


class Scene(Parts):
    """A courier with its surroundings; a batch for each call of `add`, and requests of one batch."""

    def __init__(self, *outcomes: Outcome, requests: bool = False, max_bytes: int = 1, **outbox: Any) -> None:
        self.playing = Playing(*outcomes)
        super().__init__(self.playing, clock=lambda: self.playing.now, max_bytes=max_bytes, **outbox)
        self.noted: list[str] = []
        self.recovered: list[int] = []
        self.courier = Courier(
            self.playing,
            self.outbox,
            self.noted.append,
            self.recovered.append,
            clock=lambda: self.playing.now,
            random=lambda: 1.0,
        )
        self.packer = Packer("traces", request_of if requests else joined)

    def add(self, *names: str) -> None:
        for batch in self.packer.pack([(None, name.encode(), 1) for name in names]):
            self.accounts.accept("traces", batch.items, batch.size)
            self.outbox.add(batch)

    def add_spans(self, count: int) -> None:
        """Add a proper request of `count` spans."""
        spans = [(None, b"\x12\x03\x2a\x01" + bytes([97 + number]), 1) for number in range(count)]
        for batch in self.packer.pack(spans):
            self.accounts.accept("traces", batch.items, batch.size)
            self.outbox.add(batch)


def test_batches_go_in_order() -> None:
    """One request each, where they don't fit together."""
    scene = Scene()
    scene.add("a", "b")
    scene.add("c")
    assert scene.courier.deliver()
    assert scene.playing.sent == [b"ab", b"c"]
    assert scene.counts == {"created": 3, "delivered": 3}


def test_small_batches_go_together_with_all_their_ids() -> None:
    """One request after the other is one request."""
    scene = Scene(max_bytes=1000)
    for name in "abc":
        scene.add(name)
    assert scene.courier.deliver()
    assert scene.playing.sent == [b"abc"]
    assert len(set(scene.playing.ids[0])) == 3
    assert {len(name) for name in scene.playing.ids[0]} == {16}


def test_after_a_failure_it_waits_longer_each_time_and_loses_nothing() -> None:
    """1, 2, 4 seconds (here without jitter), then everything goes, under the same id."""
    scene = Scene(*[LATER] * 3)
    scene.add("a")
    waits = []
    for _ in range(3):
        assert not scene.courier.deliver()
        waits.append(scene.courier.wait)
        scene.playing.now += scene.courier.wait - 0.01
        assert not scene.courier.deliver()
        scene.playing.now += 0.02
    scene.add("b")
    assert scene.counts == {"created": 2, "in_memory": 2}
    scene.courier.deliver()
    assert scene.courier.deliver()
    assert waits == [1.0, 2.0, 4.0]
    assert scene.playing.sent == [b"a"] * 4 + [b"b"]
    assert len({tuple(ids) for ids in scene.playing.ids[:4]}) == 1
    assert scene.noted == ["connection refused"] * 3
    assert scene.counts == {"created": 2, "delivered": 2}
    assert scene.courier.failure == ""


def test_what_was_kept_during_an_outage_is_counted_when_it_is_over() -> None:
    """Once, when the last of it is delivered."""
    scene = Scene(LATER)
    for name in "abc":
        scene.add(name)
    scene.courier.deliver()
    assert scene.courier.is_catching_up
    scene.playing.now += 10
    scene.courier.deliver()
    assert scene.recovered == []
    scene.courier.deliver()
    assert scene.recovered == [3]
    assert not scene.courier.is_catching_up


@pytest.mark.parametrize(("asked", "waited"), [(40.0, 40.0), (86_400.0, LONGEST_RETRY_AFTER)])
def test_retry_after_is_honoured_with_the_data_kept(asked: float, waited: float) -> None:
    """Nothing is sent before the time that the other side named, not even for a flush; ten minutes at the most."""
    scene = Scene(Outcome(Verdict.LATER, "HTTP 429", 429, retry_after=asked))
    scene.add("a")
    scene.courier.deliver()
    scene.playing.now += waited - 0.1
    assert not scene.courier.deliver()
    assert not scene.courier.deliver(deadline=scene.playing.now + 10)
    assert len(scene.playing.sent) == 1
    scene.playing.now += 0.2
    assert scene.courier.deliver()
    assert scene.counts == {"created": 1, "delivered": 1}


def test_who_waits_with_a_deadline_gets_a_try_at_once() -> None:
    """With no more time than is left."""
    scene = Scene(LATER)
    scene.add("a")
    scene.courier.deliver()
    assert scene.courier.deliver(deadline=scene.playing.now + 0.7)
    assert scene.playing.timeouts == [None, pytest.approx(0.7)]


def test_no_request_is_begun_when_the_deadline_has_passed() -> None:
    """What waits stays where it is."""
    scene = Scene()
    scene.add("a")
    assert not scene.courier.deliver(deadline=scene.playing.now)
    assert scene.playing.sent == []
    assert scene.counts == {"created": 1, "in_memory": 1}


def test_after_an_outage_fresh_and_old_take_turns_and_the_share_of_the_old_grows() -> None:
    """One of the backlog in the first round, and one more for each that was taken."""
    scene = Scene(LATER)
    for name in "abcdefgh":
        scene.add(name)
    scene.courier.deliver()
    scene.playing.now += 10
    rounds = []
    for fresh in ("W", "X", "Y"):
        before = len(scene.playing.sent)
        scene.courier.deliver()
        rounds.append(b"".join(scene.playing.sent[before:]).decode())
        scene.add(fresh)
    assert rounds == ["a", "Wbc", "Xdefg"]


def test_a_failure_halves_the_share_of_the_old() -> None:
    """As 429 and 503 ask for."""
    scene = Scene(LATER)
    for number in range(30):
        scene.add(str(number))
    for expected in (0, 1, 2, 4):
        scene.playing.now += 10
        before = len(scene.playing.sent)
        scene.courier.deliver()
        assert len(scene.playing.sent) - before == max(expected, 1)
    scene.playing.outcomes = [LATER]
    scene.playing.now += 10
    scene.courier.deliver()
    scene.playing.now += 10
    before = len(scene.playing.sent)
    scene.courier.deliver()
    assert len(scene.playing.sent) - before == 4


def test_the_newest_goes_first_where_that_is_wanted() -> None:
    """The other order of a backlog."""
    scene = Scene(LATER, newest_first=True)
    for name in "abc":
        scene.add(name)
    scene.courier.deliver()
    for _ in range(3):
        scene.playing.now += 10
        scene.courier.deliver()
    assert scene.playing.sent == [b"a", b"c", b"b", b"a"]


def test_a_batch_too_large_goes_in_halves_until_it_fits() -> None:
    """A record too large by itself is dropped, counted; its neighbours arrive."""
    scene = Scene(requests=True)
    scene.playing.answer = lambda body: TOO_LARGE if count_records(body) > 1 or b"\x2a\x01c" in body else DELIVERED
    scene.add_spans(4)
    scene.courier.deliver()
    assert [count_records(body) for body in scene.playing.sent] == [4, 2, 1, 1, 2, 1, 1]
    assert scene.counts == {"created": 4, "delivered": 3, "too_large": 1}


def test_batches_too_large_together_go_apart_and_are_not_joined_so_far_again() -> None:
    """The limit of the other side is learned."""
    scene = Scene(max_bytes=1000)
    scene.playing.answer = lambda body: TOO_LARGE if len(body) > 4 else DELIVERED
    for _ in range(2):
        for name in "abcdefgh":
            scene.add(name)
        scene.courier.deliver()
    assert [len(body) for body in scene.playing.sent] == [8, 4, 4, 4, 4]
    assert scene.counts == {"created": 16, "delivered": 16}


def test_one_record_that_is_answered_with_400_does_not_cost_its_neighbours() -> None:
    """The requests that finding it may take are bounded."""
    scene = Scene(requests=True)
    refused = Outcome(Verdict.REFUSED, "HTTP 400 Bad Request", 400)
    scene.playing.answer = lambda body: refused if b"\x2a\x01b" in body else DELIVERED
    scene.add_spans(8)
    scene.courier.deliver()
    assert scene.counts == {"created": 8, "delivered": 7, "refused": 1}
    scene.playing.answer = lambda body: refused
    for _ in range(100):
        scene.add_spans(2)
    before = len(scene.playing.sent)
    scene.courier.deliver()
    assert len(scene.playing.sent) - before <= 100 + 2 * 64


def test_what_is_refused_is_dropped_and_said() -> None:
    """The next batch goes on."""
    scene = Scene(Outcome(Verdict.REFUSED, "HTTP 401 Unauthorized", 401))
    scene.add("a", "b")
    scene.add("c")
    assert scene.courier.deliver()
    assert scene.noted == ["HTTP 401 Unauthorized"]
    assert scene.counts == {"created": 3, "delivered": 1, "refused": 2}


def test_what_is_refused_together_is_tried_one_by_one() -> None:
    """A poison batch takes no others along."""
    scene = Scene(max_bytes=1000)
    refused = Outcome(Verdict.REFUSED, "HTTP 500", 500)
    scene.playing.answer = lambda body: refused if b"b" in body else DELIVERED
    for name in "abc":
        scene.add(name)
    assert scene.courier.deliver()
    assert scene.playing.sent == [b"abc", b"a", b"b", b"c"]
    assert scene.counts == {"created": 3, "delivered": 2, "refused": 1}


def test_a_partial_success_counts_what_was_rejected() -> None:
    """Never more than was sent."""
    scene = Scene(Outcome(Verdict.DELIVERED, "quota", 200, rejected=2), Outcome(Verdict.DELIVERED, rejected=99))
    scene.add("a", "b", "c")
    scene.add("d")
    scene.courier.deliver()
    assert scene.noted == ["2 rejected: quota", "1 rejected"]
    assert scene.counts == {"created": 4, "delivered": 1, "rejected": 3}
