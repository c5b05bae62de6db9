"""Many processes that log to one service's files, are killed at random, and the judgement of what they left.

Each writes records of growing number, its lines vary in length and end in their checksum. In a shared file it notes the
number of lines whose log call has returned: those must be there once; the one after them may be, if its writer was
killed between the write and the note; of anything else there must be nothing.
"""

from __future__ import annotations

import gzip
import logging
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from otel_forge.logs.files.handler import build
from otel_forge.logs.files.names import files_of
from otel_forge.logs.files.upkeep import Bounds, Upkeep
from otel_forge.settings import Settings
from tests.logs.files.conftest import MessageView

SERVICE = "shop"
_LONGEST_PADDING = 300
_NOTE = struct.Struct("<q")


def text_for(writer: str, number: int) -> str:
    """Return a line that can be told from any other and from a part of itself."""
    padding = "x" * (zlib.crc32(f"{writer}{number}".encode()) % _LONGEST_PADDING)
    body = f"{writer} {number} {padding}"
    return f"{body} {zlib.crc32(body.encode()):08x}"


def write_lines(folder: Path, writer: str, count: int, file_megabytes: float, notes: Path) -> None:
    """Log `count` lines as a service does, noting each when its call has returned."""
    settings = Settings.from_env(
        {
            "LOG_DIR": str(folder),
            "OTEL_FORGE_LOGS_FILE_MB": str(file_megabytes),
            "OTEL_FORGE_LOGS_TOTAL_MB": "100000",
        }
    )
    logger = logging.getLogger(SERVICE)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler = build(settings.log_files, SERVICE, MessageView())
    logger.addHandler(handler)
    with notes.open("r+b") as file, mmap.mmap(file.fileno(), _NOTE.size) as noted:
        for number in range(count):
            logger.info("%s", text_for(writer, number))
            _NOTE.pack_into(noted, 0, number + 1)
    if handler.problems()["diverted"]:
        sys.exit("lines went to standard error")


@dataclass
class Run:
    """One writer process."""

    writer: str
    count: int
    notes: Path
    process: subprocess.Popen[bytes]

    @property
    def noted(self) -> int:
        """How many of its lines were logged for certain."""
        return int(_NOTE.unpack(self.notes.read_bytes())[0])


@dataclass
class Judgement:
    """What was found in the files, against what was written."""

    promised: int = 0
    lost: int = 0
    doubled: int = 0
    broken: list[str] = field(default_factory=list)
    unpromised: int = 0
    """Lines whose writers were killed before they could note them."""
    kills: int = 0
    files: int = 0
    seconds: float = 0.0

    @property
    def is_flawless(self) -> bool:
        """Whether nothing was lost, doubled, cut or mixed."""
        return not (self.lost or self.doubled or self.broken)


class Trial:
    """Runs the writers, kills some, and starts them again with what they had left to write."""

    def __init__(self, place: Path, *, processes: int, lines: int, file_megabytes: float, seed: int) -> None:
        self.folder = place / "logs"
        self._place = place
        self._processes = processes
        self._lines = lines
        self._file_megabytes = file_megabytes
        self._random = random.Random(seed)
        self._runs: list[Run] = []

    def carry_out(self, kills: int, pause: float) -> Judgement:
        """Return the judgement after all lines were written and `kills` processes killed."""
        begun = time.perf_counter()
        living = [self._start(f"w{worker}g0", self._lines) for worker in range(self._processes)]
        killed = 0
        while living:
            time.sleep(self._random.uniform(0, 2 * pause))
            living = [run for run in living if self._is_running(run)]
            if living and killed < kills:
                victim = self._random.choice(living)
                if self._kill(victim):
                    killed += 1
                    living.append(self._next_after(victim))
        seconds = time.perf_counter() - begun
        Upkeep(self.folder, SERVICE, Bounds(total_bytes=10**12)).run()
        judgement = self._judge()
        judgement.kills, judgement.seconds = killed, seconds
        return judgement

    def _start(self, writer: str, count: int) -> Run:
        notes = self._place / f"{writer}.notes"
        notes.write_bytes(_NOTE.pack(0))
        arguments = [str(self.folder), writer, str(count), str(self._file_megabytes), str(notes)]
        process = subprocess.Popen([sys.executable, "-m", "tests.logs.files.rotation", *arguments])
        run = Run(writer, count, notes, process)
        self._runs.append(run)
        return run

    def _is_running(self, run: Run) -> bool:
        code = run.process.poll()
        if code not in (None, 0, -signal.SIGKILL):
            raise AssertionError(f"{run.writer} ended with exit code {code}")
        return code is None

    def _kill(self, run: Run) -> bool:
        if run.noted == 0:
            return False  # still starting: nothing to interrupt
        run.process.kill()
        return run.process.wait(30) == -signal.SIGKILL

    def _next_after(self, run: Run) -> Run:
        name, _, generation = run.writer.partition("g")
        return self._start(f"{name}g{int(generation) + 1}", run.count - run.noted)

    def _judge(self) -> Judgement:
        judgement = Judgement()
        found: Counter[tuple[str, int]] = Counter()
        for file in files_of(self.folder, SERVICE):
            judgement.files += 1
            content = file.path.read_bytes()
            for line in (gzip.decompress(content) if file.is_packed else content).decode().splitlines():
                if (key := _key_of(line)) is None:
                    judgement.broken.append(line)
                else:
                    found[key] += 1
        for run in self._runs:
            noted = run.noted
            judgement.promised += noted
            judgement.lost += sum((run.writer, number) not in found for number in range(noted))
            judgement.unpromised += sum(number >= noted for writer, number in found if writer == run.writer)
        judgement.doubled = sum(count - 1 for count in found.values())
        return judgement


def _key_of(line: str) -> tuple[str, int] | None:
    """Return writer and number of a whole line, None for anything else."""
    try:
        writer, number, _ = line.split(" ", 2)
        return (writer, int(number)) if text_for(writer, int(number)) == line else None
    except ValueError:
        return None


if __name__ == "__main__":
    write_lines(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), Path(sys.argv[5]))
    os._exit(0)
