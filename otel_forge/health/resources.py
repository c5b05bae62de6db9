"""Checks of what the process lives on: disk space, memory, file descriptors.

Each function returns a check function for ``health.check``: in warning from `warn` on, ill from `fail` on, both shares
of what there is. They are rarely a reason to take a service out of its load balancer: register them with
``required=False``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from otel_forge.health.dependencies import Probe
from otel_forge.health.results import FAIL, PASS, WARN, Result

SYSTEM = "system"
_NO_LIMIT = 1 << 60
"""From how many bytes on a cgroup's limit is none: version 1 says "unlimited" with a huge number."""


def disk(path: str | os.PathLike[str] = ".", *, warn: float = 0.8, fail: float = 0.95) -> Probe:
    """Check the file system that holds `path`: space and inodes (where it counts them) that an application may use."""
    _validate("disk", warn, fail)

    def look() -> Result:
        found = os.statvfs(path)
        used = _share(found.f_blocks - found.f_bfree, found.f_blocks - found.f_bfree + found.f_bavail)
        inodes = _share(found.f_files - found.f_ffree, found.f_files - found.f_ffree + found.f_favail)
        what = "space" if used >= inodes else "inodes"
        return _judged(max(used, inodes), warn, fail, f"of the {what} of the file system is used")

    return Probe(look, SYSTEM)


def memory(*, warn: float = 0.8, fail: float = 0.95) -> Probe:
    """Check memory against the limit that holds: that of the cgroup (version 1 or 2), else the machine's."""
    _validate("memory", warn, fail)

    def look() -> Result:
        found = memory_usage()
        return _judged(found.share, warn, fail, "of the memory is used")

    return Probe(look, SYSTEM)


def file_descriptors(*, warn: float = 0.8, fail: float = 0.95) -> Probe:
    """Check how many file descriptors the process has open, against its soft limit."""
    _validate("file_descriptors", warn, fail)

    def look() -> Result:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit in (resource.RLIM_INFINITY, 0):
            return Result(PASS)
        return _judged(_open_files() / limit, warn, fail, f"of the {limit} file descriptors are open")

    return Probe(look, SYSTEM)


@dataclass(frozen=True)
class MemoryUsage:
    """Bytes that are used, without caches that the kernel would give back, and how many there can be."""

    used: int
    limit: int

    @property
    def share(self) -> float:
        """How much of the limit is used, from 0 to 1."""
        return _share(self.used, self.limit)


def memory_usage(root: Path = Path("/")) -> MemoryUsage:
    """Return what is used of the memory that this process may use.

    That of the tightest cgroup with a limit around the process, else of the machine. `root` is where ``proc`` and
    ``sys`` are. Raises OSError or ValueError where neither can be read.
    """
    machine = _machine(root)
    groups = [usage for usage in _groups(root) if usage.limit < machine.limit]
    return max(groups, key=lambda usage: usage.share, default=machine)


def rss(root: Path = Path("/")) -> int:
    """Return the resident memory of this process in bytes."""
    try:
        pages = int((root / "proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import psutil

        return int(psutil.Process().memory_info().rss)


def _machine(root: Path) -> MemoryUsage:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        import psutil

        machine = psutil.virtual_memory()
        return MemoryUsage(machine.total - machine.available, machine.total)
    sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    return MemoryUsage(sizes["MemTotal"] - sizes["MemAvailable"], sizes["MemTotal"])


def _groups(root: Path) -> Iterator[MemoryUsage]:
    """Yield the usage of each cgroup around this process that limits memory."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _up(root / "sys/fs/cgroup", path, ("memory.max", "memory.current", "inactive_file"))
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _up(root / "sys/fs/cgroup/memory", path, names)


def _up(mount: Path, path: str, names: tuple[str, str, str]) -> Iterator[MemoryUsage]:
    """Yield the usage of the group `path` and of those that hold it.

    In a container `path` may be that of the host, which is not there; the container's own group is the mount then.
    """
    folder = mount / path.strip("/")
    while mount in (folder, *folder.parents):
        usage = _usage(folder, *names)
        if usage is not None:
            yield usage
        folder = folder.parent


def _usage(folder: Path, limit_name: str, used_name: str, cache_name: str) -> MemoryUsage | None:
    try:
        limit = int((folder / limit_name).read_text())  # "max" is no number
        used = int((folder / used_name).read_text())
        counts = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return MemoryUsage(max(used - int(counts.get(cache_name, 0)), 0), limit) if 0 < limit < _NO_LIMIT else None


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - much quicker than paths
    except OSError:
        import psutil

        return psutil.Process().num_fds()


def _share(used: float, whole: float) -> float:
    return used / whole if whole > 0 else 0.0


def _judged(share: float, warn: float, fail: float, what: str) -> Result:
    percent = round(share * 100, 1)
    status = FAIL if share >= fail else WARN if share >= warn else PASS
    return Result(status, "" if status == PASS else f"{percent:g} % {what}", percent, "percent")


def _validate(name: str, warn: float, fail: float) -> None:
    if not 0 < warn <= fail <= 1:
        raise ValueError(
            f"health.{name}(warn={warn!r}, fail={fail!r}): both are shares from 0 to 1, warn not above fail."
        )
