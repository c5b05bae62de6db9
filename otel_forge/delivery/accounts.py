"""The accounts: what became of every record, by signal, in items and in bytes, exact at every reading.

They are kept in double entry: each movement takes from one place and gives to another, so that

    created = delivered + held + sum(dropped by reason)

holds for items and for bytes. `created` counts what entered the pipeline, what was taken over from dead processes
included; `held` is what waits in the ring, in memory and on disk; `dropped` is what was given up, by `Reason`.

*Bytes* are those of a request as it is sent, uncompressed. A record has none before it is encoded: what is in the
ring, and what was dropped from there, counts in items only. Cutting a request in two adds the envelope of the second,
which `reshape` books as created. Of a request that the back end rejected in part, the rejected bytes are in proportion.

How a reading is exact without a lock that a request thread or a signal handler would have to wait for:

- What is booked of a signal is one immutable object, replaced as a whole by each movement. A reader sees it before
  the movement or after it, never half of it. Only those who book wait for each other, and a request thread never books.
- Records that are not booked yet lie in the ring or in the hand of the delivery thread, and a step from one deque to
  the other is a single call into C (see `otel_forge.delivery.ring`). The hand belongs to what is booked: the movement
  that books the records takes the hand away in the same instant.
- A reader looks at what is booked, then at ring and hand, and begins again if anything was booked or dropped meanwhile.

This rests on the global interpreter lock. On a free-threaded interpreter the equation holds all the same, but a reading
may miss, or see twice, records that are on the move in that very instant.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from threading import RLock
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from otel_forge.fork import on_fork_in_child
from otel_forge.settings import SIGNALS, Signal

ITEM_NAMES: Mapping[Signal, str] = {"traces": "spans", "metrics": "metric points", "logs": "log records"}


class Reason(str, Enum):
    """Why a record was given up; the value is what metrics, logs and `otel-forge status` show."""

    QUEUE_FULL = "queue_full"
    """The ring, or the memory behind it where no spool can be used, had no room."""
    SPOOL_FULL = "spool_full"
    """The spool has reached its size."""
    EXPIRED = "expired"
    """Older than the spool keeps."""
    REJECTED = "rejected"
    """The back end took the request, but not this item (partial success)."""
    REFUSED = "refused"
    """The back end will never take the request (a status that is not worth another try)."""
    TOO_LARGE = "too_large"
    """The back end finds a single record too large."""
    UNENCODABLE = "unencodable"
    DAMAGED = "damaged"
    """Unreadable on disk."""
    SHUTDOWN_TIMEOUT = "shutdown_timeout"
    """Only in memory when the time for exit was over."""
    AFTER_SHUTDOWN = "after_shutdown"
    """Made after the pipeline was closed."""

    __str__ = str.__str__


class Waiting(NamedTuple):
    """What is in front of the accounts: records that wait, and those that were turned away, in items."""

    waiting: int
    full: int
    late: int


class Queue(Protocol):
    """The ring, as the accounts see it."""

    def waiting(self, hand: deque[Any]) -> Waiting:
        """Return, of one instant, how many records wait in the ring and in `hand`, and how many were turned away."""


@dataclass(frozen=True)
class Column:
    """The counts of one unit, items or bytes."""

    created: int = 0
    delivered: int = 0
    failed: int = 0
    """Only in the upstream pipeline: items of requests that failed, of which it can't tell what becomes."""
    waiting: int = 0
    """Not encoded yet."""
    in_memory: int = 0
    on_disk: int = 0
    dropped: Mapping[Reason, int] = field(default_factory=dict)
    taken_over: int = 0
    """Of those created: left on disk by dead processes."""
    turned_away: Mapping[Reason, int] = field(default_factory=dict)
    """Of those dropped: never encoded."""

    @property
    def held(self) -> int:
        """What waits for its turn, wherever it is."""
        return self.waiting + self.in_memory + self.on_disk

    @property
    def missing(self) -> int:
        """What was created and not delivered: still waiting, or lost."""
        return max(self.created - self.delivered, 0)

    @property
    def lost(self) -> int:
        """What was given up, for whatever reason."""
        return self.failed + sum(self.dropped.values())

    @property
    def accepted(self) -> int:
        """What this process made and encoded."""
        return self.created - self.waiting - self.taken_over - sum(self.turned_away.values())


@dataclass(frozen=True)
class Account(Column):
    """The counts of one signal, in items (spans, metric points, log records) and, `in_bytes`, in bytes."""

    in_bytes: Column = field(default_factory=Column)


_NONE: Mapping[Reason, int] = MappingProxyType({})


class _Counts(NamedTuple):
    """What is booked in one unit; a tuple, because several are made for each batch."""

    created: int = 0
    delivered: int = 0
    failed: int = 0
    in_memory: int = 0
    on_disk: int = 0
    taken_over: int = 0
    dropped: Mapping[Reason, int] = _NONE
    turned_away: Mapping[Reason, int] = _NONE

    def plus(
        self, changes: Mapping[str, int], dropped: Mapping[Reason, int] | None, away: Mapping[Reason, int] | None
    ) -> _Counts:
        """Return the counts after a movement."""
        if not (changes or dropped or away):
            return self
        counts: list[Any] = list(self)
        for name, change in changes.items():
            counts[_PLACES[name]] += change
        if dropped:
            counts[-2] = _sums(self.dropped, dropped)
        if away:
            counts[-1] = _sums(self.turned_away, away)
        return _Counts._make(counts)


_PLACES = {name: place for place, name in enumerate(_Counts._fields)}


class _Booked(NamedTuple):
    """What is booked of one signal, and the hand whose records are not; never changed, only replaced."""

    items: _Counts
    in_bytes: _Counts
    hand: deque[Any]


class _NoQueue:
    def waiting(self, hand: deque[Any]) -> Waiting:
        return Waiting(len(hand), 0, 0)


class Accounts:
    """Counts by signal; read from any thread and signal handler at any time, empty again in a forked child.

    What happens to records, and who books it:

    ======================================  ================================================================
    in the ring, taken into the hand        nobody; `attach` makes them visible, `hand` is where they go
    encoded                                 `accept`, which empties the hand
    left by a dead process                  `take_over`
    written to the spool, or back           `write`, `read_back`
    cut or joined                           `reshape`, if the number of bytes changes
    taken by the back end                   `deliver`
    given up                                `drop`
    ======================================  ================================================================
    """

    def __init__(self) -> None:
        self._queues: dict[Signal, Queue] = {}
        self._reset()
        on_fork_in_child(self._reset)

    def _reset(self) -> None:
        self._lock = RLock()
        self._booked = {signal: _Booked(_Counts(), _Counts(), deque()) for signal in SIGNALS}

    # -- what the lean pipeline books ------------------------------------------------------------------------------

    def attach(self, signal: Signal, queue: Queue) -> None:
        """Count what waits in `queue`, and what was turned away there, at each reading."""
        self._queues[signal] = queue

    def hand(self, signal: Signal) -> deque[Any]:
        """Return an empty deque whose records count as waiting from now on, until `accept` books them.

        Records that an earlier hand still holds could not be encoded.
        """
        with self._lock:
            left = len(self._booked[signal].hand)
            if left:
                self.accept(signal, 0, 0, unencodable=left)
            hand: deque[Any] = deque()
            self._book(signal, {}, {}, hand=hand)
            return hand

    def accept(self, signal: Signal, items: int, size: int, *, unencodable: int = 0) -> None:
        """Book that `items` are in memory, encoded in `size` bytes, and `unencodable` ones are not; empty the hand.

        ``items + unencodable`` is what was in the hand. Metrics are never in it and are created by this.
        """
        away = {Reason.UNENCODABLE: unencodable} if unencodable else {}
        self._book(
            signal,
            {"created": items + unencodable, "in_memory": items},
            {"created": size, "in_memory": size},
            dropped=away,
            turned_away=away,
            hand=deque(),
        )

    def take_over(self, signal: Signal, items: int, size: int) -> None:
        """Book what a dead process left on disk and is ours from now on."""
        self._book(signal, *_both(items, size, created=1, taken_over=1, on_disk=1))

    def write(self, signal: Signal, items: int, size: int) -> None:
        """Book that what was in memory is on disk (whether or not a copy stays in memory)."""
        self._book(signal, *_both(items, size, in_memory=-1, on_disk=1))

    def read_back(self, signal: Signal, items: int, size: int) -> None:
        """Book that what was on disk is in memory alone."""
        self._book(signal, *_both(items, size, in_memory=1, on_disk=-1))

    def reshape(self, signal: Signal, before: int, after: int, *, on_disk: bool = False) -> None:
        """Book that the same held items take `after` bytes instead of `before`."""
        self._book(signal, {}, {"created": after - before, _place(on_disk): after - before})

    def deliver(self, signal: Signal, items: int, size: int, *, rejected: int = 0, on_disk: bool = False) -> None:
        """Book what a request with `items` has come to: the back end has taken all but those `rejected`."""
        rejected = min(rejected, items)
        lost = size * rejected // items if items else 0
        self._book(
            signal,
            {"delivered": items - rejected, _place(on_disk): -items},
            {"delivered": size - lost, _place(on_disk): -size},
            dropped={Reason.REJECTED: rejected} if rejected else {},
            dropped_bytes={Reason.REJECTED: lost} if rejected else {},
        )

    def drop(self, signal: Signal, reason: Reason, items: int, size: int, *, on_disk: bool = False) -> None:
        """Book that what was held is given up."""
        if not items and not size:
            return
        self._book(
            signal,
            {_place(on_disk): -items},
            {_place(on_disk): -size},
            dropped={reason: items},
            dropped_bytes={reason: size},
        )

    def _book(
        self,
        signal: Signal,
        items: Mapping[str, int],
        in_bytes: Mapping[str, int],
        *,
        dropped: Mapping[Reason, int] | None = None,
        dropped_bytes: Mapping[Reason, int] | None = None,
        turned_away: Mapping[Reason, int] | None = None,
        hand: deque[Any] | None = None,
    ) -> None:
        """Replace what is booked of `signal`, in one instant.

        A signal handler, or a finalizer, that books in the middle of it is the reason to look again before the end.
        """
        with self._lock:
            while True:
                booked = self._booked[signal]
                after = _Booked(
                    booked.items.plus(items, dropped, turned_away),
                    booked.in_bytes.plus(in_bytes, dropped_bytes, None),
                    booked.hand if hand is None else hand,
                )
                if self._booked[signal] is booked:
                    self._booked[signal] = after
                    return

    # -- what the upstream pipeline counts -------------------------------------------------------------------------

    def created(self, signal: Signal, items: int = 1) -> None:
        """Count what entered a pipeline that can't tell what it holds."""
        self._book(signal, {"created": items}, {})

    def delivered(self, signal: Signal, items: int) -> None:
        """Count what left a pipeline that can't tell what it holds."""
        self._book(signal, {"delivered": items}, {})

    def failed(self, signal: Signal, items: int) -> None:
        """Count items of a request that failed, of which the pipeline can't tell what becomes."""
        self._book(signal, {"failed": items}, {})

    # -- reading ---------------------------------------------------------------------------------------------------

    def read(self) -> Mapping[Signal, Account]:
        """Return the counts of this moment; each signal's are those of one instant."""
        return {signal: self.of(signal) for signal in SIGNALS}

    def of(self, signal: Signal) -> Account:
        """Return the counts of one signal at this instant."""
        queue = self._queues.get(signal, _NO_QUEUE)
        while True:
            booked = self._booked[signal]
            now = queue.waiting(booked.hand)
            if booked is self._booked[signal]:
                break
        return _account(booked, now)


_NO_QUEUE = _NoQueue()


def _account(booked: _Booked, queue: Waiting) -> Account:
    items, in_bytes = booked.items, booked.in_bytes
    away = {reason: count for reason, count in _turned_away(queue).items() if count}
    return Account(
        created=items.created + queue.waiting + queue.full + queue.late,
        delivered=items.delivered,
        failed=items.failed,
        waiting=queue.waiting,
        in_memory=items.in_memory,
        on_disk=items.on_disk,
        dropped=dict(_sums(items.dropped, away)),
        taken_over=items.taken_over,
        turned_away=dict(_sums(items.turned_away, away)),
        in_bytes=Column(
            created=in_bytes.created,
            delivered=in_bytes.delivered,
            in_memory=in_bytes.in_memory,
            on_disk=in_bytes.on_disk,
            dropped=dict(in_bytes.dropped),
            taken_over=in_bytes.taken_over,
        ),
    )


def _turned_away(queue: Waiting) -> dict[Reason, int]:
    return {Reason.QUEUE_FULL: queue.full, Reason.AFTER_SHUTDOWN: queue.late}


def _place(on_disk: bool) -> str:
    return "on_disk" if on_disk else "in_memory"


def _both(items: int, size: int, **signs: int) -> tuple[dict[str, int], dict[str, int]]:
    return {name: sign * items for name, sign in signs.items()}, {name: sign * size for name, sign in signs.items()}


def _sums(counts: Mapping[Reason, int], more: Mapping[Reason, int]) -> Mapping[Reason, int]:
    return {**counts, **{reason: counts.get(reason, 0) + count for reason, count in more.items()}} if more else counts


def in_words(counts: Mapping[Signal, int]) -> str:
    """Return counts as a person says them: ``12 spans, 3 log records``; empty when all are zero."""
    return ", ".join(
        f"{count} {ITEM_NAMES[signal].removesuffix('s') if count == 1 else ITEM_NAMES[signal]}"
        for signal, count in counts.items()
        if count
    )
