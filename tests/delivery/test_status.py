"""What a running process says of its telemetry: when, where, and who reads it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from otel_forge.cli.services import services_text, shown_size
from otel_forge.delivery.accounts import Accounts, Reason
from otel_forge.delivery.spool import SpoolDirectory
from otel_forge.delivery.status import INTERVAL, ServiceStatus, StatusFile, described, read_all

NOBODY = 2**22 + 7
"""A pid that no process has: beyond the largest of Linux."""


class Scene:
    """A status file in a spool of its own, and the clock that it lives by."""

    def __init__(self, root: Path) -> None:
        self.now = 100.0
        self.root = root
        self.accounts = Accounts()
        self.directory = SpoolDirectory(root, "shop")
        self.file = StatusFile(self.directory, self.describe, clock=lambda: self.now, wall=lambda: 1000.0 + self.now)

    def describe(self) -> Mapping[str, Any]:
        routes = {"traces": ("http://collector:4318", "connection refused")}
        return described("shop", routes, self.accounts.read(), {"traces": 1040.0})  # type: ignore[arg-type]

    def round(self, after: float = 0.0) -> None:
        self.now += after
        self.file.told("traces", False)

    @property
    def read(self) -> list[ServiceStatus]:
        return read_all(self.root)

    @property
    def counts(self) -> Mapping[str, Any]:
        counts: Mapping[str, Any] = self.read[0].processes[0]["signals"]["traces"]
        return counts


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "spool")


def test_a_process_that_is_done_soon_leaves_no_trace(scene: Scene) -> None:
    """The first file comes when it has lived for an interval."""
    scene.round(INTERVAL - 0.1)
    scene.file.told("traces", True)
    assert not scene.root.exists()


def test_the_accounts_are_read_by_others(scene: Scene) -> None:
    """Items and bytes, reasons by their names, and why the last request failed."""
    scene.accounts.accept("traces", 10, 1000)
    scene.accounts.write("traces", 10, 1000)
    scene.accounts.drop("traces", Reason.EXPIRED, 4, 400, on_disk=True)
    scene.round(INTERVAL)
    [service] = scene.read
    assert (service.service, service.left_bytes) == ("shop", 0)
    assert service.processes[0]["pid"] == os.getpid()
    assert service.processes[0]["written"] == 1000.0 + scene.now
    assert scene.counts["failure"] == "connection refused"
    assert (scene.counts["created"], scene.counts["held"], scene.counts["dropped"]) == (10, 6, {"expired": 4})
    assert (scene.counts["bytes"]["created"], scene.counts["bytes"]["on_disk"]) == (1000, 600)


def test_it_is_written_at_an_interval_and_not_after_each_round(scene: Scene) -> None:
    """However many rounds there are."""
    scene.round(INTERVAL)
    scene.accounts.accept("traces", 1, 10)
    scene.round(INTERVAL - 0.1)
    assert scene.counts["created"] == 0
    scene.round(0.1)
    assert scene.counts["created"] == 1


def test_only_the_owner_can_read_it(scene: Scene) -> None:
    """0600, in a directory with 0700."""
    scene.round(INTERVAL)
    [path] = scene.root.glob("shop/*/status.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {entry.name for entry in path.parent.iterdir()} == {"lock", "status.json"}


def test_a_link_in_its_place_is_not_followed(scene: Scene, tmp_path: Path) -> None:
    """What it points to stays as it is, and the pipeline goes on."""
    scene.round(INTERVAL)
    [path] = scene.root.glob("shop/*/status.json")
    precious = tmp_path / "precious"
    precious.write_text("data")
    path.with_name("status.json.new").symlink_to(precious)
    scene.round(INTERVAL)
    assert precious.read_text() == "data"


def test_the_last_thread_that_ends_takes_it_away(scene: Scene) -> None:
    """And with it the directory, if nothing is left in it."""
    scene.round(INTERVAL)
    scene.file.told("logs", False)
    scene.file.told("traces", True)
    assert list(scene.root.glob("shop/*/status.json"))
    scene.file.told("logs", True)
    assert not list(scene.root.glob("shop/*"))


def test_a_forked_child_writes_its_own(scene: Scene) -> None:
    """And leaves the parent's alone; even if another thread was writing while it forked."""
    scene.round(INTERVAL)
    with scene.file._lock:
        child = os.fork()
    if child == 0:
        scene.directory.forget()
        scene.round(INTERVAL)
        processes = scene.read[0].processes
        os._exit(0 if {process["pid"] for process in processes} == {os.getpid(), os.getppid()} else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert [process["pid"] for process in scene.read[0].processes] == [os.getpid()]


def test_a_directory_that_cannot_be_used_costs_only_the_status(tmp_path: Path) -> None:
    """Nothing is raised, whatever is in the way; and without a spool there is no file."""
    (tmp_path / "spool").write_text("a file in the way")
    blocked = Scene(tmp_path / "spool")
    blocked.round(INTERVAL)
    assert blocked.read == []
    StatusFile(None, dict, interval=0).told("traces", False)
    assert read_all(None) == []


def test_of_dead_processes_is_told_what_they_have_left(scene: Scene) -> None:
    """Their word is not believed any more; a garbled file, or one of another version, is left out."""
    dead = scene.root / "shop" / f"{NOBODY}-00000000"
    dead.mkdir(parents=True)
    (dead / "status.json").write_text('{"version": 1, "signals": {}, "service": "shop", "pid": 1}')
    (dead / "traces-00000001.seg").write_bytes(b"x" * 3000)
    (dead / "refused-traces.seg").write_bytes(b"x" * 500)
    for number, text in enumerate(["{", '{"version": 2, "signals": {}}', "[]"]):
        folder = scene.root / "shop" / f"{os.getpid()}-0000000{number}"
        folder.mkdir()
        (folder / "status.json").write_text(text)
    assert scene.read == [ServiceStatus("shop", [], 3000, 500)]


def test_a_dead_process_with_nothing_but_a_status_is_cleared_away_by_the_next(scene: Scene) -> None:
    """As an empty directory is."""
    dead = scene.root / "shop" / f"{NOBODY}-00000000"
    scene.round(INTERVAL)
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "status.json").write_text("{}")
    with scene.directory.claim(str(dead)):
        pass
    assert not dead.exists()


def test_people_read_a_table(scene: Scene) -> None:
    """With the reasons of what was dropped, why requests fail, and what is left on disk."""
    scene.accounts.accept("traces", 10, 3000)
    scene.accounts.write("traces", 10, 3000)
    scene.accounts.drop("traces", Reason.EXPIRED, 4, 1000, on_disk=True)
    scene.round(INTERVAL)
    left = ServiceStatus("old\x1b[2J", left_bytes=5 << 20, refused_bytes=10)
    lines = services_text([*scene.read, left], now=1000.0 + scene.now + 2)
    row = next(line for line in lines if line.startswith("shop "))
    pid = str(os.getpid())
    assert row.split() == ["shop", pid, "traces", "10", "0", "6", "2.0", "KiB", "4", "expired", "2s", "ago"]
    assert lines[-3:] == [
        f"shop ({pid}): http://collector:4318 does not take traces (connection refused); the oldest waits for 1m 5s.",
        "old?[2J: 5.0 MiB left on disk by processes that are gone; the next one to start delivers it.",
        "old?[2J: 10 B refused by the back end and set aside.",
    ]


def test_nothing_is_printed_where_there_is_nothing() -> None:
    """The stack's status stays as it was."""
    assert services_text([]) == []
    assert [shown_size(size) for size in (0, 1023, 1024, 1 << 30)] == ["0 B", "1023 B", "1.0 KiB", "1.0 GiB"]
