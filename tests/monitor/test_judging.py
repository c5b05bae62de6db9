"""What is evidence that a restart would help, and what only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_forge.health.heartbeat import Beat
from otel_forge.monitor.judging import (
    DEADLOCK,
    HEARTBEAT_LOST,
    MEMORY,
    UNRESPONSIVE,
    Evidence,
    Judge,
    Observation,
    Patience,
    Watched,
    find,
)

PATIENCE = Patience(idle=20, busy=120, memory_limit=1000)


def stuck(pid: int = 7, *, age: float = 25.0, waits: tuple[str, ...] = ("lock",), now: float = 100.0) -> Beat:
    """Return the beat of a process whose four threads have all hung for `age` seconds."""
    began = now - age
    return Beat(pid, beaten=now, in_flight=4, capacity=4, oldest=began, newest=began, ended=began, waits=waits)


def seen(*processes: Watched, now: float = 100.0, answered: float | None = None, memory: int = 0) -> Observation:
    return Observation(now, answered, processes, memory)


def reasons(observation: Observation) -> list[tuple[str, int | None]]:
    return [(evidence.reason, evidence.pid) for evidence in find(observation, PATIENCE).evidence]


def test_hanging_requests_are_a_deadlock() -> None:
    """Every thread of the process is held for longer than silence may last."""
    observation = seen(Watched(7, stuck()))
    [evidence] = find(observation, PATIENCE).evidence
    assert evidence == Evidence(DEADLOCK, "all 4 requests of process 7 have hung for more than 25 s (lock)", 7)


@pytest.mark.parametrize(
    "process",
    [
        Watched(7, stuck(age=20.0)),
        Watched(7, stuck(waits=("network",))),
        Watched(7, stuck(waits=("lock", "sleep"))),
        Watched(7, stuck(waits=("lock", "other"))),
        Watched(7, stuck(waits=("unknown",))),
        Watched(7, stuck(), computes=True),
        Watched(7, Beat(7, 100.0, in_flight=3, capacity=4, oldest=10.0, newest=10.0)),
        Watched(7, Beat(7, 100.0, in_flight=4, capacity=0, oldest=10.0, newest=10.0)),
        Watched(7, Beat(7, 100.0, in_flight=4, capacity=4, oldest=10.0, newest=90.0)),
        Watched(7, Beat(7, 80.0)),
        Watched(7, Beat(7, 70.0), computes=True),
        Watched(7),
    ],
    ids=[
        "not for long enough", "on the network", "asleep", "a child or a disk", "nobody tells", "computing",
        "a thread is free", "threads are not counted", "one has just begun", "a beat is due", "silent and computing",
        "no otel-forge inside",
    ],
)  # fmt: skip
def test_a_process_that_a_restart_would_not_help(process: Watched) -> None:
    """There is no evidence against it."""
    assert reasons(seen(process)) == []


def test_patience_with_what_computes_ends() -> None:
    """A process that spins for ever is sick as well."""
    assert reasons(seen(Watched(7, stuck(age=121.0, now=200.0), computes=True), now=200.0)) == [(DEADLOCK, 7)]
    assert reasons(seen(Watched(7, Beat(7, 79.0), computes=True), now=200.0)) == [(HEARTBEAT_LOST, 7)]


def test_patience_with_what_nobody_tells_ends() -> None:
    """Where the kernel does not say what a thread waits for."""
    assert reasons(seen(Watched(7, stuck(age=121.0, now=200.0, waits=("unknown",))), now=200.0)) == [(DEADLOCK, 7)]


def test_a_lost_heartbeat() -> None:
    """Of a process that had one."""
    assert reasons(seen(Watched(7, Beat(7, 79.0)))) == [(HEARTBEAT_LOST, 7)]


def test_a_silent_probe() -> None:
    """With requests that hang it is a deadlock; before its first answer the app is only starting."""
    assert reasons(seen(Watched(7), answered=79.0)) == [(UNRESPONSIVE, None)]
    assert reasons(seen(Watched(7, stuck()), answered=79.0)) == [(DEADLOCK, None), (DEADLOCK, 7)]
    assert reasons(seen(Watched(7), answered=81.0)) == []
    assert reasons(seen(Watched(7), answered=None)) == []


@pytest.mark.parametrize(
    ("process", "excuse"),
    [
        (Watched(7, computes=True), "the app computes"),
        (Watched(7, Beat(7, 100.0, completed=3, ended=90.0)), "it is overloaded"),
        (Watched(7, stuck(waits=("network",))), "wait for somebody else"),
    ],
)
def test_a_silent_probe_has_excuses(process: Watched, excuse: str) -> None:
    """And they are said."""
    findings = find(seen(process, answered=70.0), PATIENCE)
    assert findings.evidence == []
    assert excuse in findings.excuses[0]


def test_too_much_memory() -> None:
    """Above the limit, not at it; and never without one."""
    assert reasons(seen(memory=1001)) == [(MEMORY, None)]
    assert reasons(seen(memory=1000)) == []
    assert find(seen(memory=10**12), Patience()).evidence == []


def test_evidence_must_stay() -> None:
    """Two of three looks; one alone is nothing."""
    judge = Judge(PATIENCE, (2, 3))
    sick, well = seen(memory=2000), seen()
    assert [judge.look(look) is not None for look in (sick, well, well, sick, well, sick)] == [
        False, False, False, False, False, True,
    ]  # fmt: skip


def test_evidence_begins_anew_after_a_restart() -> None:
    """What was seen of the old app does not count against the new one."""
    judge = Judge(PATIENCE, (2, 3))
    judge.look(seen(memory=2000))
    judge.forget()
    assert judge.look(seen(memory=2000)) is None
    assert judge.look(seen(memory=2000)) is not None


def test_evidence_begins_anew_after_a_gap() -> None:
    """The machine was suspended, or the monitor stopped."""
    judge = Judge(PATIENCE, (2, 3), longest_gap=30)
    judge.look(seen(memory=2000, now=100.0))
    assert judge.look(seen(memory=2000, now=140.0)) is None


def test_evidence_against_every_worker_is_evidence_against_the_app() -> None:
    """Of two workers; of one of two it is against that worker."""
    judge = Judge(PATIENCE, (1, 1))
    both = judge.look(seen(Watched(7, stuck()), Watched(8, stuck(8))))
    assert both is not None and (both.reason, both.pid) == (DEADLOCK, None)
    one = judge.look(seen(Watched(7, stuck()), Watched(8, Beat(8, 100.0))))
    assert one is not None and one.pid == 7


@pytest.mark.gate
@pytest.mark.parametrize("waits", ["network", "sleep", "other"])
def test_an_hour_of_dependency_outage(waits: str) -> None:
    """H3: an hour, a look every 2 s: requests hang on the dependency until they time out; 0 restarts."""
    judge = Judge(Patience())
    found = []
    for now in range(1000, 4600, 2):
        hung = min(now - 1000.0, 300.0)  # five minutes until a request gives up
        beat = stuck(age=hung, waits=(waits,), now=now)
        answered = 1000.0 if hung < 300 else now - 1.0
        found.append(judge.look(seen(Watched(1), Watched(7, beat), now=now, answered=answered)))
    assert len(found) == 1800
    assert found == [None] * 1800


BEATS = st.builds(
    Beat,
    pid=st.just(7),
    beaten=st.floats(0, 100),
    in_flight=st.integers(0, 8),
    completed=st.integers(0, 8),
    oldest=st.none() | st.floats(0, 50),
    newest=st.none() | st.floats(50, 100),
    ended=st.floats(0, 100),
    waits=st.lists(st.sampled_from(["lock", "network", "sleep", "running", "unknown"]), unique=True).map(tuple),
    capacity=st.integers(0, 8),
)


@given(beat=BEATS, answered=st.none() | st.floats(80, 100), computes=st.booleans())
def test_an_app_that_answers_and_beats_is_never_sick(beat: Beat, answered: float | None, computes: bool) -> None:
    """Whatever its requests do, as long as one thread is free."""
    well = Beat(7, 95.0, min(beat.in_flight, 3), beat.completed, beat.oldest, beat.newest, beat.ended, beat.waits, 4)
    assert reasons(seen(Watched(7, well, computes), answered=answered)) == []


@given(beat=BEATS, silence=st.floats(0, 1000))
def test_waiting_for_the_network_is_never_a_deadlock(beat: Beat, silence: float) -> None:
    """Nor is it a silent probe while requests do it."""
    now = 100.0 + silence
    waiting = Beat(7, now, 4, beat.completed, 50.0, 60.0, beat.ended, ("network",), 4)
    assert DEADLOCK not in {reason for reason, _ in reasons(seen(Watched(7, waiting), now=now))}
    assert reasons(seen(Watched(7, waiting), now=now, answered=100.0)) == []
