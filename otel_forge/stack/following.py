"""Reads the logs of several components: their last lines, and those to come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from otel_forge.errors import StackError
from otel_forge.stack.backend import known_names
from otel_forge.stack.logfile import Follower, is_serious, tail
from otel_forge.stack.state import StateFolder


def read_logs(folder: StateFolder, names: Sequence[str], *, lines: int, following: bool, errors: bool) -> Iterator[str]:
    """Yield log lines, each with its component's name in front where there are several."""
    there = [path.name.removesuffix(".log") for path in sorted(folder.logs.glob("*.log"))]
    if not there:
        raise StackError(f"There are no logs in {folder.logs}; has the stack been started?")
    chosen = known_names(names, there) or there
    keep = is_serious if errors else None
    width = max(map(len, chosen))
    prefixes = {name: f"{name:<{width}} | " if len(chosen) > 1 else "" for name in chosen}
    followed = follow({name: folder.log_file(name) for name in chosen}) if following else iter(())
    for name in chosen:
        for line in tail(folder.log_file(name), lines, keep):
            yield prefixes[name] + line
    for name, line in followed:
        if keep is None or keep(line):
            yield prefixes[name] + line


def follow(files: Mapping[str, Path], pause: float = 0.2) -> Iterator[tuple[str, str]]:
    """Return an iterator over every new line with the name of its file; what is new is counted from this call on."""
    followers = {name: Follower(path) for name, path in files.items()}
    return _lines(followers, pause)


def _lines(followers: Mapping[str, Follower], pause: float) -> Iterator[tuple[str, str]]:
    while True:
        quiet = True
        for name, follower in followers.items():
            for line in follower.lines():
                quiet = False
                yield name, line
        if quiet:
            time.sleep(pause)
