"""The handler: one line a record, and standard error while the disk refuses."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path

import pytest

from otel_forge.logs.describe import Describer
from otel_forge.logs.files.handler import FileHandler, build
from otel_forge.logs.files.sink import DailyFile
from otel_forge.logs.json_view import JsonView
from otel_forge.settings import Settings
from tests.logs.files.conftest import TODAY, Clock, MessageView, record, text_of

INJECTIONS = ["a\nb", "a\r\nb", "a\rb", "\x1b[31mred", "nul\x00", "\x85", "\u2028", "\u202e", "\ud800"]


class Disk:
    """A file that refuses as long as it is told to."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.error: OSError | None = None
        self.attempts = 0

    def append(self, line: bytes, patience: float = 0.0) -> None:
        self.attempts += 1
        if self.error is not None:
            raise self.error
        self.lines.append(line)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE, errno.EACCES, errno.EDQUOT])
def test_a_disk_that_refuses_sends_lines_to_standard_error_until_it_takes_them(code: int) -> None:
    """Said once at each end, counted, tried again once a second, and not raised."""
    disk, clock, said, diverted = Disk(), Clock(), list[str](), list[str]()
    handler = FileHandler(disk, MessageView(), place="logs/", fallback=diverted.append, say=said.append, clock=clock)
    handler.handle(record("one"))
    disk.error = OSError(code, os.strerror(code))
    for message in ("two", "three"):
        handler.handle(record(message))
    clock.now += 1.5
    handler.handle(record("four"))
    disk.error = None
    handler.handle(record("five"))
    clock.now += 1.5
    handler.handle(record("six"))
    assert disk.lines == [b"one\n", b"six\n"]
    assert diverted == ["two\n", "three\n", "four\n", "five\n"]
    assert disk.attempts == 4
    assert said == [
        f"logs/ cannot be written ({os.strerror(code)}); log lines go to standard error until it can.",
        "logs/ can be written again; 4 lines went to standard error meanwhile.",
    ]
    assert (handler.problems()["diverted"], handler.problems()["failed"]) == (4, 0)


def test_a_full_disk_and_a_closed_standard_error_harm_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counter has them."""
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    disk = Disk()
    disk.error = OSError(errno.ENOSPC, "No space left on device")
    handler = FileHandler(disk, MessageView())
    for _ in range(3):
        handler.handle(record("line"))
    assert handler.problems()["diverted"] == 3


def test_a_folder_that_cannot_be_made_goes_to_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reason, and the setting that names it."""
    (tmp_path / "file").touch()
    settings = Settings.from_env({"LOG_DIR": str(tmp_path / "file")})
    build(settings.log_files, "shop", MessageView()).handle(record("line"))
    assert capsys.readouterr().err == (
        f"otel-forge: LOG_DIR={tmp_path}/file cannot be written (Not a directory); "
        "log lines go to standard error until it can.\nline\n"
    )


@pytest.mark.parametrize("text", INJECTIONS)
def test_a_record_is_one_line_whatever_the_view_makes_of_it(folder: Path, clock: Clock, text: str) -> None:
    """Gate S3, for a view that escapes nothing; the JSON view's own lines are plain text."""
    file = DailyFile(folder, "shop", 10_000, clock=clock)
    for view in (MessageView(), JsonView(Describer("shop"))):
        FileHandler(file, view).handle(record(text))
    file.close()
    written = (folder / f"shop-{TODAY}.log").read_bytes()
    assert written.count(b"\n") == 2
    assert b"\r" not in written
    assert written.splitlines()[-1].decode().isprintable()


def test_settings_say_where_and_how_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative folder stays where it was when the application moves to another."""
    monkeypatch.chdir(tmp_path)
    environ = {"LOG_DIR": "logs", "OTEL_FORGE_LOGS_FILE_MB": "0.5", "OTEL_FORGE_LOGS_TOTAL_MB": "3"}
    settings = Settings.from_env({**environ, "OTEL_FORGE_LOGS_PACK_DAYS": "1", "OTEL_FORGE_LOGS_KEEP_DAYS": "2"})
    handler = build(settings.log_files, "my/shop", MessageView())
    monkeypatch.chdir("/")
    handler.handle(record("line"))
    assert isinstance(handler.file, DailyFile)
    assert handler.upkeep is not None
    handler.upkeep.wait(10)
    handler.close()
    assert handler.file.max_bytes == 500_000
    bounds = handler.upkeep.bounds
    assert (bounds.pack_after_days, bounds.remove_after_days, bounds.total_bytes) == (1, 2, 3_000_000)
    assert [text_of(path) for path in (tmp_path / "logs").glob("my_shop-*.log")] == ["line\n"]


def test_records_after_close_are_written(folder: Path, clock: Clock) -> None:
    """Logging closes handlers at exit, and something may still log after that."""
    handler = FileHandler(DailyFile(folder, "shop", 10_000, clock=clock), MessageView())
    handler.handle(record("one"))
    handler.close()
    handler.handle(record("two"))
    handler.close()
    assert text_of(folder / f"shop-{TODAY}.log") == "one\ntwo\n"


def test_a_record_made_while_another_is_written_comes_after_it(folder: Path, clock: Clock) -> None:
    """By a signal handler or a finaliser, in the midst of it and in the same thread."""
    file = DailyFile(folder, "shop", 10_000, clock=clock)
    handler = FileHandler(file, MessageView())

    def interrupted() -> None:
        handler.handle(record("from the midst"))

    file._on_change = interrupted  # called between opening and writing
    handler.handle(record("first"))
    handler.close()
    assert text_of(folder / f"shop-{TODAY}.log") == "first\nfrom the midst\n"


def test_unusable_settings_are_named() -> None:
    """And replaced by their defaults."""
    settings = Settings.from_env({"OTEL_FORGE_LOGS_FILE_MB": "0", "OTEL_FORGE_LOGS_KEEP_DAYS": "never"})
    assert settings.log_files.file_bytes == 10_000_000
    assert settings.problems == (
        "OTEL_FORGE_LOGS_FILE_MB='0' is not a number of megabytes above 0 to 1e+06; using 10.",
        "OTEL_FORGE_LOGS_KEEP_DAYS='never' is not a whole number from 1 up; using 30.",
    )
