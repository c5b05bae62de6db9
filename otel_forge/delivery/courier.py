"""The courier: takes batches to the back end one after the other, and decides when to try again.

After a failure it waits, longer each time, or as long as the other side asks for; meanwhile batches wait in
the outbox. A batch that is too large goes in halves; one that is refused is dropped and counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from otel_forge.delivery.accounts import Accounts
from otel_forge.delivery.answers import Outcome, Verdict
from otel_forge.delivery.batch import Batch, Fragment, MemoryOutbox, Outbox
from otel_forge.settings import Signal

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
"""Seconds before the second try, and at the most between two tries that nobody asked to put off."""

HELD_BYTES = 8 * 1024 * 1024
"""What one signal keeps of encoded records, in memory, while they can't be sent."""

REJECTED, REFUSED, TOO_LARGE, NO_ROOM = "rejected", "refused", "too large", "buffer full"


class Sends(Protocol):
    """A sender, as the courier sees it."""

    def send(self, body: bytes, timeout: float | None = None) -> Outcome:
        """Send one request."""

    def close(self) -> None:
        """Let go of the connection."""


class Courier:
    """Delivers the batches of one signal; used by one thread."""

    def __init__(
        self,
        signal: Signal,
        sender: Sends,
        assemble: Callable[[Batch], bytes],
        accounts: Accounts,
        failed: Callable[[str], object] = lambda reason: None,
        *,
        outbox: Outbox | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] | None = None,
    ) -> None:
        self._signal = signal
        self._sender = sender
        self._assemble = assemble
        self._accounts = accounts
        self._failed = failed
        self._outbox = outbox or MemoryOutbox(HELD_BYTES, lambda items: self._drop(NO_ROOM, items))
        self._clock = clock
        self._random = random or Random().random  # noqa: S311 - jitter
        self._reset()

    def _reset(self) -> None:
        self.failure = ""
        """Why the last request failed; empty if it did not."""
        self.lost = 0
        """Items given up so far."""
        self._failures = 0
        self._not_before = 0.0

    def forget(self) -> None:
        """Let go of what is the parent's, in a forked child."""
        self._outbox.forget()
        self._reset()

    def close(self) -> None:
        """Let go of the connection."""
        self._sender.close()

    @property
    def held(self) -> int:
        """Items that wait to be delivered."""
        return self._outbox.items

    @property
    def wait(self) -> float:
        """Seconds until the next try may be made."""
        return max(self._not_before - self._clock(), 0.0) if self.held else 0.0

    def add(self, fragments: Sequence[Fragment]) -> None:
        """Take the records of one request."""
        if fragments:
            self._outbox.add(Batch(fragments))

    def deliver(self, deadline: float | None = None, between: Callable[[], bool] = lambda: True) -> bool:
        """Send what waits, as far as that goes and `between`, asked after each request, says; return if all is sent.

        With a `deadline` (of the clock) everything is tried now, whether its turn has come or not, and until then.
        """
        if deadline is None and self._clock() < self._not_before:
            return False
        while (batch := self._outbox.first()) is not None:
            left = None if deadline is None else deadline - self._clock()
            if left is not None and left <= 0:
                return False
            if not self._settle(batch, self._sender.send(self._assemble(batch), left)):
                return False
            if not between():
                break
        return not self.held

    def _settle(self, batch: Batch, outcome: Outcome) -> bool:
        """Do with `batch` what the outcome says; return whether to go on with the next."""
        if outcome.verdict is Verdict.LATER:
            self._put_off(outcome)
            return False
        halves = batch.halves() if outcome.verdict is Verdict.TOO_LARGE else ()
        self._outbox.remove(halves)
        self._failures, self.failure = 0, ""
        if outcome.verdict is Verdict.DELIVERED:
            rejected = min(outcome.rejected, batch.items)
            self._accounts.delivered(self._signal, batch.items - rejected)
            self._drop(REJECTED, rejected)
            if rejected:
                self._note(f"{rejected} rejected: {outcome.reason}" if outcome.reason else f"{rejected} rejected")
        elif not halves:
            self._drop(TOO_LARGE if outcome.verdict is Verdict.TOO_LARGE else REFUSED, batch.items)
            self._note(outcome.reason)
        return True

    def _put_off(self, outcome: Outcome) -> None:
        wait = min(FIRST_WAIT * 2.0**self._failures, LONGEST_WAIT) * (0.5 + self._random() / 2)
        self._failures = min(self._failures + 1, 16)
        self._not_before = self._clock() + max(wait, outcome.retry_after or 0.0)
        self._note(outcome.reason)

    def _note(self, reason: str) -> None:
        self.failure = reason
        self._failed(reason)

    def _drop(self, reason: str, items: int) -> None:
        self.lost += items
        self._accounts.dropped(self._signal, reason, items)
