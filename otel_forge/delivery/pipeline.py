"""The pipeline of one signal: ring, encoding, outbox, sending.

    request thread       | delivery thread
    append to the ring   | take -> settle -> encode -> batch -> outbox (spool, if held up) -> send, retry -> account

The delivery thread empties the ring every half second and writes what is not sent at once, so that a process which is
killed loses less than a second. While it waits for the back end it goes on doing so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import BuiltinFunctionType
from typing import Any

from otel_forge.delivery.accounts import Accounts
from otel_forge.delivery.batch import Fragment, Packer
from otel_forge.delivery.courier import Courier
from otel_forge.delivery.outbox import Outbox
from otel_forge.delivery.patience import CutShort
from otel_forge.delivery.ring import Ring
from otel_forge.delivery.worker import Worker
from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard
from otel_forge.settings import BatchSettings, Signal

TICK = 0.5
"""Seconds that a record stays in the ring at the most."""

SHORT_DELAY = 1.0
"""Up to this schedule delay, in seconds, what a tick takes is sent at once: to write it first would cost as much."""

TURN, LOOK_EVERY = 0.0008, 8
"""Seconds of encoding before the thread lets others have the interpreter, and the records between looks at the clock.
Each turn costs everybody some 0.1 ms for the hand-over, so it is as long as a request may be kept waiting."""

TURN_OF_OTHERS = 0.00005
"""Seconds that a thread sleeps to give way; less would not be enough for another to wake up and take the lock."""

OVERSLEPT = 0.0002
"""Seconds by which a sleep is usually longer than asked for."""

OTHERS_COME = 0.002
"""Seconds that the delivery thread waits, after a turn, for a request thread to give it the next one. If none comes,
the program is idle or makes no records, and until the end of the round others get no more than `TURN_OF_OTHERS`."""

TURNS_OF_A_REQUEST = 6
"""So often do request threads give way while a request to the back end is on its way: it calls into the system some
five times, and where the other side is far away they shall not go on for long."""

YIELD_EVERY, PATIENCE = 32, 32
"""A thread that appends in a loop outruns the delivery thread, which gets the interpreter only every 5 ms. So once the
ring is three quarters full, every 32nd record lets it have a turn of some 0.1 ms. After 32 turns without a batch taken
nobody waits any more."""

COMMIT_WAIT = 1.0
"""Seconds that a request thread waits for its record to be on the disk, where that is asked for."""


class Commits:
    """Lets threads wait until what they appended is on the disk: one round serves all who came before it began."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Be as new, in a forked child."""
        self._changed = threading.Condition()
        self._begun = self._done = 0

    def wait(self, wake: Callable[[], object]) -> None:
        """Wait for a round that begins from now on, one second at the most; `wake` asks for one."""
        with self._changed:
            wanted = self._begun + 1
        wake()
        with self._changed:
            self._changed.wait_for(lambda: self._done >= wanted, COMMIT_WAIT)

    def begin(self) -> None:
        """Begin a round: what is appended from now on may not be in it."""
        with self._changed:
            self._begun += 1

    def end(self) -> None:
        """Say that the round is on the disk."""
        with self._changed:
            self._done = self._begun
            self._changed.notify_all()


class Pipeline:
    """Takes records of one signal by `append` and delivers them through `courier`.

    The thread sends at the interval, or when the ring is half full: two threads at work at once slow each other down,
    by far more than what one wake-up a batch would gain. While there is nothing to do it sleeps until a record comes.

    `has_errors` says whether among records are some to be given up last. With `durable`, `append` returns when the
    record is on the disk.
    `told` is called after each round, and with True when it was the last.
    """

    def __init__(
        self,
        signal: Signal,
        encode: Callable[[Any], bytes],
        packer: Packer,
        outbox: Outbox,
        courier: Courier,
        accounts: Accounts,
        batch: BatchSettings,
        *,
        has_errors: Callable[[Iterable[Any]], bool] = lambda records: False,
        durable: bool = False,
        told: Callable[[bool], object] = lambda is_over: None,
        prepare_thread: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._signal = signal
        self._encode = encode
        self._packer = packer
        self._outbox = outbox
        self._courier = courier
        self._accounts = accounts
        self._has_errors = has_errors
        self._most = batch.max_export_batch_size
        delay = batch.schedule_delay / 1000
        self._tick = min(TICK, delay)
        self._delay = delay if delay > SHORT_DELAY else 0.0
        self._told = told
        self._clock = clock
        self._crowd = batch.max_queue_size * 3 // 4
        self._half = max(batch.max_export_batch_size, batch.max_queue_size // 2)
        self._commits = Commits() if durable else None
        self._turn = threading.Lock()
        self._worker = Worker(
            signal, self._deliver, self._pause, prepare=prepare_thread, finish=self._finish, clock=clock
        )
        self._ring = Ring(
            batch.max_queue_size,
            self._half,
            on_first=self._worker.rouse,
            on_batch=self._wake,
            is_important=lambda record: has_errors((record,)),
            give_way=self._give_way,
            clock=clock,
        )
        self.append: Callable[[Any], object] = self._append_durably if durable else self._ring.append
        """Take one record, from any thread."""
        accounts.attach(signal, self._ring)
        self._renew()
        on_fork_in_child(self._forget)

    def _renew(self) -> None:
        self._lost = 0
        self._patience = PATIENCE
        self._is_resting = True
        self._next_take = self._since = 0.0

    def _forget(self) -> None:
        self._ring.forget()
        self._outbox.forget()
        self._courier.forget()
        self._packer.forget()
        if self._commits is not None:
            self._commits.forget()
        self._renew()

    # -- on any thread ---------------------------------------------------------------------------------------------

    def _append_durably(self, record: Any) -> None:
        self._ring.append(record)
        if self._commits is not None and not self._worker.is_closed:
            self._commits.wait(self._worker.rouse)

    def _wake(self) -> None:
        """Wake the delivery thread, on the thread of a request; if it falls behind, let it have a turn."""
        self._worker.ring()
        waiting = len(self._ring)
        if waiting >= self._crowd and not waiting % YIELD_EVERY and self._patience > 0:
            self._patience -= 1
            with suppress(AssertionError):  # of gevent, in a callback of its loop, where nothing may sleep
                time.sleep(TURN_OF_OTHERS)

    def _give_way(self) -> None:
        """Let the delivery thread have the interpreter, on the thread of a request."""
        if self._turn.locked():
            with suppress(RuntimeError):  # released by two at once
                self._turn.release()
        if type(time.sleep) is BuiltinFunctionType:  # greenlets have nothing to hand over
            time.sleep(TURN_OF_OTHERS)

    @property
    def _left(self) -> int:
        """Items that are neither delivered nor given up, but for what only lies on the disk of a closed pipeline."""
        return self._accounts.of(self._signal).held

    @property
    def _all_lost(self) -> int:
        return self._lost + self._ring.turned_away + self._outbox.lost

    def flush(self, timeout: float) -> bool:
        """Deliver what was taken so far within `timeout` seconds.

        Returns True only if the back end has taken all of it: nothing is held any more, nothing was dropped meanwhile.
        """
        if self._worker.is_closed:
            return False
        if not self._left:
            return True
        lost = self._all_lost
        return self._worker.flush(timeout) and lost == self._all_lost

    def close(self, timeout: float) -> bool:
        """Deliver what is left within `timeout` seconds and stop; return whether all of it was taken.

        What could not be delivered is in the spool then, and in the accounts as held. Records that come later are
        dropped, counted.
        """
        left = self._left
        done = self._worker.close(timeout, launch=left > 0)
        self._ring.shut()
        return done or not left

    # -- on the delivery thread ------------------------------------------------------------------------------------

    def _pause(self) -> float | None:
        """Return the seconds until there is something to do; None if only a record can bring it."""
        waits = [] if self._is_resting else [self._next_take - self._clock()]
        if self._outbox.backlog:
            waits.append(self._courier.wait or self._tick)
        if self._outbox.until_sweep is not None:
            waits.append(self._outbox.until_sweep)
        if not waits:
            return None
        pause = max(min(waits), 0.0)
        self._ring.ask_for_turn(at=self._clock() + pause + OVERSLEPT)
        return pause

    def _deliver(self, deadline: float | None) -> bool:
        """Do one round; return whether nothing is left of what was there when it began."""
        self._ring.end_wait()
        if deadline is None and self._only_begins():
            return False
        self._outbox.sweep()
        if self._must_take(deadline):
            self._take()
        done = self._send(deadline)
        self._outbox.keep(everything=True)
        self._rest()
        self._told(False)
        return done

    def _only_begins(self) -> bool:
        """Note that a record came after a rest; return whether nothing but that is to be done before the next tick."""
        if not self._is_resting or not self._ring:
            return False
        self._is_resting = False
        self._since = self._clock()
        self._next_take = self._since + self._tick
        return not (self._outbox.items or self._outbox.until_sweep == 0 or self._must_take(None))

    def _must_take(self, deadline: float | None) -> bool:
        if deadline is not None or self._commits is not None or len(self._ring) >= self._half:
            return True
        return not self._is_resting and self._clock() >= self._next_take

    def _send(self, deadline: float | None) -> bool:
        if deadline is None:
            now = self._clock()
            due = self._outbox.fresh_items >= self._most or now - self._since >= self._delay
            if due:
                self._since = now
                self._ring.ask_for_turn(TURNS_OF_A_REQUEST)
            try:
                return self._courier.deliver(due=due, idle=self._meanwhile, go_on=self._go_on)
            finally:
                self._ring.end_wait()
        if self._worker.send_by is not None:
            deadline = min(deadline, self._worker.send_by)
        return self._courier.deliver(deadline, idle=self._meanwhile, again=lambda: not self._worker.is_closed)

    def _rest(self) -> None:
        """Sleep until a record comes, if nothing is there and nothing is to be sent for the first time."""
        self._is_resting = not self._outbox.fresh_items and not self._ring and self._ring.rest()

    def _go_on(self) -> bool:
        """Take what has come while a request was on its way; stop if somebody flushes."""
        if len(self._ring) >= self._most:
            self._take(whole=True)
        if self._outbox.fresh_items:
            self._ring.ask_for_turn(TURNS_OF_A_REQUEST)
        return not self._worker.is_awaited

    def _meanwhile(self) -> None:
        """Do what is to be done while a request is on its way; raises CutShort if there is no time left for that."""
        closing = self._worker.is_closed
        with guard(f"keeping {self._signal} while the back end is waited for"):
            if self._ring and (closing or self._commits is not None or self._is_time_to_take()):
                self._take()
                self._ring.ask_for_turn(TURNS_OF_A_REQUEST)
            self._outbox.keep(everything=closing)
        if self._worker.send_by is not None and self._clock() >= self._worker.send_by:
            raise CutShort

    def _is_time_to_take(self) -> bool:
        return len(self._ring) >= self._most or self._clock() >= self._next_take

    def _take(self, *, whole: bool = False) -> None:
        """Encode what is in the ring, or as many `whole` batches as it has, and put it into the outbox."""
        if self._commits is not None:
            self._commits.begin()
            whole = False
        is_awaited = self._commits is not None or self._worker.is_closed  # by threads that append nothing meanwhile
        self._others_come = TURN_OF_OTHERS if is_awaited else OTHERS_COME
        self._turn_ends = time.monotonic() + TURN
        to_take = len(self._ring)
        while to_take >= (self._most if whole else 1):
            to_take -= self._take_batch()
        self._next_take = self._clock() + self._tick
        if self._commits is not None:
            self._outbox.keep(everything=True)
            self._commits.end()

    def _take_batch(self) -> int:
        """Encode the next records, as many as one request may have; return how many were taken."""
        self._patience = PATIENCE
        hand = self._accounts.hand(self._signal)
        self._ring.take(self._most, hand)
        taken = len(hand)
        important = self._is_important(hand)
        fragments = self._encoded(hand)
        if taken == self._most:
            self._let_others()  # to put a whole batch together takes a good part of a turn
        lost = taken - len(fragments)
        batches = self._packer.pack(fragments, important=important)
        size = sum([batch.size for batch in batches])
        self._accounts.accept(self._signal, len(fragments), size, unencodable=lost)
        self._lost += lost
        for batch in batches:
            self._outbox.add(batch)
        return taken or 1

    def _encoded(self, records: Iterable[Any]) -> list[Fragment]:
        """Return the fragments of those records that can be encoded."""
        fragments: list[Fragment] = []
        encode = self._encode
        for number, record in enumerate(records, 1):
            try:
                record.settle()
                data = encode(record)
            except Exception:  # noqa: BLE001 - changed by another thread while it was read; a second look is enough
                data = _again(encode, record)
            if data:
                fragments.append((record.scope, data, 1))
            if not number % LOOK_EVERY and time.monotonic() > self._turn_ends:
                self._let_others()
        return fragments

    def _let_others(self) -> None:
        """Let request threads have the interpreter until one of them gives it back, but not for long.

        Whoever waits for a lock of ours does not wait for the interpreter's (see `Ring.ask_for_turn`).
        """
        turn = self._turn = threading.Lock()  # of greenlets, if gevent has come meanwhile
        turn.acquire()
        self._ring.ask_for_turn()
        if not turn.acquire(timeout=self._others_come):
            self._others_come = TURN_OF_OTHERS
        self._ring.end_wait()
        self._turn_ends = time.monotonic() + TURN

    def _is_important(self, records: Iterable[Any]) -> bool:
        try:
            return self._has_errors(records)
        except Exception:  # noqa: BLE001 - no such record as is known: nothing to be kept for
            return False

    def _finish(self) -> None:
        self._outbox.close()
        self._courier.close()
        self._told(True)


def _again(encode: Callable[[Any], bytes], record: Any) -> bytes:
    try:
        return encode(record)
    except Exception:  # noqa: BLE001 - counted by the caller
        return b""
