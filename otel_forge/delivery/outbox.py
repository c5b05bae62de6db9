"""The outbox: where batches wait for their turn, in memory for a moment, on disk as soon as they are held up.

Two rows wait: *fresh* batches, and the *backlog* of an outage or of a dead process. What becomes of a batch is booked
here, so that a batch and its place in the accounts move together. Used by one thread, the delivery thread.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from otel_forge.delivery.accounts import Accounts, Reason
from otel_forge.delivery.batch import Batch, joined, part_ids
from otel_forge.delivery.spool.errors import SpoolFailed, SpoolFull
from otel_forge.otlp.splitting import count_points, count_records, halves
from otel_forge.settings import Signal

if TYPE_CHECKING:
    from otel_forge.delivery.spool import Entry, Spool

HELD_BYTES = 8 * 1024 * 1024
"""What one signal keeps of requests in memory."""

HELD_UP = 0.3
"""Seconds after which a batch that is not delivered yet is written to the spool."""

MAX_REQUEST_BYTES = 1024 * 1024
MAX_REQUEST_BATCHES = 64
"""How far batches are joined to one request; the second keeps the header with their ids below 1.2 KB."""

JOINED_BYTES, JOIN_AT_LEAST = 128 * 1024, 4
"""How large a record becomes by joining small neighbours on the disk in an outage, and how many are worth it. Each
takes half a kilobyte of memory, so a day's outage with two small batches a second would take 80 MB of it."""

SWEEP = 30.0
"""Seconds between two looks for what dead processes left and for what is too old."""


class Held:
    """A batch that waits: its body in memory, or its place in the spool, or both."""

    __slots__ = ("alone", "batch", "entry", "important", "is_settled", "items", "parts", "since", "size")

    def __init__(self, batch: Batch | None, entry: Entry | None, since: float) -> None:
        known = batch or entry
        assert known is not None
        self.batch = batch
        self.entry = entry
        self.items = known.items
        self.size = known.size
        self.important = known.important
        self.parts = (len(batch.parts) if batch is not None else entry.parts if entry is not None else 0) or 1
        self.since = since
        self.alone = False
        """Whether it must not be joined with others: what they were in together was refused."""
        self.is_settled = False


@dataclass(frozen=True)
class Shipment:
    """What goes in one request: batches that wait, each with its body."""

    parts: Sequence[tuple[Held, Batch]]
    fresh: bool

    @property
    def body(self) -> bytes:
        """The request."""
        return self.parts[0][1].body if len(self.parts) == 1 else b"".join([batch.body for _, batch in self.parts])

    @property
    def ids(self) -> Sequence[str]:
        """By which the other side can tell what it has already."""
        return [name for _, batch in self.parts for name in batch.ids]

    @property
    def items(self) -> int:
        """How many spans, log records or points."""
        return sum([held.items for held, _ in self.parts])

    @property
    def size(self) -> int:
        """Bytes of the request."""
        return sum([held.size for held, _ in self.parts])


def _created(held: Held) -> float:
    known = held.batch or held.entry
    return math.inf if known is None else known.created


class Outbox:
    """Holds the batches of one signal; without a spool, or while that fails, in memory alone.

    `say` is told, once, that the spool can't be used, and what in it is not for this version. `newest_first` replays a
    backlog from its end. Metrics always go in the order of their time: stores refuse a point older than the last.
    """

    def __init__(
        self,
        signal: Signal,
        accounts: Accounts,
        spool: Spool | None = None,
        *,
        capacity: int = HELD_BYTES,
        max_items: int = 512,
        max_bytes: int = MAX_REQUEST_BYTES,
        newest_first: bool = False,
        say: Callable[[str], object] = lambda problem: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._signal = signal
        self._accounts = accounts
        self._spool = spool
        self._capacity = capacity
        self._max_items = max_items
        self._most_bytes = max_bytes
        self._in_order = signal == "metrics"
        self._newest_first = newest_first and not self._in_order
        self._say = say
        self._clock = clock
        self._renew()

    def _renew(self) -> None:
        self._fresh: deque[Held] = deque()
        self._backlog: deque[Held] = deque()
        self._unwritten: deque[Held] = deque()
        self._on_its_way: Shipment | None = None
        self._bodies = 0
        self._is_down = False
        self._has_complained = False
        self._damaged = 0
        self._foreign: set[str] = set()
        self._next_sweep = 0.0
        self._joined_up_to = 0
        self._max_bytes = self._most_bytes
        self.place = ""
        """The directory in which `close` has left batches."""
        self.items = 0
        """How many spans, log records or points wait."""
        self.fresh_items = 0
        """How many of them wait to be sent for the first time."""
        self.lost = 0
        """How many were given up."""

    @property
    def oldest(self) -> float | None:
        """When (wall clock) the oldest batch that waits was made; None if none does. From any thread."""
        under_way = self._on_its_way
        waiting = [] if under_way is None else [held for held, _ in under_way.parts]
        with suppress(IndexError):
            waiting += [row[0] for row in (self._backlog, self._fresh) if row]
        return min(map(_created, waiting), default=None)

    def forget(self) -> None:
        """Be as new, as a forked child must: what is here is the parent's to deliver."""
        if self._spool is not None:
            self._spool.forget()
        self._renew()

    def close(self) -> None:
        """Write what is not written, give up what can't be, and let go of the spool; what it holds stays for others."""
        self._keep_all()
        for held in [held for held in self._waiting() if held.entry is None]:
            self._drop(held, Reason.SHUTDOWN_TIMEOUT)
        self._purge()
        if self._spool is not None:
            self.place = self._spool.path
            self._spool.close()

    @property
    def backlog(self) -> int:
        """How many batches wait to be sent once more."""
        return len(self._backlog)

    @property
    def until_sweep(self) -> float | None:
        """Seconds until `sweep` has something to do; None if it never has."""
        return None if self._spool is None else max(self._next_sweep - self._clock(), 0.0)

    # -- taking and writing ----------------------------------------------------------------------------------------

    def add(self, batch: Batch) -> None:
        """Take a batch that the accounts have as held in memory."""
        held = Held(batch, None, self._clock())
        self._bodies += held.size
        self.items += held.items
        if self._spool is not None:
            self._unwritten.append(held)
        if self._is_down or (self._in_order and self._backlog):
            self._backlog.append(held)
        else:
            self._fresh.append(held)
            self.fresh_items += held.items
        if self._bodies > self._capacity:
            self._relieve_memory()

    def keep(self, *, everything: bool = False) -> None:
        """Write what is held up, or everything, as far as the spool can take it."""
        if self._spool is None:
            return
        ripe = self._clock() - HELD_UP
        while self._unwritten and (everything or self._unwritten[0].since <= ripe):
            held = self._unwritten[0]
            try:
                if not held.is_settled:
                    self._write(held, self._spool)
            except SpoolFull:
                pass  # this one stays in memory
            except SpoolFailed as failure:
                self._complain(failure.reason)
                break
            self._unwritten.popleft()
        self._spool.sync()
        self._join_some(self._spool)

    def _keep_all(self) -> None:
        """Write everything, what found no room before included."""
        under_way = [held for held, _ in self._on_its_way.parts] if self._on_its_way else []
        self._unwritten = deque([held for held in (*under_way, *self._waiting()) if held.entry is None])
        self.keep(everything=True)

    def _write(self, held: Held, spool: Spool) -> None:
        """Put a batch into the spool; raises SpoolFull or SpoolFailed."""
        assert held.batch is not None
        self._give_up(spool.make_room(held.size), Reason.SPOOL_FULL)
        held.entry = spool.append(held.batch)
        self._accounts.write(self._signal, held.items, held.size)
        if self._bodies > self._capacity // 2:
            self._let_go(held)

    def _join_some(self, spool: Spool) -> None:
        """In an outage, join the next small neighbours of the backlog on the disk, as many as make one request."""
        row, start = self._backlog, self._joined_up_to
        if not self._is_down or len(row) - start < MAX_REQUEST_BATCHES:
            return
        row.rotate(-start)
        run = self._run_of_small_ones(islice(row, MAX_REQUEST_BATCHES))
        if len(run) >= JOIN_AT_LEAST:
            for _ in run:
                row.popleft()
            run = self._joined(run, spool)
            row.extendleft(reversed(run))
        row.rotate(start)
        self._joined_up_to += max(len(run), 1)

    def _run_of_small_ones(self, helds: Iterable[Held]) -> list[Held]:
        run: list[Held] = []
        size = items = parts = 0
        for held in helds:
            size, items, parts = size + held.size, items + held.items, parts + held.parts
            too_much = size > JOINED_BYTES or items > self._max_items or parts > MAX_REQUEST_BATCHES
            if too_much or held.entry is None or held.alone or held.is_settled:
                break
            run.append(held)
        return run

    def _joined(self, run: list[Held], spool: Spool) -> list[Held]:
        """Return one batch in place of several; the same ones, but for those that are damaged, if it can't be."""
        try:
            found = [(held, batch) for held in run if (batch := self._body_of(held)) is not None]
            entries = [held.entry for held, _ in found if held.entry is not None]
            if not found:
                return []
            whole = joined([batch for _, batch in found])
            entry = spool.join(whole, entries)
        except (SpoolFull, SpoolFailed):
            return [held for held in run if not held.is_settled]
        for held, _ in found:
            held.is_settled = True
            held.entry = None
            if held.batch is not None:
                self._bodies -= held.size
                held.batch = None
        return [Held(None, entry, found[0][0].since)]

    def _complain(self, problem: str) -> None:
        if not self._has_complained:
            self._has_complained = True
            self._say(f"the spool can't be used: {problem}. What can't be delivered is kept in memory only.")

    def _let_go(self, held: Held) -> None:
        """Keep a written batch on disk only."""
        if held.batch is not None and held.entry is not None:
            held.batch = None
            self._bodies -= held.size

    def _relieve_memory(self) -> None:
        """Get below the capacity: by writing, and where that can't be, by giving up the oldest, errors last."""
        self._keep_all()
        for held in self._waiting():
            self._let_go(held)
        in_memory = [held for held in self._waiting() if held.batch is not None]
        in_memory.sort(key=lambda held: held.important)  # stable: the oldest first
        for held in in_memory[:-1]:
            if self._bodies <= self._capacity:
                break
            self._drop(held, Reason.QUEUE_FULL)
        self._purge()

    def _waiting(self) -> Iterator[Held]:
        yield from self._backlog
        yield from self._fresh

    def _purge(self) -> None:
        """Take what is settled out of the rows."""
        self._backlog = deque([held for held in self._backlog if not held.is_settled])
        self._fresh = deque([held for held in self._fresh if not held.is_settled])
        self._unwritten = deque([held for held in self._unwritten if not held.is_settled])
        self.fresh_items = sum([held.items for held in self._fresh])

    # -- what the spool gives and takes ----------------------------------------------------------------------------

    def sweep(self) -> None:
        """Take over what dead processes left, and give up what is too old, if it is time to look again."""
        if self._spool is None or self._clock() < self._next_sweep:
            return
        self._next_sweep = self._clock() + SWEEP
        self._joined_up_to = 0
        self._give_up(self._spool.expired(), Reason.EXPIRED)
        found = [Held(None, entry, self._clock()) for entry in self._spool.take_over()]
        for path in sorted(self._spool.foreign - self._foreign):
            self._say(f"{path} was written by another version and is left alone.")
        self._foreign |= self._spool.foreign
        for held in found:
            self._accounts.take_over(self._signal, held.items, held.size)
            self.items += held.items
        self._backlog.extendleft(reversed(found))
        damaged = self._spool.damaged_items - self._damaged
        if damaged:
            self._damaged += damaged
            self._accounts.take_over(self._signal, damaged, 0)
            self._accounts.drop(self._signal, Reason.DAMAGED, damaged, 0, on_disk=True)

    def _give_up(self, entries: Iterable[Entry], reason: Reason) -> None:
        """Let go of what the spool holds no longer. What is on its way stays: its body is at hand."""
        gone = {id(entry) for entry in entries}
        if not gone:
            return
        for held, batch in self._on_its_way.parts if self._on_its_way else ():
            if id(held.entry) in gone:
                self._take_back(held, batch)
        for held in self._waiting():
            if id(held.entry) in gone:
                self._drop(held, reason)
        self._purge()

    def _take_back(self, held: Held, batch: Batch) -> None:
        """Hold a batch in memory alone that was in the spool."""
        self._accounts.read_back(self._signal, held.items, held.size)
        held.entry = None
        if held.batch is None:
            held.batch = batch
            self._bodies += held.size

    # -- sending ---------------------------------------------------------------------------------------------------

    def take(self, *, fresh: bool) -> Shipment | None:
        """Return what goes in the next request, out of the fresh batches or of the backlog; None if there is none.

        It counts as held until `deliver`, `put_back`, `split` or `give_up` says what became of it.
        """
        if self._on_its_way is not None:  # somebody failed to say what became of it
            self.put_back(self._on_its_way)
        row = self._fresh if fresh else self._backlog
        from_end = self._newest_first and not fresh
        parts: list[tuple[Held, Batch]] = []
        size = items = batches = 0
        while row:
            held = row[-1 if from_end else 0]
            if parts and not self._fits(held, size + held.size, items + held.items, batches + held.parts):
                break
            try:
                batch = self._body_of(held)
            except SpoolFailed:
                break  # for now, for want of file descriptors, say
            row.pop() if from_end else row.popleft()
            if fresh:
                self.fresh_items -= held.items
            if batch is None:
                continue
            parts.append((held, batch))
            size += held.size
            items += held.items
            batches += held.parts
            if held.alone:
                break
        self._on_its_way = Shipment(parts, fresh) if parts else None
        return self._on_its_way

    def _fits(self, held: Held, size: int, items: int, batches: int) -> bool:
        return (
            size <= self._max_bytes and items <= self._max_items and batches <= MAX_REQUEST_BATCHES and not held.alone
        )

    def _body_of(self, held: Held) -> Batch | None:
        """Return the batch, from the disk if need be; None if it can't be read, which is booked. Raises SpoolFailed."""
        if held.batch is not None or self._spool is None or held.entry is None:
            return held.batch
        batch = self._spool.read(held.entry)
        if batch is None:
            self._drop(held, Reason.DAMAGED)
        return batch

    def deliver(self, shipment: Shipment, rejected: int = 0) -> int:
        """Book what the back end has taken, all but those `rejected`; return how many those really are."""
        left = rejected = min(rejected, shipment.items)
        for held, _ in shipment.parts:
            refused = min(left, held.items)
            left -= refused
            self._accounts.deliver(
                self._signal, held.items, held.size, rejected=refused, on_disk=held.entry is not None
            )
            self._leave(held)
        self.lost += rejected
        self._on_its_way = None
        self._is_down = False
        self._max_bytes = min(self._max_bytes + self._max_bytes // 256, self._most_bytes)
        return rejected

    def put_back(self, shipment: Shipment) -> None:
        """Hold what could not be delivered; until something is, all that comes waits behind it."""
        helds = [held for held, _ in shipment.parts]
        if shipment.fresh or self._newest_first:
            self._backlog.extend(reversed(helds) if self._newest_first and not shipment.fresh else helds)
        else:
            self._backlog.extendleft(reversed(helds))
        self._backlog.extend(self._fresh)
        self._fresh.clear()
        self.fresh_items = 0
        self._on_its_way = None
        self._is_down = True

    def split(self, shipment: Shipment, *, too_large: bool) -> bool:
        """Have the shipment sent in parts; return False if it is a single record, which can't be cut."""
        self._on_its_way = None
        if len(shipment.parts) == 1:
            held, batch = shipment.parts[0]
            cut = self._halves(held, batch)
            if not cut:
                return False
            self._return_to_row(shipment, cut)
            return True
        if too_large:
            self._max_bytes = max(shipment.size // 2, 1)
        for held, _ in shipment.parts:
            held.alone = not too_large
        self._return_to_row(shipment, [held for held, _ in shipment.parts])
        return True

    def set_apart(self, shipment: Shipment) -> bool:
        """Deal with what breaks the connection each time: have it sent in parts, or, where it is a single record, last.

        Returns whether it is in parts now.
        """
        if self.split(shipment, too_large=False):
            return True
        for held, _ in shipment.parts:
            held.alone = True
            if self._newest_first:
                self._backlog.appendleft(held)
            else:
                self._backlog.append(held)
        return False

    def _return_to_row(self, shipment: Shipment, helds: Sequence[Held]) -> None:
        if shipment.fresh:
            self._fresh.extendleft(reversed(helds))
            self.fresh_items += sum([held.items for held in helds])
        elif self._newest_first:
            self._backlog.extend(reversed(helds))
        else:
            self._backlog.extendleft(reversed(helds))

    def _halves(self, held: Held, batch: Batch) -> Sequence[Held]:
        """Return two batches in place of one; empty if it can't be cut."""
        try:
            bodies = halves(batch.body)
            if bodies is None:
                return ()
            count = count_points if self._signal == "metrics" else count_records
            first = min(count(bodies[0]), batch.items)
        except ValueError:
            return ()
        parts = [
            Held(Batch(name, batch.signal, body, items, batch.created, batch.important), None, held.since)
            for name, body, items in zip(part_ids(batch.id, 2), bodies, (first, batch.items - first), strict=True)
        ]
        was_written = held.entry is not None
        if was_written:
            self._accounts.read_back(self._signal, held.items, held.size)
        self._accounts.reshape(self._signal, held.size, sum([part.size for part in parts]))
        for part in parts:
            part.alone = True
            self._bodies += part.size
            self.items += part.items
        if self._spool is not None:
            self._unwritten.extendleft(reversed(parts))
        if was_written:
            self.keep(everything=True)
        self._leave(held)
        return parts

    def give_up(self, shipment: Shipment, reason: Reason) -> None:
        """Drop what the back end will never take; what it refused is kept apart, for a person to look at."""
        for held, batch in shipment.parts:
            if reason is Reason.REFUSED and self._spool is not None:
                self._spool.refuse(batch)
            self._drop(held, reason)
        self._on_its_way = None

    # -- leaving ---------------------------------------------------------------------------------------------------

    def _drop(self, held: Held, reason: Reason) -> None:
        """Book a batch as given up."""
        self._accounts.drop(self._signal, reason, held.items, held.size, on_disk=held.entry is not None)
        self.lost += held.items
        self._leave(held)

    def _leave(self, held: Held) -> None:
        held.is_settled = True
        self.items -= held.items
        if held.batch is not None:
            self._bodies -= held.size
            held.batch = None
        if held.entry is not None and self._spool is not None:
            self._spool.settle(held.entry)
            held.entry = None
