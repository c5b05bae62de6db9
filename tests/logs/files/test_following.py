"""Following log files while everything happens to them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_forge.logs.files.entries import EVERYTHING
from otel_forge.logs.files.following import Follower
from otel_forge.logs.files.names import files_of
from otel_forge.logs.files.reading import last_lines, look
from otel_forge.logs.files.sink import DailyFile, seal_now
from otel_forge.logs.files.upkeep import pack_file
from tests.logs.files.conftest import DAY, Clock


class Service:
    """A service that logs numbered lines, and what may happen to its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.file = DailyFile(folder, "shop", 100_000, clock=self.clock)
        self.written: list[bytes] = []
        self.renamed = 0

    def log(self) -> None:
        line = b"line %d" % len(self.written)
        self.written.append(line)
        self.file.append(line + b"\n")

    def set_aside(self) -> None:
        for file in files_of(self.folder, "shop"):
            if file.is_written:
                seal_now(file)

    def set_aside_and_log(self) -> None:
        self.set_aside()
        self.log()

    def pack(self) -> None:
        for file in files_of(self.folder, "shop"):
            if file.is_sealed and not file.is_packed:
                pack_file(file.path)

    def logrotate_renames(self) -> None:
        for file in files_of(self.folder, "shop"):
            if file.is_written:
                self.renamed += 1
                file.path.rename(f"{file.path}-{self.renamed}")

    def midnight(self) -> None:
        self.clock.now += DAY


EVENTS = ["log", "set_aside", "set_aside_and_log", "pack", "midnight", "look"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(EVENTS)), st.lists(st.sampled_from(EVENTS)))
def test_every_line_is_shown_once_and_in_order(before: list[str], after: list[str]) -> None:
    """Past and new together, whatever is set aside, packed and begun between two looks."""
    with tempfile.TemporaryDirectory() as place:
        service = Service(Path(place))
        for event in before:
            if event != "look":
                getattr(service, event)()
        snapshot = look(service.folder, "shop")
        follower = Follower(service.folder, "shop", snapshot)
        shown: list[bytes] = []
        for event in after:
            if event == "look":
                shown += follower.lines()
            else:
                getattr(service, event)()
        shown += follower.lines()
        shown += follower.lines()
        assert last_lines(snapshot, None, EVERYTHING) + shown == service.written
        service.file.close()


@pytest.fixture
def service(folder: Path) -> Service:
    service = Service(folder)
    service.log()
    return service


def test_logrotate_may_rename_what_is_followed(service: Service) -> None:
    """Lines from before the rename that were not shown yet included."""
    follower = Follower(service.folder, "shop", look(service.folder, "shop"))
    for _ in range(3):
        service.log()
        service.logrotate_renames()
        service.log()
        assert follower.lines() == service.written[-2:]


def test_logrotate_may_truncate_what_is_followed(service: Service) -> None:
    """What comes after that is shown from the start of the file."""
    for _ in range(5):
        service.log()
    follower = Follower(service.folder, "shop", look(service.folder, "shop"))
    os.truncate(files_of(service.folder, "shop")[0].path, 0)
    service.log()
    assert follower.lines() == service.written[-1:]


def test_half_a_line_is_shown_when_it_is_whole(service: Service) -> None:
    """Not before, and not in two parts."""
    path = files_of(service.folder, "shop")[0].path
    follower = Follower(service.folder, "shop", look(service.folder, "shop"))
    with path.open("ab", buffering=0) as file:
        file.write(b"first ")
        assert follower.lines() == []
        file.write(b"half\nsecond")
        assert follower.lines() == [b"first half"]
        file.write(b"\n")
        assert follower.lines() == [b"second"]


def test_the_first_file_of_a_service_is_waited_for(folder: Path) -> None:
    """Nothing is there yet when the following begins."""
    follower = Follower(folder, "shop", look(folder, "shop"))
    assert follower.lines() == []
    service = Service(folder)
    service.log()
    assert follower.lines() == [b"line 0"]


def test_following_goes_on_after_everything_was_removed(service: Service) -> None:
    """As after `otel-forge logs flush`."""
    service.set_aside_and_log()
    follower = Follower(service.folder, "shop", look(service.folder, "shop"))
    for file in files_of(service.folder, "shop"):
        file.path.unlink()
    assert follower.lines() == []
    service.log()
    service.set_aside_and_log()
    assert follower.lines() == service.written[-2:]
