"""The pipeline of one signal: ring, encoding, outbox, sending.

    request thread       | delivery thread
    append to the ring   | take -> settle -> encode -> batch -> outbox -> send, retry -> account

A fragment exists as bytes before it is queued for sending; that is the place for a spool on disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from otel_forge.delivery.accounts import Accounts
from otel_forge.delivery.batch import Fragment
from otel_forge.delivery.courier import Courier
from otel_forge.delivery.fork import on_fork_in_child
from otel_forge.delivery.ring import Ring
from otel_forge.delivery.worker import Worker
from otel_forge.settings import BatchSettings, Signal

MAX_BATCH_BYTES = 1024 * 1024
"""A batch that has reached this size is sent, however few records it holds."""

TURN, LOOK_EVERY = 0.0008, 32
"""Seconds of encoding before the thread lets others have the interpreter, and the records between looks at the clock.
Each turn costs everybody some 0.1 ms for the hand-over, so it is as long as a request may be kept waiting."""

TURN_OF_OTHERS = 0.00005
"""Seconds to sleep then; less would not be enough for a waiting thread to wake up and take the lock."""

YIELD_EVERY, PATIENCE = 32, 32
"""A thread that appends in a loop outruns the delivery thread, which gets the interpreter only every 5 ms. So once the
ring is three quarters full, every 32nd record lets it have a turn of some 0.1 ms. After 32 turns without a batch taken
(the back end hangs, say) nobody waits any more."""

QUEUE_FULL, NOT_ENCODABLE, TOO_LATE = "queue full", "not encodable", "after the end"


class Pipeline:
    """Takes records of one signal by `append` and delivers them through `courier`.

    The thread is woken at the interval, or when the ring is half full: two threads at work at once slow each other
    down, by far more than what one wake-up a batch would gain.
    """

    def __init__(
        self,
        signal: Signal,
        encode: Callable[[Any], bytes],
        courier: Courier,
        accounts: Accounts,
        batch: BatchSettings,
        *,
        prepare_thread: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        max_batch_bytes: int = MAX_BATCH_BYTES,
    ) -> None:
        self._signal = signal
        self._encode = encode
        self._courier = courier
        self._accounts = accounts
        self._most = batch.max_export_batch_size
        self._most_bytes = max_batch_bytes
        self._clock = clock
        self._lost = 0
        self._in_hand = 0
        self._crowd = batch.max_queue_size * 3 // 4
        self._patience = PATIENCE
        self._worker = Worker(
            signal,
            self._deliver,
            batch.schedule_delay / 1000,
            pause=lambda: courier.wait,
            prepare=prepare_thread,
            finish=courier.close,
            clock=clock,
        )
        self._ring = Ring(
            batch.max_queue_size,
            max(batch.max_export_batch_size, batch.max_queue_size // 2),
            on_first=self._worker.start,
            on_batch=self._wake,
            dropped=self._overflowed,
            give_way=lambda: time.sleep(TURN_OF_OTHERS),
        )
        self.append: Callable[[Any], object] = self._ring.append
        """Take one record, from any thread."""
        accounts.watch(signal, lambda: (len(self._ring) + self._in_hand, courier.held))
        on_fork_in_child(self._forget)

    def _forget(self) -> None:
        self._ring.forget()
        self._courier.forget()
        self._in_hand = self._lost = 0

    def _wake(self) -> None:
        """Wake the delivery thread, on the thread of a request; if it falls behind, let it have a turn."""
        self._worker.ring()
        waiting = len(self._ring)
        if waiting >= self._crowd and not waiting % YIELD_EVERY and self._patience > 0:
            self._patience -= 1
            time.sleep(TURN_OF_OTHERS)

    def flush(self, timeout: float) -> bool:
        """Deliver what was taken so far within `timeout` seconds.

        Returns True only if the back end has taken all of it: nothing is held any more, nothing was dropped meanwhile.
        """
        if self._worker.is_closed:
            return False
        if not (self._ring or self._in_hand or self._courier.held):
            return True
        lost = self._lost + self._courier.lost
        return self._worker.flush(timeout) and lost == self._lost + self._courier.lost

    def close(self, timeout: float) -> bool:
        """Deliver what is left within `timeout` seconds and stop; return whether all of it was taken.

        What could not be delivered stays in the accounts as held. Records that come later are dropped, counted.
        """
        left = len(self._ring) + self._in_hand + self._courier.held
        done = self._worker.close(timeout if left else 0)
        self._ring.shut()
        return done or not left

    def _deliver(self, deadline: float | None) -> bool:
        """Do one round in the delivery thread; return whether nothing is left of what was there when it began."""
        to_take = len(self._ring)
        while to_take > 0:
            to_take -= self._take_batch()
        return self._courier.deliver(deadline, self._keep_up) if deadline is None else self._courier.deliver(deadline)

    def _keep_up(self) -> bool:
        """Take what has come while a batch was sent, so that the ring does not overflow; stop if somebody flushes."""
        while len(self._ring) >= self._most and not self._worker.is_awaited:
            self._take_batch()
        return not self._worker.is_awaited

    def _take_batch(self) -> int:
        """Encode the next records into one batch; return how many were taken."""
        self._patience = PATIENCE
        fragments: list[Fragment] = []
        size = taken = lost = 0
        encode = self._encode
        turn_ends = time.monotonic() + TURN
        for record in self._ring.take(self._most):
            taken += 1
            self._in_hand = taken
            try:
                record.settle()
                data = encode(record)
            except Exception:  # noqa: BLE001 - changed by another thread while it was read; a second look is enough
                data = _again(encode, record)
            if data:
                fragments.append((record.scope, data, 1))
                size += len(data)
            else:
                lost += 1
            if size >= self._most_bytes:
                break
            if not taken % LOOK_EVERY and time.monotonic() > turn_ends:
                self._ring.ask_for_turn()
                time.sleep(TURN_OF_OTHERS)
                self._ring.end_wait()
                turn_ends = time.monotonic() + TURN
        self._accounts.created(self._signal, taken)
        self._in_hand = 0
        self._courier.add(fragments)
        if lost:
            self._lost += lost
            self._accounts.dropped(self._signal, NOT_ENCODABLE, lost)
        return taken or 1

    def _overflowed(self, items: int) -> None:
        self._lost += items
        self._accounts.created(self._signal, items)
        self._accounts.dropped(self._signal, TOO_LATE if self._worker.is_closed else QUEUE_FULL, items)


def _again(encode: Callable[[Any], bytes], record: Any) -> bytes:
    try:
        return encode(record)
    except Exception:  # noqa: BLE001 - counted by the caller
        return b""
