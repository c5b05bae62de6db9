"""Levels that change while a process runs, and go back by themselves."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from otel_forge.cli.log_level import level as command
from otel_forge.logs.levels import LevelChange, LevelWatch, level_number, levels_file, read_changes, write_changes
from tests.programs import BIN, Programs

NAME = "levels.till"


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock at 1000."""
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """Where changes stand; the logger is as it was afterwards."""
    yield tmp_path / "state" / "log-levels.json"
    logging.getLogger(NAME).setLevel(logging.NOTSET)


def level() -> int:
    return logging.getLogger(NAME).level


def test_a_change_is_followed_and_ends_by_itself(file: Path, clock: Clock) -> None:
    """At its time, though nobody touches the file."""
    watch = LevelWatch(file, "shop", clock)
    watch.look()
    write_changes(file, [LevelChange(NAME, logging.DEBUG, until=1600)])
    watch.look()
    assert level() == logging.DEBUG
    clock.now = 1599
    watch.look()
    assert level() == logging.DEBUG
    clock.now = 1600
    watch.look()
    assert level() == logging.NOTSET


def test_a_change_of_a_change_goes_back_to_the_first_level(file: Path, clock: Clock) -> None:
    """Not to the one in between; without the file, too."""
    logging.getLogger(NAME).setLevel(logging.ERROR)
    watch = LevelWatch(file, "shop", clock)
    for chosen in (logging.DEBUG, logging.INFO):
        write_changes(file, [LevelChange(NAME, chosen, until=1600)])
        watch.look()
        assert level() == chosen
    file.unlink()
    watch.look()
    assert level() == logging.ERROR


def test_a_level_that_the_application_sets_meanwhile_is_left_alone(file: Path, clock: Clock) -> None:
    """It is the application's."""
    watch = LevelWatch(file, "shop", clock)
    write_changes(file, [LevelChange(NAME, logging.DEBUG, until=1600)])
    watch.look()
    logging.getLogger(NAME).setLevel(logging.CRITICAL)
    watch.look()
    clock.now = 2000
    watch.look()
    assert level() == logging.CRITICAL


def test_a_change_may_be_for_one_service(file: Path, clock: Clock) -> None:
    """Others do not follow it."""
    write_changes(file, [LevelChange(NAME, logging.DEBUG, until=1600, service="billing")])
    LevelWatch(file, "shop", clock).look()
    assert level() == logging.NOTSET
    watch = LevelWatch(file, "billing", clock)
    watch.look()
    assert level() == logging.DEBUG
    watch.close()
    assert level() == logging.NOTSET


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"changes": [1]}', '{"changes": [{"logger": 1, "level": 10, "until": 9e9}]}', "\xff", '{"a": 1}'],
)
def test_a_damaged_file_changes_nothing(file: Path, clock: Clock, content: str) -> None:
    """And raises nothing."""
    file.parent.mkdir()
    file.write_text(content, encoding="latin-1")
    file.chmod(0o600)
    LevelWatch(file, "shop", clock).look()
    assert level() == logging.NOTSET


def test_a_file_that_others_may_write_is_not_read(file: Path) -> None:
    """Whoever can turn debugging on can fill a disk."""
    write_changes(file, [LevelChange(NAME, logging.DEBUG, until=9e9)])
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert len(read_changes(file)) == 1
    file.chmod(0o620)
    assert read_changes(file) == []


def test_levels_have_names_and_numbers() -> None:
    """In any case; anything else is an error."""
    assert [level_number(text) for text in ("Debug", "warn", "FATAL", " 15 ")] == [10, 30, 50, 15]
    with pytest.raises(ValueError, match="loud"):
        level_number("loud")


SERVER = """
    import logging, sys, time
    log = logging.getLogger("AssetService")
    while True:
        log.debug("debugging")
        logging.getLogger("other").debug("other")
        time.sleep(0.02)
"""


def test_the_command_reaches_a_running_process(programs: Programs) -> None:
    """Debugging begins within seconds, ends when its time is over, and nothing else is changed."""
    state = programs.folder / "state"
    programs.environ["OTEL_FORGE_STATE_DIR"] = str(state)
    quiet: dict[str, Any] = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    script = programs.write("server.py", SERVER)
    server = programs.instrumented(sys.executable, str(script), OTEL_FORGE_LOGS_VIEW="json", **quiet)
    server.wait_for_output("otel-forge:")
    command = programs.start(str(BIN / "otel-forge"), "logs", "level", "AssetService", "debug", "--for", "3s")
    assert command.wait() == 0, command.err
    assert "AssetService: DEBUG until" in command.out
    server.wait_for_output("debugging")
    shown = programs.start(str(BIN / "otel-forge"), "logs", "level")
    assert shown.wait() == 0 and "AssetService: DEBUG for another" in shown.out

    def count() -> int:
        return server.out.count("debugging")

    _until_steady(count)
    assert {json.loads(line)["context"] for line in server.out.splitlines()} == {"AssetService"}
    assert server.process.poll() is None


def _until_steady(count: Callable[[], int]) -> None:
    """Wait until the number does not grow for half a second: the process writes fifty lines a second meanwhile."""
    deadline, last, since = time.monotonic() + 30, -1, time.monotonic()
    while time.monotonic() < deadline:
        if count() != last:
            last, since = count(), time.monotonic()
        if time.monotonic() - since > 0.5:
            return
        time.sleep(0.02)
    raise AssertionError("the level did not go back")


def test_a_reset_takes_back_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one service, or of every process of the user, those included that were named by service."""
    monkeypatch.setenv("OTEL_FORGE_STATE_DIR", str(tmp_path))

    def run(*arguments: str) -> None:
        assert CliRunner().invoke(command, arguments).exit_code == 0

    for service in ("shop", "image-server"):
        run(NAME, "debug", "--service", service)
    run("other", "debug")
    run(NAME, "reset", "--service", "shop")
    assert [(change.logger, change.service) for change in read_changes(levels_file(os.environ))] == [
        (NAME, "image-server"),
        ("other", ""),
    ]
    run(NAME, "reset")
    assert [change.logger for change in read_changes(levels_file(os.environ))] == ["other"]


def test_the_time_until_which_a_level_holds_has_a_date_and_a_zone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The local ones, for who looks at a clock on the wall."""
    monkeypatch.setenv("OTEL_FORGE_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        said = CliRunner().invoke(command, (NAME, "debug", "--for", "2d")).output
    finally:
        monkeypatch.undo()
        time.tzset()
    [until] = re.findall(r"until (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+05:30) in every process", said)
    assert abs(datetime.fromisoformat(until).timestamp() - time.time() - 2 * 86400) < 60


def test_wrong_usage_is_explained(programs: Programs) -> None:
    """With exit code 2."""
    for arguments in (("x", "loud"), ("x",), ("x", "debug", "--for", "soon")):
        command = programs.start(str(BIN / "otel-forge"), "logs", "level", *arguments)
        assert command.wait() == 2 and "Error:" in command.err
    assert list(programs.folder.iterdir()) == []
