"""The checks of disk, memory and file descriptors: of this machine, and of cgroups as kernels show them."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from otel_forge import health
from otel_forge.health.resources import MemoryUsage, memory_usage, rss
from otel_forge.health.results import FAIL, PASS, WARN
from tests.health.test_attempts import outcome

MEGABYTE = 1 << 20
MEMINFO = "MemTotal:       8388608 kB\nMemFree: 1000 kB\nMemAvailable:   6291456 kB\nHugePages_Total:       0\n"


def machine(folder: Path, cgroup: str, files: dict[str, str]) -> Path:
    """Make a root with 8 GiB, 2 of them used, `cgroup` as that of this process, and `files` below sys/fs/cgroup."""
    written = {"proc/meminfo": MEMINFO, "proc/self/cgroup": cgroup}
    for name, text in {**written, **{f"sys/fs/cgroup/{name}": text for name, text in files.items()}}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def group(prefix: str, limit: str, used: int, cache: int) -> dict[str, str]:
    """Return the files of a group of version 2."""
    return {
        f"{prefix}memory.max": f"{limit}\n",
        f"{prefix}memory.current": f"{used}\n",
        f"{prefix}memory.stat": f"anon 5\ninactive_file {cache}\n",
    }


def test_without_a_limit_it_is_the_machine(tmp_path: Path) -> None:
    """No cgroup, one without a limit, or none that can be read."""
    expected = MemoryUsage(2048 * MEGABYTE, 8192 * MEGABYTE)
    assert memory_usage(machine(tmp_path, "0::/\n", {})) == expected
    assert memory_usage(machine(tmp_path, "0::/\n", group("", "max", 5 * MEGABYTE, 0))) == expected


def test_the_limit_of_a_container_holds(tmp_path: Path) -> None:
    """Without the file cache that the kernel would give back, as kubelet counts it."""
    files = group("", str(512 * MEGABYTE), 400 * MEGABYTE, 100 * MEGABYTE)
    assert memory_usage(machine(tmp_path, "0::/\n", files)) == MemoryUsage(300 * MEGABYTE, 512 * MEGABYTE)


def test_the_tightest_of_nested_groups_holds(tmp_path: Path) -> None:
    """A service's own limit is generous, that of the slice around it is nearly reached."""
    files = {
        **group("app.slice/", str(1000 * MEGABYTE), 900 * MEGABYTE, 0),
        **group("app.slice/shop.service/", str(900 * MEGABYTE), 100 * MEGABYTE, 0),
    }
    found = memory_usage(machine(tmp_path, "0::/app.slice/shop.service\n", files))
    assert found == MemoryUsage(900 * MEGABYTE, 1000 * MEGABYTE)


def test_version_1_counts_too(tmp_path: Path) -> None:
    """Also where the path is that of the host and the container sees its own group as the root."""
    files = {
        "memory/memory.limit_in_bytes": str(256 * MEGABYTE),
        "memory/memory.usage_in_bytes": str(200 * MEGABYTE),
        "memory/memory.stat": f"cache 1\ntotal_inactive_file {8 * MEGABYTE}\n",
    }
    root = machine(tmp_path, "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n", files)
    assert memory_usage(root) == MemoryUsage(192 * MEGABYTE, 256 * MEGABYTE)
    (root / "sys/fs/cgroup/memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert memory_usage(root).limit == 8192 * MEGABYTE


def test_the_machine_is_measured_as_psutil_does() -> None:
    """Within what changes between two looks."""
    usage, found = memory_usage(Path("/nowhere")), psutil.virtual_memory()
    assert usage.limit == found.total
    assert abs(rss() - psutil.Process().memory_info().rss) < 64 * MEGABYTE
    assert rss(Path("/nowhere")) > MEGABYTE


def test_disk_memory_and_descriptors_warn_and_fail_at_their_shares(tmp_path: Path) -> None:
    """Of this machine: there is always more used than a billionth, and less than all."""
    tiny = 1e-9
    for build in (health.memory, health.file_descriptors, lambda **shares: health.disk("/", **shares)):
        well, warned, failed = build(warn=1, fail=1), build(warn=tiny, fail=1), build(warn=tiny, fail=tiny)
        assert [outcome(check).status for check in (well, warned, failed)] == [PASS, WARN, FAIL]
        result = outcome(failed)
        assert result.unit == "percent" and result.observed is not None and 0 <= result.observed < 100
        assert result.detail.startswith(f"{result.observed:g} % of the ")
        assert well.component_type == "system"


def test_open_files_are_counted(tmp_path: Path) -> None:
    """More files, a larger share."""
    check = health.file_descriptors(warn=1, fail=1)
    before = outcome(check).observed or 0
    opened = [os.open(tmp_path, os.O_RDONLY) for _ in range(200)]
    try:
        assert (outcome(check).observed or 0) >= before
    finally:
        for descriptor in opened:
            os.close(descriptor)


@pytest.mark.parametrize("shares", [{"warn": 0}, {"fail": 1.5}, {"warn": 0.9, "fail": 0.5}, {"warn": 80, "fail": 95}])
def test_shares_that_are_none_are_an_error(shares: dict[str, float]) -> None:
    """Percent instead of shares, for one."""
    for build in (health.disk, health.memory, health.file_descriptors):
        with pytest.raises(ValueError, match="both are shares from 0 to 1, warn not above fail"):
            build(**shares)
