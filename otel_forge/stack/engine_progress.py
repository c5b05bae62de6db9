"""How far the build of an engine is, and how to say so in a line of text."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TextIO

Step = Literal["waiting", "fetching", "compiling", "linking", "ready"]

# Below this share of packages the pace so far says nothing yet: small packages come first, big ones late.
FIRST_ESTIMATE = 0.05


@dataclass(frozen=True)
class BuildProgress:
    """One reading of a build: which engine, which step, how many packages of how many, how long so far."""

    engine: str
    version: str
    step: Step
    done: int = 0
    total: int = 0
    elapsed: float = 0.0  # seconds since this engine's turn came
    compiling_for: float = 0.0  # seconds of these spent compiling
    position: int = 1
    count: int = 1

    @property
    def remaining(self) -> float | None:
        """Return the seconds that compiling should still take at the pace so far; None while that is anyone's guess."""
        if self.step != "compiling" or self.total == 0 or self.done < max(1, FIRST_ESTIMATE * self.total):
            return None
        return self.compiling_for / self.done * max(0, self.total - self.done)


def duration_text(seconds: float) -> str:
    """Return seconds as `45s`, `3m10s` or `1h02m`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def estimate_text(seconds: float) -> str:
    """Return a rough `about 4m left`, no more exact than an estimate is."""
    if seconds < 60:
        return f"about {max(10, round(seconds / 10) * 10)}s left"
    return f"about {round(seconds / 60)}m left"


def progress_line(progress: BuildProgress) -> str:
    """Return one line such as `building loki 3.7.8 (4/6)  612/1480 packages  3m10s, about 4m left`."""
    name = f"{progress.engine} {progress.version} ({progress.position}/{progress.count})"
    spent = duration_text(progress.elapsed)
    if progress.step == "ready":
        return f"ready    {name}  {spent}"
    if progress.step == "waiting":
        return f"waiting  {name}  another build of it is running  {spent}"
    if progress.step == "fetching":
        doing = f"fetching modules, {progress.done} so far" if progress.done else "preparing"
        return f"building {name}  {doing}  {spent}"
    if progress.step == "linking":
        return f"building {name}  linking  {spent}"
    left = "" if progress.remaining is None else f", {estimate_text(progress.remaining)}"
    return f"building {name}  {progress.done}/{progress.total} packages  {spent}{left}"


class ProgressText:
    """Writes progress to a text stream: on a terminal one line, rewritten; elsewhere a line every few seconds."""

    def __init__(
        self,
        stream: TextIO,
        *,
        interval: float = 5.0,
        terminal: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._interval = interval
        self._terminal = stream.isatty() if terminal is None else terminal
        self._clock = clock
        self._shown_at: float | None = None
        self._shown_step: tuple[str, Step] | None = None

    def __call__(self, progress: BuildProgress) -> None:
        """Show a reading, unless the stream is no terminal and a line about the same step was written just now."""
        if self._terminal:
            end = "\n" if progress.step == "ready" else ""
            self._stream.write(f"\r\x1b[K{progress_line(progress)}{end}")
        elif self._is_due(progress):
            self._stream.write(progress_line(progress) + "\n")
        else:
            return
        self._stream.flush()

    def _is_due(self, progress: BuildProgress) -> bool:
        now, step = self._clock(), (progress.engine, progress.step)
        if step == self._shown_step and self._shown_at is not None and now - self._shown_at < self._interval:
            return False
        self._shown_at, self._shown_step = now, step
        return True
