"""The courier: takes batches to the back end one request after the other, and decides when to try again.

After a failure it waits, longer each time, or as long as the other side asks for; meanwhile batches wait in
the outbox. When the back end is there again, fresh batches and the backlog take turns; how many requests of the
backlog go in one round grows with each that is taken and is halved by each failure, so that an outage ends neither
with a flood nor with a standstill.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from otel_forge.delivery.accounts import Reason
from otel_forge.delivery.answers import Outcome, Verdict
from otel_forge.delivery.outbox import Outbox, Shipment
from otel_forge.delivery.patience import nothing

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
"""Seconds before the second try, and at the most between two tries that nobody asked to put off."""

LONGEST_RETRY_AFTER = 600.0
"""Seconds that are waited at the most where the other side asks for it: a mistake there must not cost a day."""

MOST_REPLAYS = 64
"""Requests of the backlog in one round, of which there are two a second, at the most."""

BISECTIONS = 64
"""Requests that may be spent on finding the record for which a back end answers 400; each delivery grants one more."""


class Sends(Protocol):
    """A sender, as the courier sees it: one request at a time, whose outcome it returns. It never raises."""

    @property
    def address(self) -> str:
        """Where it sends to, as a person needs to see it."""

    def send(
        self,
        body: bytes,
        timeout: float | None = None,
        *,
        ids: Sequence[str] = (),
        idle: Callable[[], object] = nothing,
    ) -> Outcome:
        """Send one request within `timeout` seconds, or the settings' time-out if that is less.

        `ids` are those of the batches in it. `idle` is called at least every 0.1 s while there is nothing to do but
        wait; what it raises (`CutShort`) ends the request at once.
        """

    def close(self) -> None:
        """Let go of the connection."""


class Courier:
    """Delivers what is in the outbox of one signal; used by one thread.

    `failed` is told of each request that fails, in words; `recovered`, once the backlog of an outage is delivered, how
    many items that were.
    """

    def __init__(
        self,
        sender: Sends,
        outbox: Outbox,
        failed: Callable[[str], object] = lambda reason: None,
        recovered: Callable[[int], object] = lambda items: None,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] | None = None,
    ) -> None:
        self.address = sender.address
        self._sender = sender
        self._outbox = outbox
        self._failed = failed
        self._recovered = recovered
        self._clock = clock
        self._random = random or Random().random  # noqa: S311 - jitter
        self._reset()

    def _reset(self) -> None:
        self.failure = ""
        """Why the last request failed; empty if it did not."""
        self.is_catching_up = False
        """Whether requests fail, or the backlog of such a time is not delivered yet."""
        self._failures = 0
        self._not_before = self._asked_for = -math.inf
        self._share = 1
        self._replayed = 0
        self._bisections = BISECTIONS

    def forget(self) -> None:
        """Let go of what is the parent's, in a forked child."""
        self._reset()

    def close(self) -> None:
        """Let go of the connection."""
        self._sender.close()

    @property
    def wait(self) -> float:
        """Seconds until the next try may be made."""
        return max(self._not_before - self._clock(), 0.0)

    def deliver(
        self,
        deadline: float | None = None,
        *,
        due: bool = True,
        idle: Callable[[], object] = nothing,
        go_on: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Send what waits, as far as that goes and `go_on`, asked after each request, says; return if all is sent.

        Fresh batches are sent if they are `due`. With a `deadline` (of the clock) everything is tried now, whether its
        turn has come or not, and until then; only a time that the back end asked for is waited for all the same.
        """
        if self._clock() < (self._not_before if deadline is None else self._asked_for):
            return False
        replays = self._share if deadline is None else MOST_REPLAYS * self._outbox.backlog
        replay_first = False
        while deadline is None or self._clock() < deadline:
            shipment = self._next(due, replays > 0, replay_first)
            if shipment is None:
                break
            replays -= not shipment.fresh
            replay_first = shipment.fresh
            timeout = None if deadline is None else deadline - self._clock()
            outcome = self._sender.send(shipment.body, timeout, ids=shipment.ids, idle=idle)
            if not self._settle(shipment, outcome) or not go_on():
                break
        return not self._outbox.items

    def _next(self, due: bool, replay: bool, replay_first: bool) -> Shipment | None:
        """Return what goes next: fresh batches and the backlog take turns."""
        for fresh in (False, True) if replay_first else (True, False):
            if due if fresh else replay:
                shipment = self._outbox.take(fresh=fresh)
                if shipment is not None:
                    return shipment
        return None

    def _settle(self, shipment: Shipment, outcome: Outcome) -> bool:
        """Do with `shipment` what the outcome says; return whether to go on with the next."""
        if outcome.verdict is Verdict.LATER:
            self._outbox.put_back(shipment)
            self._put_off(outcome)
            return False
        self._failures, self.failure = 0, ""
        if outcome.verdict is Verdict.DELIVERED:
            self._delivered(shipment, outcome)
        elif not self._is_cut(shipment, outcome):
            too_large = outcome.verdict is Verdict.TOO_LARGE
            self._outbox.give_up(shipment, Reason.TOO_LARGE if too_large else Reason.REFUSED)
            self._note(outcome.reason)
        self._catch_up()
        return True

    def _delivered(self, shipment: Shipment, outcome: Outcome) -> None:
        rejected = self._outbox.deliver(shipment, outcome.rejected)
        self._bisections = min(self._bisections + 1, BISECTIONS)
        if not shipment.fresh:
            self._share = min(self._share + 1, MOST_REPLAYS)
            self._replayed += shipment.items - rejected
        if rejected:
            self._note(f"{rejected} rejected: {outcome.reason}" if outcome.reason else f"{rejected} rejected")

    def _is_cut(self, shipment: Shipment, outcome: Outcome) -> bool:
        """Have a shipment that is not taken sent in parts, where that may help; return whether it is."""
        too_large = outcome.verdict is Verdict.TOO_LARGE
        if not too_large and len(shipment.parts) == 1:
            if outcome.status != 400 or not self._bisections:
                return False
            self._bisections -= 1
        return self._outbox.split(shipment, too_large=too_large)

    def _catch_up(self) -> None:
        if self.is_catching_up and not self._outbox.backlog:
            self.is_catching_up = False
            replayed, self._replayed = self._replayed, 0
            self._recovered(replayed)

    def _put_off(self, outcome: Outcome) -> None:
        wait = min(FIRST_WAIT * 2.0**self._failures, LONGEST_WAIT) * (0.5 + self._random() / 2)
        self._failures = min(self._failures + 1, 16)
        self._share = max(self._share // 2, 1)
        self.is_catching_up = True
        now = self._clock()
        self._asked_for = now + min(outcome.retry_after or 0.0, LONGEST_RETRY_AFTER)
        self._not_before = max(now + wait, self._asked_for)
        self._note(outcome.reason)

    def _note(self, reason: str) -> None:
        self.failure = reason
        self._failed(reason)
