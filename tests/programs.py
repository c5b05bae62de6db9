"""Real Python programs as subprocesses, plain or with telemetry on."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from threading import Thread

BIN = Path(sys.executable).parent
UPSTREAMS_LAUNCHER, OUR_LAUNCHER = ("opentelemetry-instrument",), ("otel-forge", "run")


class Program:
    """A running program; its output is gathered as it comes."""

    def __init__(self, command: list[str], environ: Mapping[str, str], folder: Path) -> None:
        self.process = subprocess.Popen(
            command, env=environ, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )
        self.pid = self.process.pid
        self._out: list[str] = []
        self._err: list[str] = []
        self._readers = [
            Thread(target=self._read, args=(self.process.stdout, self._out), daemon=True),
            Thread(target=self._read, args=(self.process.stderr, self._err), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: object, lines: list[str]) -> None:
        for line in stream:  # type: ignore[attr-defined]
            lines.append(line)

    @property
    def out(self) -> str:
        return "".join(self._out)

    @property
    def err(self) -> str:
        return "".join(self._err)

    def notices(self) -> list[str]:
        """Return the lines that otel-forge said, without their prefix."""
        return [line.removeprefix("otel-forge: ").rstrip() for line in self._err if line.startswith("otel-forge: ")]

    def wait(self, timeout: float = 60) -> int:
        """Wait for the end and for all output; return the exit status."""
        status = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(5)
        return status

    def ended_within(self, timeout: float = 60) -> tuple[int, float]:
        """Return the exit status and the seconds that passed until the end."""
        started = time.monotonic()
        status = self.wait(timeout)
        return status, time.monotonic() - started

    def terminate(self) -> None:
        self.process.terminate()

    def end(self) -> None:
        """End the program: gently, so that a server takes its workers along, then by force."""
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)

    def wait_for_output(self, text: str, timeout: float = 30) -> None:
        """Wait until `text` stands in the output."""
        deadline = time.monotonic() + timeout
        while text not in self.out + self.err:
            if time.monotonic() > deadline or (self.process.poll() is not None and not self._alive()):
                raise AssertionError(f"{text!r} was not said.\nstdout: {self.out}\nstderr: {self.err}")
            time.sleep(0.02)

    def _alive(self) -> bool:
        return any(reader.is_alive() for reader in self._readers)


class Programs:
    """Starts programs in a folder of the test and ends those that still run when the test is over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ: dict[str, str] = {}
        self.launcher: tuple[str, ...] = UPSTREAMS_LAUNCHER
        self._running: list[Program] = []

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *_: object) -> None:
        for program in self._running:
            program.end()
            for stream in (program.process.stdout, program.process.stderr):
                if stream is not None:
                    stream.close()

    def write(self, name: str, code: str) -> Path:
        path = self.folder / name
        path.write_text(textwrap.dedent(code))
        return path

    def instrumented(self, *command: str, flags: tuple[str, ...] = (), **environ: str) -> Program:
        """Start ``launcher [flags] command`` with `environ` on top of a clean environment."""
        launcher, *subcommand = self.launcher
        return self.start(str(BIN / launcher), *subcommand, *flags, *command, **environ)

    def start(self, *command: str, **environ: str) -> Program:
        own = {"OTEL_FORGE_SPOOL_DIR": str(self.folder / "spool")}  # what one test leaves must not reach another
        program = Program(list(command), {**clean_environ(), **own, **self.environ, **environ}, self.folder)
        self._running.append(program)
        return program


def clean_environ() -> dict[str, str]:
    """Return this environment without any telemetry setting."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**kept, "PYTHONUNBUFFERED": "1", "PATH": f"{BIN}{os.pathsep}{kept.get('PATH', '')}"}


def get(url: str, *, timeout: float = 20) -> tuple[int, str]:
    """Return status and text of a GET, retried while nobody listens yet."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
