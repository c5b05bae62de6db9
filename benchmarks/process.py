"""Processes that the harness starts, commands over a pair of pipes, and always ends."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.environments import CHECKOUT
from benchmarks.subject.control import VARIABLE

_PATIENCE = 120.0
_ENDING = 20.0
_SHOWN_LINES = 12


class ProcessFailed(Exception):
    """A process ended, hung or reported an error; the message carries the end of what it said."""


class Commanded:
    """A process that answers one JSON object for each it is sent (see `benchmarks.subject.control`)."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], *, name: str, scratch: Path) -> None:
        self.name = name
        self._said = scratch / f"{name}-{time.monotonic_ns()}.log"
        commands_end, self._commands = os.pipe()
        self._answers, answers_end = os.pipe()
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                command,
                env={**clean_environ(), **environ, VARIABLE: f"{commands_end},{answers_end}"},
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                pass_fds=(commands_end, answers_end),
            )
        os.close(commands_end)
        os.close(answers_end)
        self._read = b""
        self._ended = False

    def __enter__(self) -> Commanded:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def ask(self, patience: float = _PATIENCE, **command: Any) -> dict[str, Any]:
        """Send `command` and return the answer; raise ProcessFailed if there is none within `patience` seconds."""
        try:
            os.write(self._commands, json.dumps(command).encode() + b"\n")
        except BrokenPipeError:
            raise ProcessFailed(self._complaint("ended")) from None
        answer: dict[str, Any] = json.loads(self._line(time.monotonic() + patience))
        if "error" in answer:
            raise ProcessFailed(f"{self.name}: {answer['error']}")
        return answer

    def end(self) -> None:
        """Close the pipes, which asks it to end; insist after a while."""
        if self._ended:
            return
        self._ended = True
        os.close(self._commands)
        try:
            self.process.wait(_ENDING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._answers)

    def _line(self, deadline: float) -> bytes:
        while b"\n" not in self._read:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise ProcessFailed(self._complaint("did not answer in time"))
            part = os.read(self._answers, 1 << 20)
            if not part:
                raise ProcessFailed(self._complaint("ended"))
            self._read += part
        line, _, self._read = self._read.partition(b"\n")
        return line

    def _complaint(self, what: str) -> str:
        lines = self._said.read_text(errors="replace").strip().splitlines()[-_SHOWN_LINES:]
        return "\n  ".join([f"{self.name} {what}. It said last:", *lines])


def show_harness(folder: Path) -> None:
    """Make `benchmarks`, and nothing else of the checkout, importable for processes that start in `folder`.

    With the whole checkout on the path, our package would be measured as it lies there, perhaps without byte code,
    and not as it is installed.
    """
    (folder / "benchmarks").symlink_to(CHECKOUT / "benchmarks", target_is_directory=True)


def clean_environ() -> dict[str, str]:
    """Return this environment without any telemetry product's settings, and without any of Python's.

    PYTHONDONTWRITEBYTECODE, for one, makes every start compile what has no byte code yet.
    """
    prefixes = ("OTEL_", "DD_", "SENTRY_", "LOGFIRE_", "SPLUNK_", "ELASTIC_", "BENCHMARK_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return {**kept, "PYTHONHASHSEED": "0"}


def launched(started: str, folder: Path, *program: str) -> list[str]:
    """Return the command line that starts `program` (arguments after ``python``) with the variant's own launcher.

    A launcher may have a subcommand: ``otel-forge run``.
    """
    python = str(folder / "python")
    if started == "plain":
        return [python, *program]
    launcher, *subcommand = started.split()
    return [python, str(folder / launcher), *subcommand, python, *program]
