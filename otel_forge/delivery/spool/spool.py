"""The log of one signal: appended to, read back, settled; never an exception but the two that say no.

A record is settled by overwriting its state, or by cutting or deleting a file in which no other is pending. So the
files alone say what is held: there is no ledger that could disagree with them after a crash.
"""

from __future__ import annotations

import errno
import os
import re
import struct
import time
from collections.abc import Callable, Sequence
from typing import Literal

from otel_forge.delivery.batch import Batch
from otel_forge.delivery.spool import format
from otel_forge.delivery.spool.errors import SpoolFailed, SpoolFull
from otel_forge.delivery.spool.handle import Handle
from otel_forge.delivery.spool.ownership import SpoolDirectory
from otel_forge.delivery.spool.quota import Quota
from otel_forge.delivery.spool.reasons import reason
from otel_forge.delivery.spool.refused import keep_refused
from otel_forge.delivery.spool.segment import Entry, Segment
from otel_forge.delivery.spool.takeover import Estate, examine, hand_over
from otel_forge.settings import Signal

Fsync = Literal["always", "interval", "never"]

SYNC_INTERVAL = 1.0
_SEGMENT_BYTES = 4 << 20
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_NUMBERS = 100_000_000
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.EIO, errno.ESTALE, errno.ELOOP}


class Spool:
    """The log of one signal in this process, for one thread; `directory` and `quota` are shared with the others.

    `segment_bytes` is when a new file is begun, `max_age` the seconds after which a record is given up. A record's
    age runs on the monotonic clock from when it was appended; only that of a record taken over begins with a
    difference of two wall clocks, so it is wrong by as much as the clock was set in between, and never negative.
    """

    def __init__(
        self,
        directory: SpoolDirectory,
        signal: Signal,
        *,
        quota: Quota,
        max_age: float,
        fsync: Fsync = "interval",
        segment_bytes: int = _SEGMENT_BYTES,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.signal: Signal = signal
        self._directory = directory
        self._files = directory.files
        self._quota = quota
        self._max_age = max_age
        self._fsync = fsync
        self._segment_bytes = min(segment_bytes, max(quota.most // 16, format.SEGMENT_HEADER))
        self._wall = wall
        self._clock = clock
        self._name = re.compile(re.escape(signal) + r"-\d{8}\.seg")
        self._reset()

    def _reset(self) -> None:
        self.problem = ""
        self.held = self.held_items = 0
        self.damaged = self.damaged_items = 0
        self.foreign: set[str] = set()
        self._important = 0
        self._received = 0
        self._closed = False
        self._number = 0
        self._segments: list[Segment] = []
        self._active: Segment | None = None
        self._handle: Handle | None = None
        self._reader: tuple[Segment, Handle] | None = None
        self._unmarked: list[tuple[Segment, int, bytes]] = []
        self._undeleted: list[Segment] = []
        self._dirty = self._nameless = False
        self._synced_at = 0.0
        self._pause = 0.0
        self._again_at = float("-inf")

    @property
    def size(self) -> int:
        """Bytes on the disk, those of settled records in files not deleted yet included."""
        return self._quota.used(self.signal)

    @property
    def path(self) -> str:
        """The directory of this process; empty until something was written."""
        return self._directory.path

    # ---------------------------------------------------------------- writing

    def append(self, batch: Batch) -> Entry:
        """Write a batch; with the policy `always` it is on the disk when this returns.

        Raises SpoolFull if the quota has no room, and SpoolFailed if the file system refuses. After that, and for a
        pause that grows from one second to a minute, it is raised at once, with no attempt.
        """
        if self._closed or self._clock() < self._again_at:
            raise SpoolFailed(self.problem or "the spool is closed")
        size = format.record_size(batch)
        if size + format.SEGMENT_HEADER > self._quota.most or len(batch.body) > format.MAX_BODY:
            raise SpoolFull(size, too_large=True)
        try:
            segment, offset, header = self._write(batch, size)
        except OSError as error:
            raise SpoolFailed(self._fail(error)) from None
        except (ValueError, struct.error) as error:  # the batch's fault, not the disk's
            raise SpoolFailed(str(error)) from None
        self.problem = ""
        self._pause = 0.0
        self._again_at = float("-inf")
        return self._hold(Entry(header, segment, offset, self._clock()))

    def _write(self, batch: Batch, size: int, *, beyond: bool = False) -> tuple[Segment, int, format.RecordHeader]:
        """Write a record to the active segment; with `beyond` even beyond the quota."""
        segment, handle = self._place(size, beyond)
        offset = segment.size
        pieces = format.record(batch, offset)
        header = format.read_record_header(pieces[0], offset)
        if header is None:
            raise ValueError("a record's header can't be read back")
        if beyond:
            self._quota.charge(self.signal, size)
        elif not self._quota.take(self.signal, size):
            raise SpoolFull(size)
        segment.size += size
        try:
            handle.write(pieces, offset)
            self._dirty = True
            if self._fsync == "always":
                self._commit()
        except BaseException:
            self._roll_back(segment, handle, offset, header.mark)
            raise
        return segment, offset, header

    def _place(self, size: int, beyond: bool) -> tuple[Segment, Handle]:
        """Return the segment to which a record of `size` bytes goes, with its handle."""
        active = self._active
        if active is not None and active.entries and active.size + size > self._segment_bytes:
            self._seal()
        if self._active is not None and self._handle is not None:
            return self._active, self._handle
        if not beyond and not self._quota.fits(self.signal, size + format.SEGMENT_HEADER):
            raise SpoolFull(size)
        return self._begin()

    def _begin(self) -> tuple[Segment, Handle]:
        """Begin a new segment."""
        folder = self._directory.enter(self.signal, durable=self._fsync != "never")
        path, descriptor = self._create(folder)
        header = format.segment_header(self.signal, self._wall(), self._number)
        handle = None
        try:
            handle = Handle.opened(self._files, descriptor)
            handle.write((header,), 0)
        except BaseException:
            left = Segment(path, 0)
            if handle is not None:
                left.size = self._real_size(handle, left)
                handle.close()
            self._quota.charge(self.signal, left.size)
            self._discard(left)
            raise
        self._quota.charge(self.signal, len(header))
        self._active = Segment(path, len(header))
        self._handle = handle
        self._segments.append(self._active)
        self._nameless = True
        return self._active, handle

    def _create(self, folder: str) -> tuple[str, int]:
        for _ in range(len(self._segments) + len(self._undeleted) + 2):
            path = self._next_path(folder)
            try:
                return path, self._files.create(path)
            except FileExistsError:
                continue
        raise OSError(f"all names in {folder} are taken")

    def _next_path(self, folder: str) -> str:
        """Return the next segment's path; the numbers begin again at their end, where one may be taken."""
        self._number = self._number % (_NUMBERS - 1) + 1
        return os.path.join(folder, f"{self.signal}-{self._number:08d}.seg")

    def _roll_back(self, segment: Segment, handle: Handle, offset: int, mark: bytes) -> None:
        """Take back a record that was not written whole, and end its segment."""
        before = segment.size
        try:
            handle.truncate(offset)
            segment.size = offset
        except OSError:
            segment.size = self._real_size(handle, segment)
            self.strike(segment, offset, mark)
        self._quota.charge(self.signal, segment.size - before)
        self._seal(sync=False)

    @staticmethod
    def _real_size(handle: Handle, segment: Segment) -> int:
        try:
            return handle.size()
        except OSError:
            return segment.size

    def _seal(self, *, sync: bool = True) -> None:
        """End the active segment; it is deleted if nothing in it is pending."""
        segment, handle = self._active, self._handle
        if segment is None or handle is None:
            return
        if sync and segment.entries and self._fsync != "never":
            try:
                self._commit()
            except OSError as error:
                self._fail(error)
        self._active = self._handle = None
        self._dirty = False
        handle.close()
        if not segment.entries:
            self._delete(segment)

    def _commit(self) -> None:
        """Wait until the active segment is on the disk, under its name; raises OSError."""
        if self._dirty and self._handle is not None:
            self._handle.sync()
        if self._nameless and self._active is not None:
            self._files.sync_directory(os.path.dirname(self._active.path))
        self._dirty = self._nameless = False
        self._synced_at = self._clock()

    def sync(self) -> None:
        """Do what is due: wait for the disk each second (`interval`), try again what could not be marked or deleted."""
        now = self._clock()
        if now < self._again_at:
            return
        if self._fsync == "interval" and self._dirty and now - self._synced_at >= SYNC_INTERVAL:
            try:
                self._commit()
            except OSError as error:
                self._fail(error)
                self._seal(sync=False)
        self._retry()

    # ---------------------------------------------------------------- making room

    def make_room(self, size: int) -> list[Entry]:
        """Give up the oldest segments until a body of `size` bytes fits; returns the entries that were given up.

        Important entries are carried over to a new segment, as long as they take at most half of the room. In the
        meantime the quota is exceeded by what is carried, which is at most one segment.
        """
        need = format.RECORD_HEADER + size + format.SEGMENT_HEADER
        if need > self._quota.most or self._closed:
            return []
        available = self._quota.available(self.signal)
        limit = max(min(available // 2, available - need - format.SEGMENT_HEADER), 0)
        given: list[Entry] = []
        for _ in range(len(self._segments)):
            if self._quota.fits(self.signal, need) or not self._segments:
                break
            given += self._give_up(self._segments[0], limit)
        return given

    def _give_up(self, segment: Segment, limit: int) -> list[Entry]:
        if segment is self._active:
            self._seal()
        there = [(offset, entry.mark) for offset, entry in segment.entries.items()]
        given = []
        for entry in list(segment.entries.values()):
            if not (entry.important and self._important <= limit and self._carry(entry)):
                self._release(entry)
                given.append(entry)
        if segment in self._segments and not self._delete(segment):
            for offset, mark in there:
                self.strike(segment, offset, mark)
        return given

    def _carry(self, entry: Entry) -> bool:
        """Copy a record to the active segment and let its entry mean the copy; a crash in between leaves two.

        The next process sees that they have one id, and takes one.
        """
        try:
            batch = self._batch(entry)
            if batch is None:
                return False
            segment, offset, header = self._write(batch, entry.length, beyond=True)
        except OSError as error:
            self._fail(error)
            return False
        del entry.segment.entries[entry.offset]
        entry.segment, entry.offset, entry.mark = segment, offset, header.mark
        segment.add(entry)
        return True

    def join(self, batch: Batch, entries: Sequence[Entry]) -> Entry:
        """Put one record in the place of several: `batch`, which names its parts, for `entries`.

        The parts are settled when the whole is on the disk, so that no crash loses any; one in between leaves both, and
        the next process takes the whole. Raises SpoolFull or SpoolFailed, then nothing has changed.
        """
        whole = self.append(batch)
        whole.born = min([entry.born for entry in entries])
        whole.segment.oldest = min(whole.segment.oldest, whole.born)
        try:
            if self._fsync != "never":
                self._commit()
        except OSError as error:
            self.settle(whole)
            raise SpoolFailed(self._fail(error)) from None
        for entry in entries:
            self.settle(entry)
        return whole

    # ---------------------------------------------------------------- reading and settling

    def read(self, entry: Entry) -> Batch | None:
        """Return the batch of an entry; None if it is damaged or gone, then it is settled too.

        Raises SpoolFailed if it can't be read just now, for want of file descriptors for instance.
        """
        try:
            batch = self._batch(entry)
        except OSError as error:
            self._let_go(entry.segment, error)
            if error.errno not in _GONE:
                raise SpoolFailed(reason(error, entry.segment.path)) from None
            batch = None
        if batch is None:
            self.settle(entry)
        return batch

    def _batch(self, entry: Entry) -> Batch | None:
        if entry.segment.entries.get(entry.offset) is not entry:
            return None
        data = self._open(entry.segment).read(entry.length, entry.offset)
        header = format.read_record_header(data, entry.offset)
        content = None if header is None else format.read_body(data, header, entry.offset)
        if header is None or content is None or header.mark != entry.mark:
            return None
        body, parts = content
        return Batch(header.id, self.signal, body, header.items, header.created, header.important, parts)

    def settle(self, entry: Entry) -> None:
        """Say that an entry is delivered or given up, so that it never comes back; twice is harmless."""
        segment = entry.segment
        if segment.entries.get(entry.offset) is not entry:
            return
        self._release(entry)
        if segment.entries:
            self.strike(segment, entry.offset, entry.mark)
        elif segment is self._active:
            self._rewind(segment, entry)
        elif not self._delete(segment):
            self.strike(segment, entry.offset, entry.mark)

    def _hold(self, entry: Entry) -> Entry:
        entry.segment.add(entry)
        self.held += 1
        self.held_items += entry.items
        self._important += entry.size if entry.important else 0
        return entry

    def _release(self, entry: Entry) -> None:
        del entry.segment.entries[entry.offset]
        self.held -= 1
        self.held_items -= entry.items
        self._important -= entry.size if entry.important else 0

    def strike(self, segment: Segment, offset: int, mark: bytes) -> None:
        """Overwrite the state of a record; if that fails it is tried again at the next `sync`."""
        if not self._try_to_mark(segment, offset, mark):
            self._unmarked.append((segment, offset, mark))

    def _try_to_mark(self, segment: Segment, offset: int, mark: bytes) -> bool:
        try:
            self._open(segment).write((mark,), offset + format.STATE_OFFSET)
        except OSError as error:
            self._let_go(segment, error)
            return error.errno in (errno.ENOENT, errno.ENOTDIR)
        return True

    def _let_go(self, segment: Segment, error: OSError) -> None:
        """Close what a segment was reached by, after an error, so that the next attempt opens it anew."""
        if segment is self._active and error.errno == errno.EBADF:
            self._seal(sync=False)
        elif segment is not self._active:
            self._close_reader()

    def _rewind(self, segment: Segment, last: Entry) -> None:
        """Begin the active segment again, now that nothing in it is pending."""
        try:
            self._open(segment).truncate(format.SEGMENT_HEADER)
        except OSError:
            self.strike(segment, last.offset, last.mark)
            return
        self._quota.charge(self.signal, format.SEGMENT_HEADER - segment.size)
        segment.size = format.SEGMENT_HEADER
        segment.oldest = float("inf")
        self._dirty = False
        self._unmarked = [waiting for waiting in self._unmarked if waiting[0] is not segment]

    def _open(self, segment: Segment) -> Handle:
        """Return the handle of a segment; one beside the active one's is kept open."""
        if segment is self._active and self._handle is not None:
            return self._handle
        if self._reader is not None and self._reader[0] is segment:
            return self._reader[1]
        self._close_reader()
        handle = Handle.opened(self._files, self._files.open(segment.path))
        self._reader = (segment, handle)
        return handle

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader[1].close()
            self._reader = None

    def _delete(self, segment: Segment) -> bool:
        """Delete a segment of which nothing is pending; if that fails it is tried again at the next `sync`."""
        if segment in self._segments:
            self._segments.remove(segment)
        if self._discard(segment):
            self._unmarked = [waiting for waiting in self._unmarked if waiting[0] is not segment]
            return True
        return False

    def _discard(self, segment: Segment) -> bool:
        """Unlink a file and take its size off the quota, now or later; tell whether it is gone."""
        if self._reader is not None and self._reader[0] is segment:
            self._close_reader()
        try:
            self._files.unlink(segment.path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self._undeleted.append(segment)
                return False
        self._quota.charge(self.signal, -segment.size)
        return True

    def _retry(self) -> None:
        undeleted, self._undeleted = self._undeleted, []
        while undeleted and self._delete(undeleted[-1]):
            undeleted.pop()
        self._undeleted += undeleted[:-1]  # the last one is there again
        while self._unmarked and self._try_to_mark(*self._unmarked[-1]):
            self._unmarked.pop()

    def expired(self) -> list[Entry]:
        """Return the entries that are too old, which are settled now."""
        gone: list[Entry] = []
        limit = self._clock() - self._max_age
        for segment in [segment for segment in self._segments if segment.oldest <= limit]:
            old = [entry for entry in segment.entries.values() if entry.born <= limit]
            for entry in old:
                self.settle(entry)
            gone += old
            segment.oldest = min([entry.born for entry in segment.entries.values()], default=float("inf"))
        return gone

    # ---------------------------------------------------------------- taking over

    def take_over(self) -> list[Entry]:
        """Make what dead processes left this process's own; returns what is pending in it, oldest first."""
        if self._closed:
            return []
        taken: list[Entry] = []
        for path in self._directory.others():
            try:
                with self._directory.claim(path) as names:
                    taken += self._take(examine(self._files, path, list(filter(self._name.fullmatch, names))))
            except OSError:
                continue
        return sorted(taken, key=lambda entry: entry.created)

    def _take(self, estate: Estate) -> list[Entry]:
        """Take what one dead process left."""
        self.foreign.update(estate.foreign)
        taken: list[Entry] = []
        self._received = 0
        for seen, entries in hand_over(estate, self):
            taken += entries
            self.damaged += seen.damaged
            self.damaged_items += seen.damaged_items
        return taken

    def receive(self, path: str, size: int) -> Segment:
        """Move a dead process's segment here, ahead of those written here; raises OSError."""
        target = self._free_path()
        self._files.rename(path, target)
        segment = Segment(target, size)
        self._quota.charge(self.signal, size)
        self._segments.insert(self._received, segment)
        self._received += 1
        return segment

    def inherit(self, record: format.RecordHeader, segment: Segment, offset: int) -> Entry:
        """Hold a record that a dead process wrote."""
        age = max(self._wall() - record.created, 0.0)
        return self._hold(Entry(record, segment, offset, self._clock() - age))

    def release(self, segment: Segment) -> None:
        """Delete a segment of a dead process if nothing in it is pending."""
        if not segment.entries:
            self._delete(segment)
            self._received -= 1

    def _free_path(self) -> str:
        """Return a path of this process that no file has."""
        folder = self._directory.enter(self.signal, durable=self._fsync != "never")
        while True:
            path = self._next_path(folder)
            try:
                self._files.status(path)
            except FileNotFoundError:
                return path

    # ---------------------------------------------------------------- what was refused

    def refuse(self, batch: Batch) -> bool:
        """Keep a batch that the back end refused, for people to look at; False if there is no room or no disk."""
        try:
            folder = self._directory.enter(self.signal, durable=False)
            return keep_refused(self._files, folder, batch, self._wall())
        except (OSError, ValueError, struct.error):
            return False

    # ---------------------------------------------------------------- the end

    def forget(self) -> None:
        """Be as new, as a forked child must: the files are the parent's, and so is the lock."""
        if self._handle is not None:
            self._handle.close()
        self._close_reader()
        self._quota.forget(self.signal)
        self._directory.forget()
        self._reset()

    def close(self) -> None:
        """Let go of all files; what is pending waits for the next process. An empty directory is removed."""
        if self._closed:
            return
        self._seal()
        self._retry()
        self._close_reader()
        self._closed = True
        self._directory.leave(self.signal)

    def _fail(self, error: Exception) -> str:
        """Note why the spool can't be used, and for how long it is left alone; returns the reason."""
        self.problem = reason(error, self._directory.path or self._directory.root)
        self._pause = min(self._pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
        self._again_at = self._clock() + self._pause
        return self.problem
