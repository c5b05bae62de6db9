"""The spool beside a model of it, under everything that can happen to a process and its disk.

The model knows what must be there (`held`), what may be there although it was settled or never acknowledged
(`doubtful`: the documented duplicates), and which records were damaged on purpose (`suspects`).
"""

from __future__ import annotations

import errno
import os
from random import Random
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from otel_forge.delivery.batch import Batch
from otel_forge.delivery.spool import Entry, Fsync, Spool, SpoolFailed, SpoolFull
from tests.delivery.spool.disk import Disk, DiskFiles, Killed, watched
from tests.delivery.spool.spools import MAX_AGE, Clocks, a_batch, open_spool

CAPACITY = 12_000
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE, errno.EACCES)

steps = {"all": 0}


class SpoolMachine(RuleBasedStateMachine):
    """Writes, settles, makes room, ages, fails, dies, loses power, is damaged, and is taken over."""

    @initialize(policy=st.sampled_from(("always", "interval", "never")), segment=st.sampled_from((600, 1500, 4000)))
    def begin(self, policy: Fsync, segment: int) -> None:
        self.policy, self.segment = policy, segment
        self.disk, self.clocks = Disk(), Clocks()
        self.batches: dict[str, Batch] = {}
        self.born: dict[str, float] = {}
        self.held: dict[str, Entry] = {}
        self.doubtful: set[str] = set()
        self.suspects: set[str] = set()
        self.fails_in = self.dies_in = 0
        self.error = 0
        self.failed = False
        self.spool = self._open()

    def _open(self) -> Spool:
        self.process = DiskFiles(self.disk)
        return open_spool(
            "/var/spool",
            capacity=CAPACITY,
            files=watched(self.process, self._before),
            clocks=self.clocks,
            fsync=self.policy,
            segment_bytes=self.segment,
        )

    def _before(self, operation: str) -> None:
        steps["operations"] = steps.get("operations", 0) + 1
        if self.dies_in:
            self.dies_in -= 1
            if not self.dies_in:
                raise Killed
        if self.fails_in:
            self.fails_in -= 1
            if not self.fails_in:
                self.failed = True
                raise OSError(self.error, os.strerror(self.error))

    def _step(self) -> None:
        steps["all"] += 1
        self.failed = False

    def _in_trouble(self) -> bool:
        """Whether the file system refused something that the spool still has to make up for."""
        return self.failed or self.disk.room is not None or bool(self.spool._unmarked or self.spool._undeleted)

    # ------------------------------------------------------------ what the spool is asked

    @rule(size=st.sampled_from((0, 1, 100, 100, 400, 400, 1400, 6000, 13_000)), important=st.booleans())
    def write(self, size: int, important: bool) -> None:
        self._step()
        batch = a_batch(len(self.batches) + 1, size, important=important)
        self.batches[batch.id] = batch
        self.born[batch.id] = self.clocks.monotonic
        try:
            self.held[batch.id] = self.spool.append(batch)
        except SpoolFull as full:
            assert full.too_large == (size == 13_000)
            assert full.too_large or self.spool.size + size + 200 > CAPACITY
        except SpoolFailed as failure:
            assert failure.reason
            self.doubtful.add(batch.id)
        except Killed:
            self.doubtful.add(batch.id)
            self._crash()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def settle(self, data: Any) -> None:
        self._step()
        name = data.draw(st.sampled_from(sorted(self.held)))
        entry = self.held.pop(name)
        try:
            self.spool.settle(entry)
        except Killed:
            self.doubtful.add(name)
            self._crash()
            return
        if self._in_trouble():
            self.doubtful.add(name)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def read(self, data: Any) -> None:
        self._step()
        name = data.draw(st.sampled_from(sorted(self.held)))
        self._read(name)

    def _read(self, name: str) -> None:
        try:
            batch = self.spool.read(self.held[name])
        except SpoolFailed as failure:
            assert failure.reason
            return
        except Killed:
            self.doubtful.add(name)
            self._crash()
            return
        if batch is None:
            assert name in self.suspects or self.failed
            del self.held[name]
            self.doubtful.add(name)
        else:
            assert batch == self.batches[name]

    @rule(size=st.sampled_from((100, 400, 1400, 6000)))
    def make_room(self, size: int) -> None:
        self._step()
        before = dict(self.held)
        try:
            given = {entry.id for entry in self.spool.make_room(size)}
        except Killed:
            important = {name for name, entry in before.items() if entry.important}
            if sum([before[name].size for name in important]) > CAPACITY // 2 - 2 * size:
                important = set()
            for name in set(before) - important:
                del self.held[name]
                self.doubtful.add(name)
            self._crash()
            return
        assert given <= set(before)
        for name in given:
            del self.held[name]
            if self._in_trouble():
                self.doubtful.add(name)
        if not self.failed and self.disk.room is None and not self.suspects & given:
            limit = max(min(CAPACITY // 2, CAPACITY - size - 300), 0)
            if any(before[name].important for name in given):
                assert sum([entry.size for entry in before.values() if entry.important]) > limit
        if not self._in_trouble():
            self.write(size, False)

    @rule(seconds=st.sampled_from((0.1, 1.0, 30.0, MAX_AGE / 2)), step=st.sampled_from((0.0, 0.0, 86_400.0, -86_400.0)))
    def age(self, seconds: float, step: float) -> None:
        self._step()
        self.clocks.advance(seconds)
        self.clocks.wall += step
        try:
            self.spool.sync()
            gone = {entry.id for entry in self.spool.expired()}
        except Killed:
            for name in [name for name in self.held if self._age(name) >= MAX_AGE]:
                del self.held[name]
                self.doubtful.add(name)
            self._crash()
            return
        assert gone == {name for name in self.held if self._age(name) >= MAX_AGE}
        for name in gone:
            del self.held[name]
            if self._in_trouble():
                self.doubtful.add(name)

    def _age(self, name: str) -> float:
        return self.clocks.monotonic - self.born[name]

    # ------------------------------------------------------------ what happens to it

    @rule(operations=st.integers(1, 12), error=st.sampled_from(ERRORS))
    def will_fail(self, operations: int, error: int) -> None:
        """One of the next operations on files fails."""
        self.fails_in, self.error = operations, error

    @rule(operations=st.integers(1, 12))
    def will_die(self, operations: int) -> None:
        """The process dies in the middle of what it does next."""
        self.dies_in = operations

    @rule(room=st.sampled_from((0, 30, 200, 2000)))
    def fill(self, room: int) -> None:
        self.disk.room = room

    @rule()
    def relieve(self) -> None:
        self.disk.room = None
        self.clocks.advance(61)

    @rule()
    def crash(self) -> None:
        self._step()
        self._crash()

    @rule()
    def restart(self) -> None:
        self._step()
        try:
            self.spool.close()
        except Killed:
            self._crash()
            return
        self._succeed()

    @rule(seed=st.integers(0, 1 << 16))
    def lose_power(self, seed: int) -> None:
        """The policy `always` keeps what was acknowledged; with the others anything unsynced may be gone."""
        self._step()
        self.disk.lose_power(Random(seed))
        self.doubtful |= set(self.batches) - set(self.held)
        if self.policy != "always" or self._in_trouble():
            self.suspects |= set(self.held)
        self._crash()

    @precondition(lambda self: self.disk.segments("traces"))
    @rule(data=st.data(), cut=st.booleans())
    def damage(self, data: Any, cut: bool) -> None:
        """A bit of a segment flips, or its end is lost."""
        self._step()
        path = data.draw(st.sampled_from(sorted(self.disk.segments("traces"))))
        inode = self.disk.files[path]
        content = inode.data
        if not content:
            return
        position = data.draw(st.integers(0, len(content) - 1))
        inside = {name for name, entry in self.held.items() if entry.segment.path == path}
        if cut:
            if self.spool._active is not None and self.spool._active.path == path:
                return  # only a file that nobody writes to is cut
            del content[position:]
            inode.synced = inode.synced[:position]
            inode.floor = min(inode.floor, position)
        else:
            content[position] ^= 1 << data.draw(st.integers(0, 7))
        self.suspects |= inside
        self.doubtful |= set(self.batches) - set(self.held)
        self.cut = True

    def _crash(self) -> None:
        self.process.kill()
        self._succeed()

    def _succeed(self) -> None:
        """Another process takes over, without any more mishaps, and finds what the model says."""
        self.fails_in = self.dies_in = 0
        self.disk.room = None
        self.process.kill()
        self.cut = False
        expected, self.held = self.held, {}
        self.spool = self._open()
        found = self.spool.take_over()
        names = [entry.id for entry in found]
        assert len(names) == len(set(names)), "nothing is found twice"
        assert set(names) <= set(expected) | self.doubtful, "nothing settled comes back"
        assert set(expected) - set(names) <= self.suspects, "nothing is lost"
        for entry in found:
            self.held[entry.id] = entry
            self.doubtful.discard(entry.id)
            self.born[entry.id] = self.clocks.monotonic - max(self.clocks.wall - entry.created, 0.0)
            batch = self.batches[entry.id]
            assert (entry.items, entry.size, entry.important) == (batch.items, batch.size, batch.important)
        for name in list(self.held):
            if name not in expected:
                self.suspects.add(name)
            self._read(name)

    # ------------------------------------------------------------ what always holds

    @invariant()
    def sizes_are_exact(self) -> None:
        if not getattr(self, "cut", True):
            assert self.spool.size == sum([len(inode.data) for inode in self.disk.segments("traces").values()])

    @invariant()
    def counts_are_exact(self) -> None:
        if hasattr(self, "spool"):
            assert self.spool.held == len(self.held)
            assert self.spool.held_items == sum([entry.items for entry in self.held.values()])
            assert self.spool._important == sum([entry.size for entry in self.held.values() if entry.important])
            assert self.spool.size <= CAPACITY + self.segment + 6_200

    @invariant()
    def descriptors_are_few(self) -> None:
        if hasattr(self, "process"):
            assert len(self.process.opened) <= 3

    @invariant()
    def a_live_ones_directory_is_left_alone(self) -> None:
        if hasattr(self, "spool") and self.spool.path and not (self.fails_in or self.dies_in):
            neighbour = open_spool("/var/spool", files=DiskFiles(self.disk), clocks=self.clocks)
            assert neighbour.take_over() == []
