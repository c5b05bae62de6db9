"""The asset database under several processes and threads."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from asset_forge.assets import AssetStore, NewAsset
from asset_forge.seed import SEED_ASSETS

from tests.examples.conftest import EXAMPLE

OPEN_AND_ADD = """
import sys
from asset_forge.assets import AssetStore, NewAsset
store = AssetStore(sys.argv[1])
sys.stdin.readline()
for number in range(20):
    store.add(NewAsset(f"{sys.argv[2]}-{number}", "prop"), b"png")
store.close()
"""


def test_processes_that_start_together_make_and_seed_the_database_once(tmp_path: Path) -> None:
    """Six processes open a new database at the same time, then write at the same time: nothing fails or doubles."""
    url = f"sqlite:///{tmp_path}/assets.db"
    command = [sys.executable, "-c", OPEN_AND_ADD, url]
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": EXAMPLE}
    processes = [subprocess.Popen([*command, f"p{number}"], **pipes) for number in range(6)]  # type: ignore[call-overload]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in processes] == [("", 0)] * 6
    store = AssetStore(url)
    assert store.page(0, 10).total == len(SEED_ASSETS) + 6 * 20
    store.close()
    connection = sqlite3.connect(tmp_path / "assets.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_the_first_assets_are_the_same_every_time(tmp_path: Path) -> None:
    """Two new databases start with equal assets, and opening one again adds none."""
    exports = []
    for name in ("one.db", "two.db", "one.db"):
        store = AssetStore(f"sqlite:///{tmp_path}/{name}")
        exports.append([asset.as_json() for asset in store.export()])
        store.close()
    assert exports[0] == exports[1] == exports[2]
    assert len(exports[0]) == len(SEED_ASSETS)


def test_an_export_under_way_neither_blocks_writers_nor_is_blocked(tmp_path: Path) -> None:
    """Writers go on between the batches of an export."""
    store = AssetStore(f"sqlite:///{tmp_path}/assets.db")
    export = store.export()
    next(export)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: store.add(NewAsset(f"Box {number}", "prop")), range(40)))
    assert 1 + len(list(export)) >= len(SEED_ASSETS)
    assert store.page(0, 1).total == len(SEED_ASSETS) + 40
    store.close()
