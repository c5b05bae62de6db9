"""Reads the logs of several components: their last lines, and those to come."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from otel_forge.errors import StackError
from otel_forge.stack.backend import known_names
from otel_forge.stack.logfile import Follower, is_serious, tail
from otel_forge.stack.state import StateFolder

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:?\d\d)")


def read_logs(folder: StateFolder, names: Sequence[str], *, lines: int, following: bool, errors: bool) -> Iterator[str]:
    """Yield log lines in the order of time, each with its component's name in front where there are several."""
    there = [path.name.removesuffix(".log") for path in sorted(folder.logs.glob("*.log"))]
    if not there:
        raise StackError(f"There are no logs in {folder.logs}; has the stack been started?")
    chosen = known_names(names, there) or there
    keep = is_serious if errors else None
    width = max(map(len, chosen))
    prefixes = {name: f"{name:<{width}} | " if len(chosen) > 1 else "" for name in chosen}
    followed = follow({name: folder.log_file(name) for name in chosen}) if following else iter(())
    tails = {name: tail(folder.log_file(name), lines, keep, this_run=errors) for name in chosen}
    for name, line in by_time(tails):
        yield prefixes[name] + line
    for name, line in followed:
        if keep is None or keep(line):
            yield prefixes[name] + line


def by_time(tails: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Return the lines of several logs in the order of their times; one without a time stays with the line before."""
    stamped: list[tuple[float, str, str]] = []
    for name, lines in tails.items():
        moment = 0.0
        for line in lines:
            moment = max(moment, time_of(line) or 0.0)  # within one log the order is that of writing
            stamped.append((moment, name, line))
    return [(name, line) for _, name, line in sorted(stamped, key=lambda entry: entry[0])]


def time_of(line: str) -> float | None:
    """Return the Unix time of a log line, the first ISO 8601 time near its start, or None where there is none."""
    found = _TIME.search(line[:200])
    if found is None:
        return None
    second, fraction, zone = found.groups()
    offset = "+0000" if zone == "Z" else zone.replace(":", "")
    try:
        return datetime.strptime(second + offset, "%Y-%m-%dT%H:%M:%S%z").timestamp() + float(f"0{fraction or '.0'}")
    except ValueError:
        return None


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
