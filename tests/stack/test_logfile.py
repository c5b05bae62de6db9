"""Log files: bounded, whole lines, read back from the end and followed."""

from __future__ import annotations

import gzip
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from otel_forge.stack.following import by_time, follow, time_of
from otel_forge.stack.logfile import START_MARK, STOP_MARK, Follower, RotatingLog, is_serious, tail


def everything(path: Path) -> bytes:
    """Return what the log and its older files hold, oldest first."""
    older = sorted(path.parent.glob(f"{path.name}.*.gz"), key=lambda file: -int(file.name.split(".")[-2]))
    return b"".join(gzip.decompress(file.read_bytes()) for file in older) + path.read_bytes()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=400), min_size=1, max_size=60))
def test_no_byte_is_lost_and_no_line_is_cut_by_rotation(tmp_path_factory, chunks: list[bytes]) -> None:  # type: ignore[no-untyped-def]
    """However the output is cut into chunks."""
    path = tmp_path_factory.mktemp("log") / "x.log"
    log = RotatingLog(path, max_bytes=1000, keep=1000)
    for chunk in chunks:
        log.feed(chunk)
    log.finish()
    whole = b"".join(chunks)
    assert everything(path) == whole + (b"" if whole.endswith(b"\n") else b"\n")
    for file in path.parent.glob("*.gz"):
        assert gzip.decompress(file.read_bytes()).endswith(b"\n")


def test_only_so_many_older_files_are_kept(tmp_path: Path) -> None:
    """The bound holds for years of output."""
    log = RotatingLog(tmp_path / "x.log", max_bytes=100, keep=3)
    for number in range(1000):
        log.feed(b"line %04d\n" % number)
    assert len(list(tmp_path.iterdir())) == 4
    assert log.path.stat().st_size <= 100
    assert everything(log.path).endswith(b"line 0999\n")


def test_output_without_line_ends_is_not_gathered_in_memory(tmp_path: Path) -> None:
    """A stream of binary nonsense must not grow the supervisor."""
    log = RotatingLog(tmp_path / "x.log", max_bytes=10_000_000, keep=1)
    log.feed(b"x" * 70_000)
    assert log.path.stat().st_size == 70_000


def test_a_full_disk_costs_lines_and_raises_nothing(tmp_path: Path) -> None:
    """A folder in the file's place fails like a full disk does, for root, too."""
    (tmp_path / "x.log").mkdir()
    log = RotatingLog(tmp_path / "x.log", max_bytes=1_000_000, keep=1)
    log.feed(b"one\n")
    assert log.lost == 4


def test_tail_reaches_into_older_files(tmp_path: Path) -> None:
    """A rotation a moment ago must not make `logs -n` look empty."""
    log = RotatingLog(tmp_path / "x.log", max_bytes=100, keep=3)
    for number in range(40):
        log.feed(b"line %02d\n" % number)
    assert tail(log.path, 20) == [f"line {number}" for number in range(20, 40)]
    assert tail(log.path, 0) == []
    assert tail(tmp_path / "none.log", 5) == []


def test_tail_can_keep_some_lines_only(tmp_path: Path) -> None:
    """The last errors are wanted, not the errors among the last lines."""
    path = tmp_path / "x.log"
    path.write_text("level=error first\n" + "level=info quiet\n" * 500)
    assert tail(path, 3, is_serious) == ["level=error first"]


def test_errors_of_every_server_are_recognised() -> None:
    """Their formats differ: logfmt, JSON, zap's console, Go's panic."""
    serious = [
        'time=2026-11-23T12:00:00Z level=ERROR source=main.go:1 msg="no"',
        'level=error ts=2026-11-23T12:00:00Z caller=x.go:1 msg="no"',
        '{"level":"error","ts":1,"msg":"no"}',
        "2026-11-23T12:00:00.000Z\terror\texporterhelper/retry.go:1\tno",
        "panic: runtime error",
        "FATAL: cannot read my configuration",
    ]
    fine = ['level=info msg="no error at all"', "2026-11-23T12:00:00.000Z\tinfo\tx.go:1\tfine", "terror"]
    assert [is_serious(line) for line in serious + fine] == [True] * 6 + [False] * 3


def test_a_follower_starts_at_the_end_and_survives_rotation(tmp_path: Path) -> None:
    """Only whole, new lines are given out."""
    log = RotatingLog(tmp_path / "x.log", max_bytes=60, keep=1)
    log.feed(b"old\n")
    follower = Follower(log.path)
    assert follower.lines() == []
    log.feed(b"one\n")
    assert follower.lines() == ["one"]
    log.feed(b"y" * 58 + b"\n")  # does not fit: the file is rotated
    assert follower.lines() == ["y" * 58]


def test_followed_files_may_come_later(tmp_path: Path) -> None:
    """Following may begin before the component has said its first word."""
    lines = follow({"x": tmp_path / "x.log"}, pause=0.01)
    (tmp_path / "x.log").write_text("hello\n")
    assert next(lines) == ("x", "hello")


def test_of_this_run_neither_earlier_lines_nor_those_of_the_stop_are_shown(tmp_path: Path) -> None:
    """Also when the run began in a file that was rotated away since."""
    log = RotatingLog(tmp_path / "x.log", max_bytes=150, keep=3)
    log.feed(b"level=error of an earlier run\n")
    log.mark(START_MARK)
    log.feed(b"level=error first\nlevel=info fine\n")
    log.feed(b"level=error second " + b"x" * 100 + b"\n")
    log.mark(STOP_MARK)
    log.feed(b'level=error msg="context canceled"\n')
    assert len(list(tmp_path.iterdir())) > 1
    shown = [line.split(" x")[0] for line in tail(log.path, 10, is_serious, this_run=True)]
    assert shown == ["level=error first", "level=error second"]
    assert [line.split(" x")[0] for line in tail(log.path, 1, is_serious, this_run=True)] == ["level=error second"]
    log.mark(START_MARK)
    assert tail(log.path, 10, is_serious, this_run=True) == []
    assert len(tail(log.path, 10, is_serious)) == 4


def test_a_log_without_marks_is_of_one_run(tmp_path: Path) -> None:
    """As a release before the marks has left it."""
    (tmp_path / "x.log").write_text("level=error old\n")
    assert tail(tmp_path / "x.log", 5, is_serious, this_run=True) == ["level=error old"]


def test_lines_of_several_logs_are_in_the_order_of_time() -> None:
    """Whatever form each server writes the time in; lines without one stay with the one before."""
    tails = {
        "collector": ["2026-11-23T14:00:02.500Z\tinfo\tservice.go:1\tthird", "  a line of its stack trace"],
        "loki": ["level=info ts=2026-11-23T14:00:01.218024228Z caller=x.go:1 msg=first", "level=info msg=timeless"],
        "tempo": [f"{START_MARK}2026-11-23T15:00:02+0100", "level=info ts=2026-11-23T14:00:03Z msg=fourth"],
    }
    order = [(name, line.split("=")[-1].split("\t")[-1].split(" ")[-1]) for name, line in by_time(tails)]
    assert order == [
        ("loki", "first"),
        ("loki", "timeless"),
        ("tempo", "2026-11-23T15:00:02+0100"),
        ("collector", "third"),
        ("collector", "trace"),
        ("tempo", "fourth"),
    ]


def test_a_time_that_cannot_be_is_none() -> None:
    """A line may carry anything."""
    assert time_of("2026-99-99T14:00:00Z no such day") is None
    assert time_of("no time at all") is None
    assert time_of("1970-01-01T00:00:01.25+00:00 x") == 1.25
