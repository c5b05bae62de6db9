"""The spool: what is written comes back until it is settled, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_forge.delivery.spool import OsFiles, Quota, SpoolDirectory, SpoolFailed, SpoolFull
from otel_forge.delivery.spool.spool import SYNC_INTERVAL
from tests.delivery.spool.disk import watched
from tests.delivery.spool.spools import MAX_AGE, Clocks, a_batch, on_disk, open_spool, pending


def test_a_batch_is_read_back_as_it_was(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    batch = a_batch(1, important=True)
    entry = spool.append(batch)
    assert spool.read(entry) == batch
    assert (entry.id, entry.items, entry.size, entry.created, entry.important) == (
        batch.id,
        3,
        100,
        batch.created,
        True,
    )
    assert (spool.held, spool.held_items, spool.size) == (1, 3, on_disk(tmp_path))


def test_nothing_touches_the_disk_before_the_first_batch(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool")
    assert spool.take_over() == []
    spool.sync()
    spool.close()
    assert not (tmp_path / "spool").exists()


def test_what_is_pending_at_the_end_is_found_by_the_next_process(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    batches = [a_batch(number) for number in range(5)]
    entries = [spool.append(batch) for batch in batches]
    spool.settle(entries[1])
    spool.close()
    successor = open_spool(tmp_path)
    assert pending(successor) == {batch.id: batch for batch in batches if batch is not batches[1]}
    assert (successor.held, successor.held_items, successor.size) == (4, 12, on_disk(tmp_path))


def test_what_is_all_settled_leaves_no_trace(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for number in range(5):
        spool.settle(spool.append(a_batch(number)))
    assert spool.held == 0
    spool.close()
    assert spool.size == 0
    assert [path.name for path in tmp_path.rglob("*")] == ["shop"]


def test_settling_twice_is_counted_once(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    first, _ = spool.append(a_batch(1)), spool.append(a_batch(2))
    spool.settle(first)
    spool.settle(first)
    assert (spool.held, spool.held_items, spool.read(first)) == (1, 3, None)


def test_a_full_segment_is_followed_by_another_and_deleted_when_settled(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, segment_bytes=1000)
    entries = [spool.append(a_batch(number, 400)) for number in range(6)]
    assert len(list(tmp_path.rglob("*.seg"))) == 3
    for entry in entries[:2]:
        spool.settle(entry)
    assert len(list(tmp_path.rglob("*.seg"))) == 2
    assert spool.size == on_disk(tmp_path)
    assert [spool.read(entry) for entry in entries[2:]] == [a_batch(number, 400) for number in range(2, 6)]


def test_the_active_file_begins_again_when_nothing_in_it_is_pending(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for number in range(100):
        spool.settle(spool.append(a_batch(number, 1000)))
    assert spool.size == on_disk(tmp_path) < 100
    entry = spool.append(a_batch(200))
    assert spool.read(entry) == a_batch(200)


def test_several_signals_share_a_directory_and_a_quota(tmp_path: Path) -> None:
    directory, quota = SpoolDirectory(tmp_path, "shop"), Quota(1 << 20)
    traces = open_spool(tmp_path, directory=directory, quota=quota)
    logs = open_spool(tmp_path, directory=directory, quota=quota, signal="logs")
    traces.append(a_batch(1))
    logs.append(a_batch(2, signal="logs"))
    assert traces.path == logs.path == directory.path
    assert quota.total == traces.size + logs.size == on_disk(tmp_path) + on_disk(tmp_path, "logs")
    traces.close()
    assert open_spool(tmp_path).take_over() == []
    logs.close()
    assert list(pending(open_spool(tmp_path, signal="logs"))) == [a_batch(2).id]
    assert list(pending(open_spool(tmp_path))) == [a_batch(1).id]


def test_a_signal_that_comes_when_another_has_gone_finds_its_directory_again(tmp_path: Path) -> None:
    """As at exit, where each is closed at its own pace: what is kept is in the one place that is said."""
    directory = SpoolDirectory(tmp_path, "shop")
    traces = open_spool(tmp_path, directory=directory)
    metrics = open_spool(tmp_path, directory=directory, signal="metrics")
    traces.append(a_batch(1))
    place = directory.path
    traces.close()
    metrics.append(a_batch(2, signal="metrics"))
    assert metrics.path == place
    metrics.close()
    assert list(pending(open_spool(tmp_path))) == [a_batch(1).id]


def test_one_signal_cannot_take_the_room_of_another(tmp_path: Path) -> None:
    directory, quota = SpoolDirectory(tmp_path, "shop"), Quota(80_000)
    traces = open_spool(tmp_path, directory=directory, quota=quota)
    logs = open_spool(tmp_path, directory=directory, quota=quota, signal="logs")
    with pytest.raises(SpoolFull):
        for number in range(1000):
            traces.append(a_batch(number, 1000))
    assert 58_000 < traces.size <= 60_000
    logs.append(a_batch(1, 9_000, signal="logs"))
    assert quota.total <= 80_000


def test_room_is_made_from_the_oldest_and_errors_are_carried_over(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, capacity=50_000, segment_bytes=2_500)
    batches = {f"{number:016x}": a_batch(number, 1000, important=number % 10 == 0) for number in range(100)}
    given: list[str] = []
    for batch in batches.values():
        try:
            entry = spool.append(batch)
        except SpoolFull:
            given += [entry.id for entry in spool.make_room(batch.size)]
            entry = spool.append(batch)
        assert entry.id == batch.id
        assert spool.size == on_disk(tmp_path) <= 50_000
    held = [batch for batch in batches.values() if batch.id not in given]
    assert len(given) == len(set(given))
    assert not [batch for batch in batches.values() if batch.important and batch not in held]
    assert given == sorted(given)
    spool.close()
    assert pending(open_spool(tmp_path)) == {batch.id: batch for batch in held}


def test_errors_take_at_most_half_of_the_room(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, capacity=50_000, segment_bytes=2_500)
    for number in range(200):
        batch = a_batch(number, 1000, important=True)
        try:
            spool.append(batch)
        except SpoolFull:
            assert spool.make_room(batch.size)
            spool.append(batch)
        assert spool.size == on_disk(tmp_path) <= 50_000
    assert spool.held >= 20


def test_an_entry_means_its_record_after_it_was_carried_over(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, capacity=20_000)
    important = spool.append(a_batch(1, important=True))
    spool.append(a_batch(2, 18_000))
    assert [entry.id for entry in spool.make_room(10_000)] == [a_batch(2).id]
    assert spool.read(important) == a_batch(1, important=True)
    spool.settle(important)
    spool.close()
    assert pending(open_spool(tmp_path)) == {}


def test_a_record_that_never_fits_is_said_to_be_too_large_and_the_next_one_is_taken(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, capacity=10_000)
    spool.append(a_batch(1))
    with pytest.raises(SpoolFull) as failure:
        spool.append(a_batch(2, 10_000))
    assert failure.value.too_large
    assert spool.make_room(10_000) == []
    spool.append(a_batch(3))
    assert spool.held == 2
    assert not spool.problem


def test_a_record_larger_than_a_segment_has_one_to_itself(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, segment_bytes=1000)
    entries = [spool.append(a_batch(number, size)) for number, size in enumerate((100, 5000, 100))]
    assert [spool.read(entry) for entry in entries] == [a_batch(0), a_batch(1, 5000), a_batch(2)]


@pytest.mark.gate
def test_old_records_expire_by_the_time_that_passed_whatever_the_wall_clock_says(tmp_path: Path) -> None:
    """R4: the clock set by a day in either direction neither expires nor keeps a record."""
    clocks = Clocks()
    spool = open_spool(tmp_path, clocks=clocks)
    old = spool.append(a_batch(1))
    for day in (86_400, -2 * 86_400):
        clocks.wall += day
        assert spool.expired() == []
    clocks.advance(MAX_AGE - 1)
    young = spool.append(a_batch(2))
    assert spool.expired() == []
    clocks.advance(1)
    assert spool.expired() == [old]
    assert (spool.held, spool.read(young)) == (1, a_batch(2))
    spool.close()
    assert list(pending(open_spool(tmp_path, clocks=clocks))) == [young.id]


@pytest.mark.parametrize(
    ("step", "lives_for"), [(0, MAX_AGE - 600), (-86_400, MAX_AGE), (300, MAX_AGE - 900), (86_400, 0)]
)
def test_across_a_restart_an_age_is_wrong_by_as_much_as_the_clock_was_set(
    tmp_path: Path, step: float, lives_for: float
) -> None:
    """R4: and never negative, so a clock that was in the future keeps a record no longer than its age from now."""
    clocks = Clocks()
    spool = open_spool(tmp_path, clocks=clocks)
    spool.append(a_batch(1))
    spool.close()
    clocks.advance(600)
    clocks.wall += step
    successor = open_spool(tmp_path, clocks=clocks)
    (entry,) = successor.take_over()
    if lives_for:
        clocks.advance(lives_for - 1)
        assert successor.expired() == []
        clocks.advance(1)
    assert successor.expired() == [entry]


def test_the_oldest_is_found_first(tmp_path: Path) -> None:
    for number in (3, 1, 2):
        spool = open_spool(tmp_path)
        batch = a_batch(number)
        spool.append(type(batch)(batch.id, "traces", batch.body, 1, float(number)))
        spool.close()
    assert [entry.created for entry in open_spool(tmp_path).take_over()] == [1.0, 2.0, 3.0]


def test_what_was_refused_is_kept_apart_up_to_its_own_limit(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    kept = [spool.refuse(a_batch(number, 300_000)) for number in range(5)]
    assert kept == [True, True, True, False, False]
    assert (spool.held, spool.size) == (0, 0)
    spool.close()
    assert [path.name for path in (tmp_path / "shop").iterdir()] == ["refused-traces.seg"]
    assert open_spool(tmp_path).take_over() == []


def test_a_batch_that_cannot_be_written_down_harms_only_itself(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    with pytest.raises(SpoolFailed):
        spool.append(a_batch(1, items=-1))
    assert (spool.held, spool.size) == (0, on_disk(tmp_path))
    spool.append(a_batch(2))
    assert not spool.problem


class Syncs:
    """Counts what is synced."""

    def __init__(self) -> None:
        self.data = self.names = 0

    def __call__(self, operation: str) -> None:
        self.data += operation == "sync"
        self.names += operation == "sync_directory"


@pytest.mark.parametrize(
    ("policy", "data"), [("always", [1, 2, 2, 2, 3]), ("interval", [0, 0, 1, 1, 2]), ("never", [0] * 5)]
)
def test_the_disk_is_waited_for_as_the_policy_says(tmp_path: Path, policy: str, data: list[int]) -> None:
    syncs, clocks, seen = Syncs(), Clocks(), []
    spool = open_spool(tmp_path, files=watched(OsFiles(), syncs), clocks=clocks, fsync=policy)
    spool.append(a_batch(1))
    seen.append(syncs.data)
    spool.append(a_batch(2))
    seen.append(syncs.data)
    for _ in range(2):
        clocks.advance(SYNC_INTERVAL)
        spool.sync()
        seen.append(syncs.data)
    spool.append(a_batch(3))
    clocks.advance(SYNC_INTERVAL)
    spool.sync()
    seen.append(syncs.data)
    assert seen == data
    assert bool(syncs.names) == (policy != "never")
